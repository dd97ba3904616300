"""Runs the venue: which orders are accepted, when books move, what accounts are told, how a day ends.

Time comes from the market view's clock; sockets are notified through listeners. How an order is filled is decided in
`matching`, what it does to an account in `accounts`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from ghtrader_exchange.enums import NoticeLevel, OrderEventKind, OrderStatus, PriceType
from ghtrader_exchange.faults.order_faults import OrderFaults
from ghtrader_exchange.venue.account_updates import AccountSnapshot, AccountUpdate, Listener, Notice
from ghtrader_exchange.venue.accounts import Account
from ghtrader_exchange.venue.event_log import OrderEvent, ReceivedMessage
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_exchange.venue.matching import BookOrder, ContractBook, Fill, Snapshot
from ghtrader_exchange.venue.orders import Order, OrderRequest, Trade
from ghtrader_exchange.world.contract_terms import MAX_ORDER_VOLUME, ContractTerms
from ghtrader_exchange.world.tick_history import ContractDay

INITIAL_BALANCE = 10_000_000.0
ALIVE, FINISHED, LIMIT = OrderStatus.ALIVE, OrderStatus.FINISHED, PriceType.LIMIT
"""Bound once: an enum's attribute takes half a microsecond to look up."""


@dataclass
class _Tape:
    """One contract's book and how far its tape was read on `day`."""

    book: ContractBook
    day: date
    next_row: int = 0


