"""Defines the core's configuration and the state that it keeps; the rules that change the state are in `engine`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ghtrader_base.trading_enums import OnKill, UnknownOrders
from ghtrader_base.trading_limits import default
from ghtrader_market.accounting.positions import Position, roll_day
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.orders import FINAL, Order, OrderKind, OrderStatus, TradingState
from ghtrader_runtime.core.request_watermark import Watermark
from ghtrader_runtime.core.risk_rules import RiskLimits

_SEVERITY = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
AT_WORK = (OrderStatus.SENT, OrderStatus.WORKING)
"""An order that may fill and that nobody asked to cancel."""
KEEP_ORDERS = 1000
"""Finished orders remembered, so that a late or repeated report still finds its order."""
KEEP_TRADES = 50_000
"""Trade ids remembered, so that a repeated report counts once."""


@dataclass(frozen=True, kw_only=True)
class CoreConfig:
    """What the core is told once.

    Attributes
    ----------
    symbols : dict
        What is traded here.
    limits : RiskLimits
        See `risk`.
    style : ExecutionStyle
        See `execution`.
    unknown_s : float
        Seconds (ours) without any report after which a sent or cancelled order counts as unknown. 5.
    settle_s : float
        Seconds (ours) an order may travel: only a complete list of the broker's orders taken at least so long after
        the send proves, by not naming it, that it never arrived. 2.
    max_rejects : int
        Rejections in a row after which nothing is opened any more. 3.
    monitor_only : bool
        Never send anything, cancels included. False.
    on_kill : OnKill
        What a tripped switch does with positions.
    unknown_orders : UnknownOrders
        What happens to working orders that this process run did not send.
    """

    symbols: dict[str, SymbolSpec]
    limits: RiskLimits = RiskLimits()
    style: ExecutionStyle = ExecutionStyle()
    unknown_s: float = 5.0
    settle_s: float = 2.0
    max_rejects: int = 3
    monitor_only: bool = False
    on_kill: OnKill = default("on_kill")
    unknown_orders: UnknownOrders = default("unknown_orders")


@dataclass
class WantedPosition:
    """The last target of a symbol."""

    session: str
    revision: int
    volume: int


@dataclass(frozen=True)
class Writer:
    """Who may write a symbol until it leaves, and how: by TARGET or by DIRECT orders, never both."""

    session: str
    kind: OrderKind


@dataclass
class Marks:
    """Equity of the trading day, CNY: at its start, at its highest, now; `written` is the peak on disk."""

    trading_day: str = ""
    opening: float = 0.0
    peak: float = 0.0
    last: float = float("nan")
    written: float = 0.0


@dataclass(frozen=True)
class Retry:
    """When a closing order that was rejected is tried again: after so many rejections, not before `at_ns` (ours)."""

    rejections: int
    at_ns: int


def order_number(next_number: int, side: int) -> int:
    """The next order's number, `next_number` or one more: odd ones buy, even ones sell, so that of two orders that may
    follow only one of which will, each has a number of its own."""
    return next_number + (next_number % 2 == (side < 0))


@dataclass
class CoreState:
    """Everything the core remembers. `blocks` says what limits trading and why; the strictest wins; `bound` is the one
    contract that may be opened, None where all may; `rolling` until all others are known to be flat; `later_marks` are
    those of trading days that have not begun."""

    blocks: dict[BlockReason, tuple[TradingState, str]] = field(default_factory=dict)
    trading_state: TradingState = TradingState.ACTIVE
    trading_day: str = ""
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    live: dict[str, dict[str, Order]] = field(default_factory=dict)
    targets: dict[str, WantedPosition] = field(default_factory=dict)
    writers: dict[str, Writer] = field(default_factory=dict)
    terms: dict[str, ev.Terms] = field(default_factory=dict)
    books: dict[str, ev.Book] = field(default_factory=dict)
    chases: dict[str, int] = field(default_factory=dict)
    seen_trades: dict[str, None] = field(default_factory=dict)
    traded: dict[str, int] = field(default_factory=dict)
    watermark: Watermark = field(default_factory=Watermark)
    sent_ns: deque[int] = field(default_factory=lambda: deque(maxlen=4096))
    marks: Marks = field(default_factory=Marks)
    later_marks: dict[str, Marks] = field(default_factory=dict)
    killed: bool = False
    next_number: int = 1
    rejects: int = 0
    retries: dict[str, Retry] = field(default_factory=dict)
    revision: int = 0
    now_ns: int = 0
    market_ns: int = 0
    resync_asked: bool = False
    resync_at_ns: int = 0
    resync_tries: int = 0
    resubscribe_at_ns: int = 0
    resubscribe_tries: int = 0
    excused_until_ns: int = 0
    reconciled: bool = False
    requested: str = ""
    bound: str | None = None
    unbound: str = ""
    rolling: bool = False
    last_refusal: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def block(self, name: BlockReason, state: TradingState, reason: str) -> None:
        """Something limits trading from now on."""
        self.blocks[name] = (state, reason)
        self._strictest()

    def unblock(self, name: BlockReason) -> None:
        """It does so no more."""
        if self.blocks.pop(name, None) is not None:
            self._strictest()

    def _strictest(self) -> None:
        states = (block[0] for block in self.blocks.values())
        self.trading_state = max(states, key=_SEVERITY.__getitem__, default=TradingState.ACTIVE)

    @property
    def limits(self) -> str:
        """What stands against trading, in words; empty where nothing does."""
        if self.trading_state is TradingState.ACTIVE:
            return ""
        return f"{self.trading_state}: " + "; ".join(reason for _, reason in self.blocks.values())

    def enter_day(self, trading_day: str) -> None:
        """A later trading day begins: what was opened before is yesterday's; no other day changes anything."""
        if trading_day <= self.trading_day:
            return
        if self.trading_day:
            self.positions = {symbol: roll_day(position) for symbol, position in self.positions.items()}
        self.trading_day = trading_day

    def position(self, symbol: str) -> Position:
        """What is held of a symbol, as far as we know."""
        position = self.positions.get(symbol)
        if position is None:
            position = self.positions[symbol] = Position()
        return position

    def track(self, order: Order) -> None:
        """Remember an order; it may fill from now on."""
        self.orders[order.order_id] = order
        self.live.setdefault(order.symbol, {})[order.order_id] = order

    def retire(self, order: Order) -> None:
        """An order has reached a final status."""
        assert order.status in FINAL
        self.live.get(order.symbol, {}).pop(order.order_id, None)
        if len(self.orders) > KEEP_ORDERS:
            done = [key for key, one in self.orders.items() if not one.live]
            for key in done[: len(self.orders) - KEEP_ORDERS]:
                del self.orders[key]

    def live_orders(self, symbol: str) -> list[Order]:
        """Orders of a symbol that may still change the position."""
        live = self.live.get(symbol)
        return list(live.values()) if live else []

    def room(self, symbol: str, side: int) -> int:
        """Lots that orders of a side (+1, -1) may still close before the net position would cross zero."""
        out = sum(order.pending for order in self.live_orders(symbol) if order.side == side)
        return -side * self.position(symbol).net - out

    def every_live_order(self) -> list[Order]:
        """Orders of all symbols that may still change a position."""
        return [order for orders in self.live.values() for order in orders.values()]

    def saw_trade(self, trade: ev.TradeReport) -> bool:
        """Note a trade and what its order has traded so far; whether it was known."""
        if trade.trade_id in self.seen_trades:
            return True
        self.seen_trades[trade.trade_id] = None
        self.traded[trade.order_id] = self.traded.get(trade.order_id, 0) + trade.volume
        for kept in (self.seen_trades, self.traded):
            if len(kept) > KEEP_TRADES:
                kept.pop(next(iter(kept)))
        return False
