"""What gateway and strategy are told at their start; plain data that crosses a process boundary as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ghtrader_base.settings import Settings


def run_folder(settings: Settings, run_id: str) -> Path:
    """Where a run leaves its journal and summary."""
    return settings.runs / "trading" / run_id


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded day to trade on paper.

    Attributes
    ----------
    dataset, key : str
        Of the lake: `main_l5` and `KQ.m@SHFE.cu`, or `ticks` and `SHFE.cu2502`.
    day : str
        Trading day.
    from_ns : int
        Ticks before this moment are history, the others are played.
    pace : float
        Ticks a second; 0 is lock-step.
    """

    dataset: str
    key: str
    day: str
    from_ns: int = 0
    pace: float = 0.0


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway.

    Attributes
    ----------
    account, mode, sim
        Account name; paper, sim or live; tqkq or tqsim.
    symbol : str
        The contract.
    run_id : str
        Names the run's folder.
    max_position, max_order : int
        Lots.
    rate_orders, rate_window_s
        At most so many orders in so many seconds of market time.
    slip_ticks, tif, reprice_s
        See `executors.ExecutionStyle`.
    idle_end_s : float
        Seconds (ours) without a tick after which the market data counts as ended; 0 never.
    """

    account: str
    mode: str
    symbol: str
    run_id: str
    sim: str = "tqkq"
    monitor_only: bool = False
    confirm_live: str = ""
    max_position: int = 1
    max_order: int = 10
    rate_orders: int = 20
    rate_window_s: float = 60.0
    slip_ticks: int = 1
    tif: str = "FAK"
    reprice_s: float = 5.0
    idle_end_s: float = 0.0
    replay: ReplayOptions | None = None


class StrategyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy.

    Attributes
    ----------
    model : str
        `champion`, a bundle id, or the path of a bundle.
    horizon : int
        Whose champion.
    flat_before_end_s : float
        Seconds of market time before the day's last session ends from which the target is flat.
    flat_from_ns : int
        Moment (UTC epoch ns) from which the target is flat, for a run that ends early; 0 for none.
    flatten_on_stop : bool
        Ask for a flat position before leaving.
    join_timeout_s : float
        How long to wait for the gateway.
    journal_factors : bool
        Keep the factors of every tick.
    """

    account: str
    mode: str
    symbol: str
    sim: str = "tqkq"
    model: str = "champion"
    horizon: int = 50
    flat_before_end_s: float = 60.0
    flat_from_ns: int = 0
    flatten_on_stop: bool = True
    join_timeout_s: float = 90.0
    journal_factors: bool = True