class Venue:
    """All accounts and all books of the exchange.

    Parameters
    ----------
    market : MarketView
        Tape, clock and contract terms.
    faults : OrderFaults
        Asked for each order.

    Attributes
    ----------
    received : list of ReceivedMessage
        What came over trading sockets, in order.
    record : list of OrderEvent
        What became of orders, in order.
    """

    def __init__(self, market: MarketView, faults: OrderFaults) -> None:
        self.market = market
        self.faults = faults
        self.accounts: dict[str, Account] = {}
        self.received: list[ReceivedMessage] = []
        self.record: list[OrderEvent] = []
        self._tapes: dict[str, _Tape] = {}
        self._listeners: dict[str, list[Listener]] = {}
        self._numbers = itertools.count(1)
        self._day = market.today()
        self._owners: dict[str, tuple[Account, Order]] = {}

    def login(self, user: str) -> Account:
        """The account of `user`, opened with 10,000,000 CNY where it is new."""
        self.step()
        if user not in self.accounts:
            self.accounts[user] = Account(user, INITIAL_BALANCE)
        return self.accounts[user]

    def listen(self, user: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each update of `user`; returns what ends it."""
        listeners = self._listeners.setdefault(user, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener) if listener in listeners else None

    def snapshot(self, account: Account) -> AccountSnapshot:
        """Everything of an account, as it is told after a login."""
        held = account.values(self._marks(account))
        return AccountSnapshot(
            user=account.user,
            trading_day=self._day,
            money=account.money(held),
            positions=held,
            orders=list(account.orders.values()),
            trades=account.todays_trades(self._day),
        )

    def note_received(self, message: ReceivedMessage) -> None:
        """Record a message of a trading socket, obeyed or not."""
        self.received.append(message)

    def _note(
        self,
        what: OrderEventKind,
        account: Account,
        order: Order,
        *,
        reason: str | None = None,
        trade: Trade | None = None,
    ) -> None:
        request = order.request
        event = OrderEvent(
            at_ns=time.monotonic_ns(),
            what=what,
            user=account.user,
            order_id=request.order_id,
            symbol=request.symbol,
            direction=request.side,
            offset=request.offset,
            left=order.left,
            reason=reason,
            trade_id=trade.trade_id if trade else None,
            volume=trade.volume if trade else None,
            price=trade.price if trade else None,
        )
        self.record.append(event)

    def refuse_malformed(self, account: Account, reason: str) -> None:
        """A client's order that is no order: the reason is told, nothing is recorded."""
        if self.faults.takes_loss():
            return
        self.step()
        self._notify(account, reason)

    def insert(self, account: Account, request: OrderRequest) -> None:
        """A client's order: refused, or treated and told in one item."""
        if self.faults.takes_loss():
            return
        now = self.step()
        if account.knows(request.order_id):
            # The client has overwritten its own record of the order by now: tell it again how the first one stands.
            known = account.orders.get(request.order_id)
            self._tell(account, [known] if known else [], [], "CTP:不允许重复报单")
            return
        order = Order(
            request=request, seqno=next(self._numbers), inserted_ns=now, trading_day=self._day, left=request.volume
        )
        reason = self._refusal(account, request, now) or self.faults.takes_rejection()
        if reason is not None:
            order.status, order.last_msg = FINISHED, reason
            account.remember(order)
            self._note(OrderEventKind.REFUSED, account, order, reason=reason)
            self._tell(account, [order], [], reason)
            return
        terms = self.market.terms(request.symbol, self._day)
        account.place(order, terms)
        self._note(OrderEventKind.ACCEPTED, account, order)
        order.exchange_order_id, order.last_msg = f"{order.seqno:012d}", "未成交"
        key = f"{account.user}|{request.order_id}"
        self._owners[key] = account, order
        tape = self._tape(request.symbol, now)
        in_book = BookOrder(
            order_id=key, side=request.side, price=round(request.price / terms.price_tick), left=request.volume
        )
        trades = self._book_fills(tape.book.insert(in_book, request.lifetime, now))
        if order.status is ALIVE and key not in tape.book.orders:
            self._finish(key, "已撤单")
        self._tell(account, [order], trades)

    def cancel(self, account: Account, order_id: str) -> None:
        """A client takes an order back."""
        self.step()
        key = f"{account.user}|{order_id}"
        if key not in self._owners:
            self._notify(account, "CTP:撤单找不到相应报单")
            return
        _, order = self._owners[key]
        self._tapes[order.request.symbol].book.cancel(key)
        self._finish(key, "已撤单")
        self._tell(account, [order], [])

    def step(self) -> int:
        """Bring every book, order and account to the clock's now, which is returned (UTC epoch ns)."""
        now, today = self.market.moment()
        while self._day < today:
            end = self.market.day_end(self._day)
            self._read_tapes(end)
            self._expire(None)
            self._settle()
            self._day = self.market.calendar.next_day(self._day)
        self._read_tapes(now)
        self._expire(now)
        return now

    def margin_of_lot(self, symbol: str) -> float | None:
        """What one lot binds now, CNY; None for an unknown contract."""
        if not self.market.trades_on(symbol, self._day):
            return None
        terms = self.market.terms(symbol, self._day)
        return terms.pre_settlement * terms.multiplier * terms.margin_ratio

    def mark(self) -> None:
        """Tell accounts with a position what it is worth now."""
        for account in self.accounts.values():
            if self._listeners.get(account.user) and any(p.volume for p in account.positions.values()):
                self._tell(account, [], [])

    def _refusal(self, account: Account, request: OrderRequest, now: int) -> str | None:
        if not self.market.trades_on(request.symbol, self._day):
            return "CTP:找不到合约"
        if request.price_type is not LIMIT:
            return "CTP:交易所不支持的价格类型"
        if request.volume > MAX_ORDER_VOLUME:
            return f"CTP:报单手数超过限制 {MAX_ORDER_VOLUME}"
        terms = self.market.terms(request.symbol, self._day)
        ticks = request.price / terms.price_tick
        if not np.isfinite(ticks) or abs(ticks - round(ticks)) > 1e-6:
            return "CTP:报单价格不是最小变动价位的整数倍"
        if not terms.lower_limit - 1e-9 <= request.price <= terms.upper_limit + 1e-9:
            return "CTP:报单价格超出涨跌停板"
        if not self.market.is_open(request.symbol, now):
            return "CTP:当前时间不在交易时间段内"
        return account.refusal(request, terms, self._marks(account))

    def _tape(self, symbol: str, now: int) -> _Tape:
        tape = self._tapes.get(symbol)
        if tape is None:
            terms = self.market.terms(symbol, self._day)
            tape = self._tapes[symbol] = _Tape(ContractBook(terms.multiplier, terms.price_tick), self._day)
            self._read(symbol, tape, now)
        return tape

    def _read_tapes(self, until_ns: int) -> None:
        touched: dict[str, tuple[Account, list[Order], list[Trade]]] = {}
        for symbol, tape in self._tapes.items():
            for trade, key in self._read(symbol, tape, until_ns):
                account, order = self._trade_owner(key)
                _, orders, trades = touched.setdefault(account.user, (account, [], []))
                if order not in orders:
                    orders.append(order)
                trades.append(trade)
        for account, orders, trades in touched.values():
            self._tell(account, orders, trades)

    def _read(self, symbol: str, tape: _Tape, until_ns: int) -> list[tuple[Trade, str]]:
        """Feed a book the rows of the tape up to a time; rows nobody's order waits for are skipped."""
        if tape.day != self._day:
            tape.book.clear()
            tape.day, tape.next_row = self._day, 0
        ticks = self.market.day_ticks(symbol, self._day)
        if ticks is None:
            return []
        end = int(np.searchsorted(ticks.datetime_ns, until_ns, "right"))
        if not tape.book.busy:
            tape.next_row = max(tape.next_row, end - 1)
        found = []
        for row in range(tape.next_row, end):
            fills = tape.book.advance(snapshot_of(ticks, row, tape.book.price_tick))
            found += list(zip(self._book_fills(fills), [fill.order_id for fill in fills], strict=True))
        tape.next_row = max(tape.next_row, end)
        return found

    def _book_fills(self, fills: list[Fill]) -> list[Trade]:
        trades = []
        for fill in fills:
            account, order = self._trade_owner(fill.order_id)
            terms = self.market.terms(order.request.symbol, self._day)
            number = next(self._numbers)
            price = round(fill.price * terms.price_tick, 6)
            trade_id = f"{order.request.order_id}|{number}"
            trade = account.fill(order, terms, trade_id, number, price, fill.volume, fill.datetime_ns, fill.maker)
            order.last_msg = "部分成交" if order.left else "全部成交"
            if not order.left:
                order.status = FINISHED
            self._note(OrderEventKind.FILLED, account, order, trade=trade)
            trades.append(trade)
        return trades

    def _trade_owner(self, key: str) -> tuple[Account, Order]:
        return self._owners[key]

    def _finish(self, key: str, message: str) -> None:
        account, order = self._owners[key]
        if order.status is ALIVE:
            account.release(order, self.market.terms(order.request.symbol, self._day))
            order.status, order.last_msg = FINISHED, message
            self._note(OrderEventKind.CANCELLED, account, order)

    def _expire(self, now: int | None) -> None:
        """End the orders of contracts whose trading day has closed at `now` (None: all of them)."""
        for key, (account, order) in list(self._owners.items()):
            if order.status is FINISHED:
                del self._owners[key]
            elif now is None or now >= self.market.close_of(order.request.symbol, self._day):
                self._tapes[order.request.symbol].book.cancel(key)
                self._finish(key, "已撤单: 交易日结束")
                del self._owners[key]
                self._tell(account, [order], [])

    def _settle(self) -> None:
        """The trading day is over: mark to settlement, today's position becomes yesterday's."""
        for account in self.accounts.values():
            prices = {symbol: self.market.settlement(symbol, self._day) for symbol in account.positions}
            account.settle(prices, {symbol: self.market.terms(symbol, self._day) for symbol in account.positions})
            tomorrow = self.market.calendar.next_day(self._day)
            gone = [symbol for symbol in account.positions if self.market.has_ended(symbol, tomorrow)]
            for symbol in gone:
                del account.positions[symbol]  # delivered at the settlement it is marked to
            self._tell(account, [], [], gone=gone)

    def _marks(self, account: Account) -> dict[str, tuple[float, ContractTerms]]:
        return {
            symbol: (self.market.last_price(symbol), self.market.terms(symbol, self._day))
            for symbol in account.positions
        }

    def _tell(
        self,
        account: Account,
        orders: list[Order],
        trades: list[Trade],
        notice: str | None = None,
        gone: Sequence[str] = (),
    ) -> None:
        """Order, trade, position and account in one update: a client must never see one without the others."""
        listeners = self._listeners.get(account.user)
        if not listeners:
            return
        held = account.values(self._marks(account))
        update = AccountUpdate(
            user=account.user,
            orders=orders,
            trades=trades,
            gone=list(gone),
            positions=held,
            money=account.money(held),
            notice=self.notice(notice) if notice else None,
        )
        for listener in list(listeners):
            listener(update)

    def _notify(self, account: Account, text: str) -> None:
        for listener in list(self._listeners.get(account.user, [])):
            listener(self.notice(text))

    def notice(self, text: str, level: NoticeLevel = NoticeLevel.WARNING, code: int = 5) -> Notice:
        """A notice with a number of its own."""
        return Notice(number=next(self._numbers), text=text, level=level, code=code)


def snapshot_of(ticks: ContractDay, row: int, price_tick: float) -> Snapshot:
    """One row of a day's ticks as the matching sees it."""
    values = ticks.values

    def levels(side: str) -> tuple[tuple[int, int], ...]:
        found = []
        for level in range(1, 6):
            price, volume = values[f"{side}_price{level}"][row], values[f"{side}_volume{level}"][row]
            if price == price and volume > 0:
                found.append((round(price / price_tick), int(volume)))
        return tuple(found)

    def ticks_of(name: str) -> int | None:
        price = values[name][row]
        return round(price / price_tick) if price == price else None

    return Snapshot(
        datetime_ns=int(ticks.datetime_ns[row]),
        bids=levels("bid"),
        asks=levels("ask"),
        volume=int(values["volume"][row]),
        amount=float(values["amount"][row]),
        highest=ticks_of("highest"),
        lowest=ticks_of("lowest"),
    )
