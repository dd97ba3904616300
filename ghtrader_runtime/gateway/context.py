"""Holds what all parts of a gateway share from its start to its end: settings, account, broker, bus, ledger, journal.

Nothing here decides anything; each part of the gateway owns its own state.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import Variety
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.accounts.disk_thread import DiskThread
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.order_ledger import Ledger
from ghtrader_runtime.brokers.base import Broker
from ghtrader_runtime.bus.sockets import GatewayBus
from ghtrader_runtime.gateway.broker_connection import BrokerConnection
from ghtrader_runtime.gateway.bus_sessions import BusSessions
from ghtrader_runtime.gateway.command_gate import CommandGate
from ghtrader_runtime.gateway.refused_messages import RefusedMessages
from ghtrader_runtime.run_options import GatewayOptions
from ghtrader_runtime.runlog.journal import Journal
from ghtrader_runtime.runlog.latency import TickToTarget


@dataclass
class RunCounts:
    """How often what happened in a run."""

    ticks: int = 0
    targets: int = 0
    orders: int = 0
    duplicates: int = 0
    refused: int = 0

    def plain(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class RunEnd:
    """Why a run is to end; the first reason counts."""

    def __init__(self) -> None:
        self.reason = ""

    def request(self, reason: str) -> None:
        """End the run at the next turn of its loop."""
        self.reason = self.reason or reason


@dataclass(frozen=True, kw_only=True)
class GatewayContext:
    """One run of a gateway: everything in it is open.

    Attributes
    ----------
    settings, options, ref
        Where, what, and for which account.
    session : str
        Of this gateway on the bus.
    run_dir : Path
        Where the run's journal and summary are written.
    broker : Broker
    connection : BrokerConnection
        Whether the broker is connected, and how it is opened anew.
    sessions : BusSessions
        Who joined the bus, which of them are ready, and the last target they sent.
    commands : CommandGate
        Whose commands are obeyed.
    refused : RefusedMessages
        What came from who may not.
    latency : TickToTarget
        Times of ticks, targets and orders.
    bound_disk : DiskThread
        Writes which contract is bound.
    counts : RunCounts
    end : RunEnd
    """

    settings: Settings
    options: GatewayOptions
    ref: AccountRef
    session: str
    run_dir: Path
    calendar: TradingCalendar
    variety: Variety
    broker: Broker
    connection: BrokerConnection
    bus: GatewayBus
    sessions: BusSessions
    commands: CommandGate
    ledger: Ledger
    kill: KillSwitch
    journal: Journal
    latency: TickToTarget
    bound_disk: DiskThread = field(default_factory=partial(DiskThread, "bound-contract"))
    counts: RunCounts = field(default_factory=RunCounts)
    refused: RefusedMessages = field(default_factory=RefusedMessages)
    end: RunEnd = field(default_factory=RunEnd)
