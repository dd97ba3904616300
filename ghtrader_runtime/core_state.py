"""What the gateway's mind is told and what it remembers; the rules that change it are in `core`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ghtrader_market.positions import Position
from ghtrader_runtime import events as ev
from ghtrader_runtime.events import Order, TradingState
from ghtrader_runtime.executors import ExecutionStyle, SymbolSpec
from ghtrader_runtime.risk import RiskLimits

_SEVERITY = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


@dataclass(frozen=True)
class CoreConfig:
    """What the core is told once.

    Attributes
    ----------
    unknown_s : float
        Seconds (ours) without any report after which a sent or cancelled order counts as unknown.
    max_rejects : int
        Rejections in a row after which trading halts.
    monitor_only : bool
        Never send anything.
    """

    symbols: dict[str, SymbolSpec]
    limits: RiskLimits = RiskLimits()
    style: ExecutionStyle = ExecutionStyle()
    unknown_s: float = 5.0
    max_rejects: int = 3
    monitor_only: bool = False


@dataclass
class WantedPosition:
    """The last target of a symbol."""

    session: str
    revision: int
    volume: int


@dataclass
class CoreState:
    """Everything the core remembers. `blocks` says what limits trading and why; the strictest wins."""

    blocks: dict[str, tuple[TradingState, str]] = field(default_factory=dict)
    trading_day: str = ""
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    targets: dict[str, WantedPosition] = field(default_factory=dict)
    writers: dict[str, str] = field(default_factory=dict)
    books: dict[str, ev.Book] = field(default_factory=dict)
    seen_trades: set[str] = field(default_factory=set)
    watermark: dict[str, int] = field(default_factory=dict)
    sent_ns: deque[int] = field(default_factory=lambda: deque(maxlen=4096))
    next_number: int = 1
    rejects: int = 0
    revision: int = 0
    resync_asked: bool = False
    reconciled: bool = False
    last_refusal: dict[str, str] = field(default_factory=dict)

    @property
    def trading_state(self) -> TradingState:
        """The strictest of all blocks."""
        return max((block[0] for block in self.blocks.values()), key=_SEVERITY.__getitem__, default=TradingState.ACTIVE)

    def position(self, symbol: str) -> Position:
        """What is held of a symbol, as far as we know."""
        return self.positions.setdefault(symbol, Position())

    def live_orders(self, symbol: str) -> list[Order]:
        """Orders of a symbol that may still change the position."""
        return [order for order in self.orders.values() if order.symbol == symbol and order.live]
