"""Fills orders on paper against a live or recorded book; no order leaves the process.

The fill model, in full: an order meets the first book at or after the tick it was decided on plus the latency
(`ExecutionModel`), in practice that of the next tick. It takes displayed lots at the opposite quotes, level by level,
up to its limit price, and no lot twice within one tick. A FAK's rest is cancelled at once; a GFD order rests and takes
what crosses it on later ticks, at its own limit price at best. A cancel is not delayed: it reaches a resting order
before the next book, and an order on its way never gets there. Where a live market is quiet for a while the book at
hand is still the market's, and an order meets that. No queue position, no market impact. Fees are the variety table's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from ghtrader_base.trading_enums import TimeInForce
from ghtrader_market.accounting.carried_position import CarriedPosition, carried
from ghtrader_market.accounting.execution_model import MOST_SHOWN, ExecutionModel
from ghtrader_market.accounting.fill import Fill, Offset, Side
from ghtrader_market.accounting.marks import is_price, mark_price
from ghtrader_market.accounting.positions import Position, apply_fill, roll_day
from ghtrader_market.reference.closing_rules import ClosingRule, closing_rule
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_runtime.brokers.base import Market, Pumped, TickRow
from ghtrader_runtime.core.events import LinkChange, OrderReport, Snapshot, TradeReport
from ghtrader_runtime.core.orders import Holding, Order, PriceType

LEVELS = 5
_BID, _ASK, _LAST = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"], COLUMN_INDEX["last_price"]
STARTING_BALANCE = 10_000_000.0
_QUIET_NS = 2_500_000_000
"""So long (our clock) without a tick, and a live book stands as it is; less than an order may go without any report."""


class Feed(Protocol):
    """Where a paper account's ticks come from: `ReplayFeed`, or a TqSdk connection used for its data alone."""

    lockstep: bool
    market: Market

    @property
    def missed(self) -> int:
        """See `Broker.missed`."""
        ...

    def open(self, symbol: str) -> Market:
        """See `Broker.open`; a recorded day has its contract whatever is asked for."""
        ...

    def bind(self, symbol: str) -> Market:
        """See `Broker.bind`."""
        ...

    def history(self) -> list[TickRow]:
        """Ticks of the day so far."""
        ...

    def is_current(self) -> bool:
        """See `Broker.is_current`."""
        ...

    @property
    def cold_note(self) -> str:
        """See `Broker.cold_note`."""
        ...

    def price_limits(self, symbol: str) -> tuple[float, float]:
        """See `Broker.price_limits`."""
        ...

    def attach(self, fd: int, wake: Callable[[], None]) -> None:
        """See `Broker.attach`."""
        ...

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        """See `Broker.pump`."""
        ...

    def reopen(self) -> object:
        """Subscribe anew where there is a connection; what it brings of an account counts for nothing."""
        ...

    def close(self) -> None:
        """Disconnect, where there is a connection."""
        ...


def take(
    values: np.ndarray,
    taken: np.ndarray,
    side: int,
    volume: int,
    limit: float,
    price_tick: float = math.nan,
    lower: float = math.nan,
    upper: float = math.nan,
    mark: float = math.nan,
) -> list[tuple[float, int]]:
    """Lots an order takes from a displayed book.

    Parameters
    ----------
    values : float64[27]
        The book.
    taken : int64[2, 5]
        Lots of it already taken ([0] bids, [1] asks); updated.
    side, volume, limit
        +1 buys from the asks, -1 sells to the bids; lots; limit price.
    price_tick, lower, upper, mark : float
        CNY, as `marks.is_price` has them; a level whose price cannot be one ends the book.

    Returns
    -------
    list of (price, lots)
        Best price first.
    """
    name, row = ("ask", 1) if side > 0 else ("bid", 0)
    fills = []
    for level in range(1, LEVELS + 1):
        price = float(values[COLUMN_INDEX[f"{name}_price{level}"]])
        if volume <= 0 or not is_price(price, price_tick, lower, upper, mark) or (price - limit) * side > 1e-9:
            break
        shown = float(values[COLUMN_INDEX[f"{name}_volume{level}"]])
        known = int(shown) if 0 < shown <= MOST_SHOWN else 0  # a volume that is not known shows nothing
        lots = max(min(volume, known - int(taken[row, level - 1])), 0)
        if lots:
            taken[row, level - 1] += lots
            volume -= lots
            fills.append((price, lots))
    return fills


