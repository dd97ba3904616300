"""Defines what the gateway asks of a broker: ticks, reports, and a wait that a request can interrupt.

One thread runs gateway and broker. `pump` is where that thread waits; a descriptor attached with `attach` wakes it, so
that a target is dealt with the moment it arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import numpy as np

from ghtrader_runtime.core.events import LinkChange, OrderReport, Snapshot, TradeReport
from ghtrader_runtime.core.orders import Order


@dataclass(slots=True)
class TickRow:
    """One snapshot: the source's id, market time (UTC epoch ns), and float64[27] in `VALUE_COLUMNS` order."""

    id: int
    datetime_ns: int
    values: np.ndarray


@dataclass(slots=True)
class Ticks:
    """Ticks that came in one update, oldest first, and when it was in hand (monotonic ns)."""

    symbol: str
    rows: list[TickRow]
    now_ns: int


@dataclass(slots=True)
class Pumped:
    """What one wait brought. `ended` is why no more ticks will ever come, or empty; `expiring` are ticks of the
    contracts before the one at hand, and of those that are only watched."""

    ticks: Ticks | None = None
    reports: list[OrderReport | TradeReport | LinkChange] = field(default_factory=list)
    ended: str = ""
    expiring: list[Ticks] = field(default_factory=list)


@dataclass(frozen=True)
class Market:
    """The contract a broker brings ticks of, and the market time when it was opened."""

    symbol: str
    trading_day: date
    price_tick: float
    multiplier: int


class Broker(Protocol):
    """A connection to a market and an account. Opened, pumped and closed by one thread."""

    name: str

    @property
    def lockstep(self) -> bool:
        """Whether a tick waits for the answer to the one before."""
        ...

    @property
    def missed(self) -> int:
        """Ticks of the contract at hand that could not be had any more."""
        ...

    @property
    def broker_side_rules(self) -> list[str] | str:
        """The broker's own risk rules in force, behind those of the core; a sentence why there are none."""
        ...

    def open(self, symbol: str) -> Market:
        """Connect, log in, subscribe. Raises UnreachableError, ConfigError."""
        ...

    def bind(self, symbol: str) -> Market:
        """Bring ticks of `symbol` from now on, the day so far through `history`; those of the contract before come
        as `Pumped.expiring`. Raises UsageError."""
        ...

    def watch(self, symbol: str) -> None:
        """Bring ticks of a further contract too, as `Pumped.expiring`. Raises UsageError."""
        ...

    def enter_day(self) -> None:
        """A new trading day begins: what an account kept in here makes of it."""
        ...

    def history(self) -> list[TickRow]:
        """Ticks of the trading day so far, oldest first; what comes later is pumped. Where only the last can be had,
        `cold_note` says why."""
        ...

    def is_current(self) -> bool:
        """Ask the service anew: whether it has no newer tick of the contract at hand than came here. False where it
        does not answer."""
        ...

    @property
    def cold_note(self) -> str:
        """Why the last `history` did without the day so far; empty where it did not."""
        ...

    def snapshot(self) -> Snapshot:
        """All the broker knows of the account."""
        ...

    def balance(self) -> float:
        """Equity in CNY; NaN where unknown."""
        ...

    def price_limits(self, symbol: str) -> tuple[float, float]:
        """The trading day's lowest and highest price of a contract, CNY; NaN where unknown."""
        ...

    def attach(self, fd: int, wake: Callable[[], None]) -> None:
        """Call `wake` whenever `fd` becomes readable while `pump` waits."""
        ...

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        """Wait for ticks and reports; a lock-step broker moves on only if `may_advance`."""
        ...

    def submit(self, order: Order) -> None:
        """Send an order."""
        ...

    def cancel(self, order_id: str) -> None:
        """Ask for a cancel; an unknown or finished order is no error."""
        ...

    def drain(self) -> list[OrderReport | TradeReport | LinkChange]:
        """Reports that are there without waiting."""
        ...

    def departures(self) -> list[tuple[str, int]]:
        """Orders handed to the network since the last call: (order id, monotonic ns)."""
        ...

    def reopen(self) -> Snapshot:
        """Log in and subscribe anew, and say what there is: the way out when an order's fate is unknown.

        Raises a GhtraderError where that does not succeed; it is tried again later.
        """
        ...

    def close(self) -> None:
        """Disconnect."""
        ...
