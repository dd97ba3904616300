"""Simulates broker and exchange with books of their own, in plain integers, sharing no code with the runtime.

It says nothing by itself: what it returns goes over the wire of `harness`, where it may be lost, late or repeated.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.orders import Holding, Order

LONG_TODAY, LONG_HIS, SHORT_TODAY, SHORT_HIS = range(4)


def entropy(*parts: object) -> int:
    """A number that depends on nothing but its arguments: 32 bits."""
    return zlib.crc32("|".join(map(str, parts)).encode())


def book_trade(lots: list[int], side: int, offset: str, volume: int, close_today: bool) -> bool:
    """Book a trade into [long today, long yesterday, short today, short yesterday]; False where lots are missing."""
    if offset == "OPEN":
        lots[LONG_TODAY if side > 0 else SHORT_TODAY] += volume
        return True
    today, his = (SHORT_TODAY, SHORT_HIS) if side > 0 else (LONG_TODAY, LONG_HIS)
    if offset == "CLOSETODAY":
        from_his = 0
    elif close_today:
        from_his = volume
    else:
        from_his = max(volume - lots[today], 0)  # CFFEX, the one other exchange that is played here: today's first
    from_today = volume - from_his
    if from_his > lots[his] or from_today > lots[today]:
        return False
    lots[his] -= from_his
    lots[today] -= from_today
    return True


def net_of(lots: list[int]) -> int:
    """Long minus short."""
    return lots[0] + lots[1] - lots[2] - lots[3]


def age(lots: list[int]) -> None:
    """A new trading day: today's lots are yesterday's."""
    lots[LONG_HIS] += lots[LONG_TODAY]
    lots[SHORT_HIS] += lots[SHORT_TODAY]
    lots[LONG_TODAY] = lots[SHORT_TODAY] = 0


@dataclass
class Deal:
    """An order as the exchange has it."""

    order_id: str
    symbol: str
    side: int
    offset: str
    volume: int
    price: float
    tif: str
    left: int
    done: bool = False
    error: bool = False
    number: int = 0
    stranger: bool = False

    def report(self, now: int) -> ev.OrderReport:
        """The broker's word on it."""
        number = "" if self.error else f"x{self.number}"
        return ev.OrderReport(
            order_id=self.order_id,
            symbol=self.symbol,
            side=self.side,
            offset=self.offset,
            volume=self.volume,
            left=self.left,
            finished=self.done,
            error=self.error,
            exchange_order_id=number,
            message="",
            now_ns=now,
            price=self.price,
        )


@dataclass
class Exchange:
    """Orders, trades and lots of one account."""

    close_today: dict[str, bool]
    salt: int
    orders: dict[str, Deal] = field(default_factory=dict)
    working: dict[str, Deal] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    trades: list[ev.TradeReport] = field(default_factory=list)
    lots: dict[str, list[int]] = field(default_factory=dict)
    twice: str = ""
    furthest: int = 0
    reject_next: int = 0
    reject_rate: int = 30
    day: int = 0

    def receive(self, order: Order, now: int, stranger: bool = False) -> list[ev.Event]:
        """An order arrives."""
        if order.order_id in self.received:
            self.twice = order.order_id
        self.received[order.order_id] = self.received.get(order.order_id, 0) + 1
        deal = Deal(
            order.order_id, order.symbol, order.side, order.offset, order.volume, order.price, order.tif, order.volume,
            number=len(self.received), stranger=stranger,
        )  # fmt: skip
        self.orders[deal.order_id] = deal
        chance = entropy(self.salt, "arrive", order.order_id)
        if self.reject_next > 0 or chance % 1000 < self.reject_rate or not self._covered(deal):
            self.reject_next -= self.reject_next > 0
            deal.done = deal.error = True
            return [deal.report(now)]
        self.working[deal.order_id] = deal
        out: list[ev.Event] = [deal.report(now)]
        wanted = (chance >> 10) % (order.volume + 1)
        if order.tif == "FOK":
            wanted = order.volume if wanted * 2 >= order.volume else 0
        if order.tif != "GFD" or (chance >> 20) % 3 == 0:
            while wanted > 0 and not deal.done:
                lots = 1 + (chance >> 14) % wanted
                wanted -= lots
                out += self.fill(deal, lots, now)
        if order.tif != "GFD":
            out += self.finish(deal.order_id, now)
        return out

    def _covered(self, deal: Deal) -> bool:
        if deal.offset == "OPEN":
            return True
        lots = list(self.lots.get(deal.symbol, [0, 0, 0, 0]))
        for other in self.working.values():
            if other.symbol == deal.symbol and other.offset != "OPEN":
                book_trade(lots, other.side, other.offset, other.left, self.close_today[deal.symbol])
        return book_trade(lots, deal.side, deal.offset, deal.volume, self.close_today[deal.symbol])

    def fill(self, deal: Deal, lots: int, now: int) -> list[ev.Event]:
        """Some of it trades."""
        lots = min(lots, deal.left)
        if deal.done or lots <= 0:
            return []
        held = self.lots.setdefault(deal.symbol, [0, 0, 0, 0])
        assert book_trade(held, deal.side, deal.offset, lots, self.close_today[deal.symbol]), "the exchange is wrong"
        self.furthest = max(self.furthest, abs(net_of(held)))
        trade = ev.TradeReport(
            trade_id=f"t{len(self.trades)}",
            order_id=deal.order_id,
            symbol=deal.symbol,
            side=deal.side,
            offset=deal.offset,
            volume=lots,
            price=deal.price,
            market_ns=now,
            now_ns=now,
        )
        self.trades.append(trade)
        deal.left -= lots
        if deal.left == 0:
            deal.done = True
            self.working.pop(deal.order_id, None)
        return [trade, deal.report(now)]

    def finish(self, order_id: str, now: int) -> list[ev.Event]:
        """It is cancelled, whoever wanted that; nothing where it is over or unknown."""
        deal = self.working.pop(order_id, None)
        if deal is None:
            return []
        deal.done = True
        return [deal.report(now)]

    def next_day(self) -> None:
        """Working orders end without a word, lots age, yesterday's orders and trades are no longer told."""
        self.day += 1
        for deal in self.working.values():
            deal.done = True
        self.working.clear()
        self.orders.clear()
        self.trades_before = len(self.trades)
        for lots in self.lots.values():
            age(lots)

    trades_before: int = 0

    def snapshot(self, day: str, now: int, missing: int = 0) -> ev.Snapshot:
        """All there is; `missing` (entropy, 0 for none) leaves parts out and says so."""
        holdings = [Holding(symbol, *lots) for symbol, lots in self.lots.items()]
        orders = [deal.report(now) for deal in self.orders.values()]
        if missing:
            holdings = [one for one in holdings if entropy(missing, one.symbol) % 2]
            orders = [one for one in orders if entropy(missing, one.order_id) % 2]
        trades = tuple(
            trade for trade in self.trades[self.trades_before :] if not missing or entropy(missing, trade.trade_id) % 4
        )
        return ev.Snapshot(
            trading_day=day,
            holdings=tuple(holdings),
            orders=tuple(orders),
            trades=trades,
            now_ns=now,
            complete=not missing,
        )
