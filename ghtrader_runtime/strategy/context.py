"""Holds what all parts of a strategy share once it has joined its gateway: settings, options, client, journal.

Nothing here decides anything; each part of the strategy owns its own state.
"""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from typing import Any

from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_runtime.run_options import StrategyOptions
from ghtrader_runtime.runlog.journal import Journal
from ghtrader_runtime.strategy.gateway_client import GatewayClient


class StopRequest:
    """Whether we were told to stop: the name of the first signal that said so, empty before."""

    def __init__(self) -> None:
        self.signal = ""

    def catch_signals(self) -> None:
        """Take SIGTERM and SIGINT as such a request; elsewhere than in the main thread nothing changes."""

        def stop(number: int, _frame: Any) -> None:
            self.signal = self.signal or signal.Signals(number).name

        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)

    def requested(self) -> bool:
        """Whether we were told to stop."""
        return bool(self.signal)


@dataclass(frozen=True, kw_only=True)
class StrategyContext:
    """One run of a strategy: everything in it is open.

    Attributes
    ----------
    settings, options
        Where and what.
    calendar : TradingCalendar
    client : GatewayClient
        Joined.
    journal : Journal
        In the run's folder.
    stop : StopRequest
    """

    settings: Settings
    options: StrategyOptions
    calendar: TradingCalendar
    client: GatewayClient
    journal: Journal
    stop: StopRequest