class _Travelling(NamedTuple):
    """An order on its way: when it arrives (UTC epoch ns of the market), and when it left (our monotonic clock, ns)."""

    order: Order
    arrives_ns: int
    sent_ns: int


class PaperBroker:
    """A `Broker` around a feed.

    Parameters
    ----------
    feed : Feed
        Ticks; lock-step or not is the feed's.
    rates : callable
        (contract, market time in UTC epoch ns) -> the fees of that trading day.
    model : ExecutionModel
        When an order meets the book.
    balance : float
        CNY at the start, what is held then at its mark included.
    held : CarriedPosition, optional
        What is held at the start, as the feed's day has it.
    """

    name = "paper"

    def __init__(
        self,
        feed: Feed,
        rates: Callable[[str, int], FeeRates],
        model: ExecutionModel = ExecutionModel(),
        balance: float = STARTING_BALANCE,
        held: CarriedPosition | None = None,
    ) -> None:
        self._feed = feed
        self._rates, self._model = rates, model
        self._cash = balance
        self._positions: dict[str, Position] = {}
        self._books: dict[str, TickRow] = {}
        self._marks: dict[str, float] = {}
        self._traded: dict[str, float] = {}
        self._taken: dict[str, np.ndarray] = {}
        self._travelling: dict[str, _Travelling] = {}
        self._resting: dict[str, Order] = {}
        self._reports: list[OrderReport | TradeReport | LinkChange] = []
        self._departed: list[tuple[str, int]] = []
        self._trades = 0
        if held is not None:
            self._positions[held.contract], self._marks[held.contract] = held.position, held.mark
            self._cash -= held.net * held.mark * feed.market.multiplier

    @property
    def lockstep(self) -> bool:
        """Whether ticks wait for answers."""
        return self._feed.lockstep

    @property
    def missed(self) -> int:
        """The feed's."""
        return self._feed.missed

    @property
    def broker_side_rules(self) -> list[str] | str:
        """None: there is no broker."""
        return []

    def open(self, symbol: str) -> Market:
        """See `Broker.open`."""
        return self._feed.open(symbol)

    def bind(self, symbol: str) -> Market:
        """See `Broker.bind`; a recorded day has one contract."""
        return self._feed.bind(symbol)

    def watch(self, symbol: str) -> None:
        """See `Broker.watch`; this account knows no contract of an earlier process run."""

    def enter_day(self) -> None:
        """See `Broker.enter_day`."""
        self._positions = {symbol: roll_day(position) for symbol, position in self._positions.items()}
        for order_id in (*self._resting, *self._travelling):
            self.cancel(order_id)

    def history(self) -> list[TickRow]:
        """See `Broker.history`."""
        rows = self._feed.history()
        if rows:
            self._see(self._feed.market.symbol, rows[-1])
        return rows

    def is_current(self) -> bool:
        """See `Broker.is_current`."""
        return self._feed.is_current()

    @property
    def cold_note(self) -> str:
        """See `Broker.cold_note`."""
        return self._feed.cold_note

    def _see(self, symbol: str, row: TickRow) -> None:
        self._books[symbol] = row
        self._taken.pop(symbol, None)
        bid, ask, last = float(row.values[_BID]), float(row.values[_ASK]), float(row.values[_LAST])
        lower, upper = self._feed.price_limits(symbol)
        before, price_tick = self._marks.get(symbol, math.nan), self._feed.market.price_tick
        self._marks[symbol] = mark_price(bid, ask, last, before, price_tick, lower, upper)

    def _taken_of(self, symbol: str) -> np.ndarray:
        """Lots of the book at hand that our orders have had, int64[2, 5]; made only where an order asks."""
        return self._taken.setdefault(symbol, np.zeros((2, LEVELS), np.int64))

    def snapshot(self) -> Snapshot:
        """A paper account dies with its process: it knows no earlier order, and of lots those it was handed."""
        holdings = tuple(
            Holding(symbol, p.long_today, p.long_his, p.short_today, p.short_his)
            for symbol, p in {self._feed.market.symbol: Position(), **self._positions}.items()
        )
        now_ns = time.monotonic_ns()
        resting = tuple(
            self._report_of(order, False, False, "resting")
            for order in (*self._resting.values(), *(one.order for one in self._travelling.values()))
        )
        return Snapshot(
            trading_day=str(self._feed.market.trading_day), holdings=holdings, orders=resting, trades=(), now_ns=now_ns
        )

    def reopen(self) -> Snapshot:
        """Subscribe anew where the feed can; the account is in here and needs no login."""
        self._feed.reopen()
        return self.snapshot()

    def price_limits(self, symbol: str) -> tuple[float, float]:
        """The feed's, where it knows them."""
        return self._feed.price_limits(symbol)

    def balance(self) -> float:
        """Cash flow so far plus what is held at its mark; what never had one is worth what it cost."""
        worth = 0.0
        for symbol, position in self._positions.items():
            if not (position.long or position.short):
                continue
            mark = self._marks.get(symbol, math.nan)
            cost = position.long_today_cost + position.long_his_cost
            cost -= position.short_today_cost + position.short_his_cost
            worth += self._feed.market.multiplier * (position.net * mark if math.isfinite(mark) else cost)
        return self._cash + worth

    def held(self, symbol: str) -> CarriedPosition | None:
        """What is held of a contract now, to be carried into another day; None where nothing is.

        A contract that no row gave a mark is valued at its last fill.
        """
        position, mark = self._positions.get(symbol, Position()), self._marks.get(symbol, math.nan)
        mark = mark if math.isfinite(mark) else self._traded.get(symbol, math.nan)
        return carried(symbol, self._feed.market.trading_day, position, mark)

    def attach(self, fd: int, wake: Callable[[], None]) -> None:
        """See `Broker.attach`."""
        self._feed.attach(fd, wake)

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        """Ticks of the feed; resting orders, and those that have arrived by then, meet each before it is passed on."""
        pumped = self._feed.pump(timeout_s, may_advance)
        for ticks in (*pumped.expiring, pumped.ticks):
            if ticks is None:
                continue
            for row in ticks.rows:
                self._see(ticks.symbol, row)
                for order in list(self._resting.values()):
                    if order.symbol == ticks.symbol:
                        self._match(order, resting=True)
                for one in list(self._travelling.values()):
                    if one.order.symbol == ticks.symbol and one.arrives_ns <= row.datetime_ns:
                        self._arrive(one.order)
        if self._travelling and not self.lockstep:
            quiet_ns = time.monotonic_ns() - _QUIET_NS
            for one in [one for one in self._travelling.values() if one.sent_ns < quiet_ns]:
                self._arrive(one.order)
        if self._reports:
            pumped.reports = [*pumped.reports, *self.drain()]
        return pumped

    def submit(self, order: Order) -> None:
        """See `Broker.submit`."""
        mine = Order(
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            offset=order.offset,
            volume=order.volume,
            price=order.price,
            price_type=order.price_type,
            tif=order.tif,
            left=order.volume,
        )
        self._departed.append((order.order_id, time.monotonic_ns()))
        book = self._books.get(order.symbol)
        if book is None:
            self._report(mine, finished=True, error=True, message="no book yet")
            return
        arrives_ns = self._model.arrives_ns(book.datetime_ns)
        self._travelling[mine.order_id] = _Travelling(mine, arrives_ns, time.monotonic_ns())
        if arrives_ns <= book.datetime_ns:
            self._arrive(mine)

    def _arrive(self, order: Order) -> None:
        """An order meets the book at hand."""
        del self._travelling[order.order_id]
        if order.price_type != PriceType.LIMIT:
            order.price = order.side * math.inf
        if order.price_type == PriceType.BEST:
            order.price = float(self._books[order.symbol].values[_ASK if order.side > 0 else _BID])
        problem = self._problem(order)
        if problem:
            self._report(order, finished=True, error=True, message=problem)
            return
        if order.tif != TimeInForce.FOK or self._fits(order):
            self._match(order, resting=False)
        if order.left and order.tif == TimeInForce.GFD:
            self._resting[order.order_id] = order
            self._report(order, finished=False, message="resting")
        elif order.left:
            self._report(order, finished=True, message="the rest was cancelled")

    def _problem(self, order: Order) -> str:
        if order.offset == Offset.OPEN:
            return ""
        p = self._positions.get(order.symbol, Position())
        today, his = (p.short_today, p.short_his) if order.side > 0 else (p.long_today, p.long_his)
        by_offset = closing_rule(order.symbol) == ClosingRule.BY_OFFSET
        have = today if order.offset == Offset.CLOSETODAY else his if by_offset else today + his
        same = (order.symbol, order.side, order.offset)
        out = sum(o.left for o in self._resting.values() if (o.symbol, o.side, o.offset) == same)
        return "" if order.volume + out <= have else f"{order.offset} of {order.volume}, {have - out} there"

    def _fits(self, order: Order) -> bool:
        """Whether the book has all of it now."""
        return sum(lots for _, lots in self._take(order, self._taken_of(order.symbol).copy())) == order.left

    def _take(self, order: Order, taken: np.ndarray) -> list[tuple[float, int]]:
        """What an order takes from the book at hand; `taken` as `take` has it."""
        symbol, price_tick = order.symbol, self._feed.market.price_tick
        lower, upper = self._feed.price_limits(symbol)
        return take(
            self._books[symbol].values, taken, order.side, order.left, order.price, price_tick, lower, upper,
            self._marks.get(symbol, math.nan),
        )  # fmt: skip

    def _match(self, order: Order, resting: bool) -> None:
        book = self._books[order.symbol]
        for price, lots in self._take(order, self._taken_of(order.symbol)):
            price = order.price if resting else price
            order.left -= lots
            self._trades += 1
            fill = Fill(
                symbol=order.symbol, side=Side.of(order.side), offset=order.offset, volume=lots, price=price,
                market_ns=book.datetime_ns,
            )  # fmt: skip
            before, multiplier = self._positions.get(order.symbol, Position()), self._feed.market.multiplier
            booked = apply_fill(before, fill, self._rates(order.symbol, book.datetime_ns), multiplier)
            trade = TradeReport(
                trade_id=f"{order.order_id}|{self._trades}",
                order_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                offset=order.offset,
                volume=lots,
                price=price,
                market_ns=book.datetime_ns,
                now_ns=time.monotonic_ns(),
                commission=booked.fee,
            )
            self._cash -= order.side * lots * price * multiplier + booked.fee
            self._positions[order.symbol], self._traded[order.symbol] = booked.position, price
            self._reports.append(trade)
        if order.left == 0:
            self._resting.pop(order.order_id, None)
            self._report(order, finished=True, message="filled")

    def _report(self, order: Order, finished: bool, error: bool = False, message: str = "") -> None:
        self._reports.append(self._report_of(order, finished, error, message))

    @staticmethod
    def _report_of(order: Order, finished: bool, error: bool, message: str) -> OrderReport:
        return OrderReport(
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            offset=order.offset,
            volume=order.volume,
            left=order.left,
            finished=finished,
            error=error,
            exchange_order_id="" if error else f"P{order.order_id}",
            message=message,
            now_ns=time.monotonic_ns(),
            price=order.price,
        )

    def cancel(self, order_id: str) -> None:
        """See `Broker.cancel`."""
        travelling = self._travelling.pop(order_id, None)
        order = travelling.order if travelling is not None else self._resting.pop(order_id, None)
        if order is not None:
            self._report(order, finished=True, message="cancelled")

    def drain(self) -> list[OrderReport | TradeReport | LinkChange]:
        """See `Broker.drain`."""
        reports, self._reports = self._reports, []
        return reports

    def departures(self) -> list[tuple[str, int]]:
        """See `Broker.departures`."""
        departed, self._departed = self._departed, []
        return departed

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()
