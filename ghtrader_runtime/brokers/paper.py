"""Fills orders on paper against a live or recorded book; no order leaves the process.

The fill model, in full: an order meets the book of the last tick the moment it is sent. It takes displayed lots at
the opposite quotes, level by level, up to its limit price, and no lot twice within one tick. A FAK's rest is cancelled
at once; a GFD order rests and takes what crosses it on later ticks, at its own limit price at best. No queue position,
no latency, no market impact: a marketable order between two half-second snapshots. Fees are the variety table's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from ghtrader_base.trading_enums import TimeInForce
from ghtrader_market.accounting.fill import Offset
from ghtrader_market.accounting.positions import Position, roll_day
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_runtime.brokers.base import Market, Pumped, TickRow
from ghtrader_runtime.core.events import LinkChange, OrderReport, Snapshot, TradeReport
from ghtrader_runtime.core.orders import Holding, Order, PriceType
from ghtrader_runtime.core.position_updates import after_trade

LEVELS = 5
STARTING_BALANCE = 10_000_000.0


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


def take(values: np.ndarray, taken: np.ndarray, side: int, volume: int, limit: float) -> list[tuple[float, int]]:
    """Lots an order takes from a displayed book.

    Parameters
    ----------
    values : float64[27]
        The book.
    taken : int64[2, 5]
        Lots of it already taken ([0] bids, [1] asks); updated.
    side, volume, limit
        +1 buys from the asks, -1 sells to the bids; lots; limit price.

    Returns
    -------
    list of (price, lots)
        Best price first.
    """
    name, row = ("ask", 1) if side > 0 else ("bid", 0)
    fills = []
    for level in range(1, LEVELS + 1):
        price = float(values[COLUMN_INDEX[f"{name}_price{level}"]])
        if math.isnan(price) or (price - limit) * side > 1e-9 or volume <= 0:
            break
        shown = int(values[COLUMN_INDEX[f"{name}_volume{level}"]]) - int(taken[row, level - 1])
        lots = min(volume, max(shown, 0))
        if lots:
            taken[row, level - 1] += lots
            volume -= lots
            fills.append((price, lots))
    return fills


class PaperBroker:
    """A `Broker` around a feed.

    Parameters
    ----------
    feed : Feed
        Ticks; lock-step or not is the feed's.
    commission : callable
        (contract, market time in UTC epoch ns, offset, price, lots) -> CNY.
    needs_close_today : bool
        Whether today's lots want CLOSETODAY.
    """

    name = "paper"

    def __init__(
        self,
        feed: Feed,
        commission: Callable[[str, int, Offset, float, int], float],
        needs_close_today: bool,
        balance: float = STARTING_BALANCE,
    ) -> None:
        self._feed = feed
        self._needs_close_today = needs_close_today
        self._commission = commission
        self._cash = balance
        self._positions: dict[str, Position] = {}
        self._books: dict[str, TickRow] = {}
        self._taken: dict[str, np.ndarray] = {}
        self._resting: dict[str, Order] = {}
        self._reports: list[OrderReport | TradeReport | LinkChange] = []
        self._departed: list[tuple[str, int]] = []
        self._trades = 0

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
        for order_id in list(self._resting):
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

    def _taken_of(self, symbol: str) -> np.ndarray:
        """Lots of the book at hand that our orders have had, int64[2, 5]; made only where an order asks."""
        return self._taken.setdefault(symbol, np.zeros((2, LEVELS), np.int64))

    def snapshot(self) -> Snapshot:
        """A paper account dies with its process: it starts flat and knows no earlier order."""
        holdings = tuple(
            Holding(symbol, p.long_today, p.long_his, p.short_today, p.short_his)
            for symbol, p in {self._feed.market.symbol: Position(), **self._positions}.items()
        )
        now_ns = time.monotonic_ns()
        resting = tuple(self._report_of(order, False, False, "resting") for order in self._resting.values())
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
        """Cash flow so far plus what is held at the last price."""
        worth = 0.0
        for symbol, position in self._positions.items():
            last = float(self._books[symbol].values[0])
            worth += position.net * self._feed.market.multiplier * (0.0 if math.isnan(last) else last)
        return self._cash + worth

    def attach(self, fd: int, wake: Callable[[], None]) -> None:
        """See `Broker.attach`."""
        self._feed.attach(fd, wake)

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        """Ticks of the feed; resting orders meet each of them before it is passed on."""
        pumped = self._feed.pump(timeout_s, may_advance)
        for ticks in (*pumped.expiring, pumped.ticks):
            if ticks is None:
                continue
            for row in ticks.rows:
                self._see(ticks.symbol, row)
                for order in list(self._resting.values()):
                    if order.symbol == ticks.symbol:
                        self._match(order, resting=True)
        if self._reports:
            pumped.reports = [*pumped.reports, *self.drain()]
        return pumped

    def submit(self, order: Order) -> None:
        """See `Broker.submit`."""
        price = order.side * math.inf if order.price_type != PriceType.LIMIT else order.price
        book = self._books.get(order.symbol)
        if order.price_type == PriceType.BEST and book is not None:
            price = float(book.values[COLUMN_INDEX["ask_price1" if order.side > 0 else "bid_price1"]])
        mine = Order(
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            offset=order.offset,
            volume=order.volume,
            price=price,
            tif=order.tif,
            left=order.volume,
        )
        self._departed.append((order.order_id, time.monotonic_ns()))
        problem = self._problem(mine)
        if problem:
            self._report(mine, finished=True, error=True, message=problem)
            return
        if mine.tif != TimeInForce.FOK or self._fits(mine):
            self._match(mine, resting=False)
        if mine.left and mine.tif == TimeInForce.GFD:
            self._resting[mine.order_id] = mine
            self._report(mine, finished=False, message="resting")
        elif mine.left:
            self._report(mine, finished=True, message="the rest was cancelled")

    def _problem(self, order: Order) -> str:
        if order.symbol not in self._books:
            return "no book yet"
        if order.offset == Offset.OPEN:
            return ""
        p = self._positions.get(order.symbol, Position())
        today, his = (p.short_today, p.short_his) if order.side > 0 else (p.long_today, p.long_his)
        have = today if order.offset == Offset.CLOSETODAY else his if self._needs_close_today else today + his
        same = (order.symbol, order.side, order.offset)
        out = sum(o.left for o in self._resting.values() if (o.symbol, o.side, o.offset) == same)
        return "" if order.volume + out <= have else f"{order.offset} of {order.volume}, {have - out} there"

    def _fits(self, order: Order) -> bool:
        """Whether the book has all of it now."""
        book, taken = self._books[order.symbol], self._taken_of(order.symbol)
        fills = take(book.values, taken.copy(), order.side, order.left, order.price)
        return sum(lots for _, lots in fills) == order.left

    def _match(self, order: Order, resting: bool) -> None:
        book, taken = self._books[order.symbol], self._taken_of(order.symbol)
        for price, lots in take(book.values, taken, order.side, order.left, order.price):
            price = order.price if resting else price
            order.left -= lots
            self._trades += 1
            fee = self._commission(order.symbol, book.datetime_ns, order.offset, price, lots)
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
                commission=fee,
            )
            self._cash -= order.side * lots * price * self._feed.market.multiplier + fee
            before = self._positions.get(order.symbol, Position())
            self._positions[order.symbol] = after_trade(before, trade, self._needs_close_today)
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
        order = self._resting.pop(order_id, None)
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
