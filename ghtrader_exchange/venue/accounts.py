"""Keeps a client's account at the exchange: money, margin, fees, positions by age, and what orders bind. Pure.

Money is reckoned as the exchanges do, marked to settlement each day: balance = previous balance + profit of closes +
profit of positions - fees; margin is bound on the cost of positions, and by working orders at their limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from ghtrader_exchange.enums import Offset, OrderStatus, Side
from ghtrader_exchange.venue.account_updates import AccountMoney, PositionSide, PositionValue
from ghtrader_exchange.venue.lots import Age, Bucket, HeldSide, close_fee, lots_to_close, open_fee
from ghtrader_exchange.venue.orders import Order, OrderRequest, Trade
from ghtrader_exchange.world.contract_terms import ContractTerms

Marks = Mapping[str, tuple[float, "ContractTerms"]]
"""Symbol to last price in CNY and terms."""
OPEN, CLOSETODAY, BUY, ALIVE = Offset.OPEN, Offset.CLOSETODAY, Side.BUY, OrderStatus.ALIVE
"""Bound once: an enum's attribute takes half a microsecond to look up."""


_KINDS: tuple[tuple[HeldSide, Age], ...] = (("long", "today"), ("long", "his"), ("short", "today"), ("short", "his"))


def _no_lots() -> dict[tuple[HeldSide, Age], int]:
    return dict.fromkeys(_KINDS, 0)


def _no_buckets() -> dict[tuple[HeldSide, Age], Bucket]:
    return {kind: Bucket() for kind in _KINDS}


@dataclass
class Holding:
    """The position in one contract: lots by side and age; `frozen` counts those that working orders are to close."""

    lots: dict[tuple[HeldSide, Age], Bucket] = field(default_factory=_no_buckets)
    frozen: dict[tuple[HeldSide, Age], int] = field(default_factory=_no_lots)

    @property
    def volume(self) -> int:
        """All lots, both sides together."""
        return sum(bucket.volume for bucket in self.lots.values())

    @property
    def net(self) -> int:
        """Long lots less short ones."""
        return sum(bucket.volume * (1 if side == "long" else -1) for (side, _), bucket in self.lots.items())

    def closable(self, request: OrderRequest, needs_close_today: bool) -> int:
        """Lots an order to close can still have.

        Where today's position needs CLOSETODAY (SHFE, INE), CLOSE reaches yesterday's lots alone; elsewhere all.
        """
        side = _closed_side(request)
        today: int = self.lots[side, "today"].volume - self.frozen[side, "today"]
        his: int = self.lots[side, "his"].volume - self.frozen[side, "his"]
        if request.offset is CLOSETODAY:
            return today if needs_close_today else today + min(his, 0)
        return his if needs_close_today else his + today

    def freeze(self, request: OrderRequest, volume: int) -> None:
        """Bind lots to an order to close, or let them go with a negative `volume`."""
        self.frozen[_closed_side(request), "today" if request.offset is CLOSETODAY else "his"] += volume

    def fill(self, request: OrderRequest, price: float, volume: int, terms: ContractTerms) -> tuple[float, float]:
        """Book a fill; returns the profit it realised against the marked cost, and its fee, both CNY."""
        if request.offset is OPEN:
            self.lots["long" if request.side is BUY else "short", "today"].add(price, volume)
            return 0.0, open_fee(terms.fees, price, volume, terms.multiplier)
        side = _closed_side(request)
        there = self.lots[side, "today"].volume, self.lots[side, "his"].volume
        realised = paid = 0.0
        for age, lots in lots_to_close(request.symbol.split(".")[0], request.offset, volume, *there):
            if lots:
                gain = price * lots - self.lots[side, age].take(lots)
                realised += gain * terms.multiplier * (1 if side == "long" else -1)
                paid += close_fee(terms.fees, age, price, lots, terms.multiplier)
        return realised, paid

    def settle(self, price: float, multiplier: int) -> float:
        """Mark to settlement and make today's lots yesterday's; returns the profit since the last marking, CNY."""
        profit = 0.0
        sides: tuple[HeldSide, ...] = ("long", "short")
        for side in sides:
            today, his = self.lots[side, "today"], self.lots[side, "his"]
            volume = today.volume + his.volume
            gain = price * volume - (today.marked + his.marked)
            profit += gain * multiplier * (1 if side == "long" else -1)
            self.lots[side, "his"] = Bucket(volume, today.opened + his.opened, price * volume)
            self.lots[side, "today"] = Bucket()
        return profit


class Account:
    """One client's account.

    Parameters
    ----------
    user : str
    deposit : float
        CNY at the beginning.
    """

    def __init__(self, user: str, deposit: float) -> None:
        self.user = user
        self.pre_balance = float(deposit)
        self.close_profit = 0.0
        self.fees_paid = 0.0
        self.positions: dict[str, Holding] = {}
        self.orders: dict[str, Order] = {}
        self.trades: dict[str, Trade] = {}
        self._past_orders: dict[str, Order] = {}

    def knows(self, order_id: str) -> bool:
        """Whether an order of this name came before, on any day."""
        return order_id in self.orders or order_id in self._past_orders

    def every_order(self) -> Iterable[Order]:
        """Orders of all days."""
        return [*self._past_orders.values(), *self.orders.values()]

    def todays_trades(self, day: date) -> list[Trade]:
        """Trades of one trading day."""
        return [trade for trade in self.trades.values() if trade.trading_day == day]

    def remember(self, order: Order) -> None:
        """Keep an order that binds nothing: a refused one."""
        self.orders[order.request.order_id] = order

    def refusal(self, request: OrderRequest, terms: ContractTerms, marks: Marks) -> str | None:
        """Why the account cannot carry an order, in the words clients know from CTP; None where it can.

        `marks` covers every contract the account holds.
        """
        if request.offset is OPEN:
            enough = sum(_bound(request, terms, request.volume)) <= self.money(self.values(marks)).available
            return None if enough else "CTP:资金不足"
        holding = self.positions.get(request.symbol, Holding())
        if holding.closable(request, terms.needs_close_today) >= request.volume:
            return None
        return "CTP:平今仓位不足" if request.offset is CLOSETODAY else "CTP:平昨仓位不足"

    def place(self, order: Order, terms: ContractTerms) -> None:
        """An accepted order binds margin and fee (OPEN) or lots (CLOSE)."""
        self.orders[order.request.order_id] = order
        holding = self.positions.setdefault(order.request.symbol, Holding())
        if order.request.offset is OPEN:
            order.frozen_margin, order.frozen_fee = _bound(order.request, terms, order.left)
        else:
            holding.freeze(order.request, order.left)

    def release(self, order: Order, terms: ContractTerms) -> None:
        """What is left of an order binds nothing any more."""
        if order.request.offset is OPEN:
            order.frozen_margin = order.frozen_fee = 0.0
        else:
            self.positions[order.request.symbol].freeze(order.request, -order.left)

    def fill(
        self,
        order: Order,
        terms: ContractTerms,
        trade_id: str,
        seqno: int,
        price: float,
        volume: int,
        at_ns: int,
        maker: bool,
    ) -> Trade:
        """`volume` lots of a placed order are filled at `price` CNY."""
        request, holding = order.request, self.positions[order.request.symbol]
        symbol, side, offset = request.symbol, request.side, request.offset
        realised, paid = holding.fill(request, price, volume, terms)
        order.left -= volume
        if request.offset is OPEN:
            order.frozen_margin, order.frozen_fee = _bound(request, terms, order.left)
        else:
            holding.freeze(request, -volume)
        self.close_profit += realised
        self.fees_paid += paid
        trade = Trade(
            trade_id=trade_id, order_id=request.order_id, seqno=seqno, symbol=symbol, side=side, offset=offset,
            price=price, volume=volume, fee=paid, traded_ns=at_ns, trading_day=order.trading_day, maker=maker,
        )  # fmt: skip
        self.trades[trade_id] = trade
        return trade

    def settle(self, prices: Mapping[str, float], terms: Mapping[str, ContractTerms]) -> None:
        """The trading day is over: every position is marked to its settlement price and becomes yesterday's.

        No order may be working any more.
        """
        profit = sum(
            holding.settle(prices[symbol], terms[symbol].multiplier) for symbol, holding in self.positions.items()
        )
        self.pre_balance += self.close_profit + profit - self.fees_paid
        self.close_profit = self.fees_paid = 0.0
        self.positions = {symbol: holding for symbol, holding in self.positions.items() if holding.volume}
        self._past_orders |= self.orders
        self.orders = {}

    def values(self, marks: Marks) -> list[PositionValue]:
        """What the positions are worth at the prices given."""
        return [self.position_value(symbol, *marks[symbol]) for symbol in self.positions]

    def money(self, held: list[PositionValue]) -> AccountMoney:
        """The account's money, its positions being worth `held`."""
        working = [order for order in self.orders.values() if order.status is ALIVE]
        position_profit = sum(position.position_profit for position in held)
        margin = sum(position.margin for position in held)
        frozen_margin = sum(order.frozen_margin for order in working)
        frozen_fee = sum(order.frozen_fee for order in working)
        balance = self.pre_balance + self.close_profit + position_profit - self.fees_paid
        available = balance - margin - frozen_margin - frozen_fee
        return AccountMoney(
            pre_balance=self.pre_balance,
            balance=balance,
            available=available,
            float_profit=sum(position.float_profit for position in held),
            position_profit=position_profit,
            close_profit=self.close_profit,
            margin=margin,
            frozen_margin=frozen_margin,
            fees_paid=self.fees_paid,
            frozen_fee=frozen_fee,
            risk_ratio=margin / balance if balance > 0 else 0.0,
        )

    def position_value(self, symbol: str, last_price: float, terms: ContractTerms) -> PositionValue:
        """What the position in one contract is worth at `last_price` CNY."""
        holding = self.positions[symbol]
        return PositionValue(
            symbol=symbol,
            last_price=last_price,
            long=_side_value(holding, "long", last_price, terms),
            short=_side_value(holding, "short", last_price, terms),
        )


def _side_value(holding: Holding, side: HeldSide, last_price: float, terms: ContractTerms) -> PositionSide:
    """What one side of a position is worth."""
    today, his = holding.lots[side, "today"], holding.lots[side, "his"]
    opened_for, marked_at = today.opened + his.opened, today.marked + his.marked
    volume, multiplier, sign = today.volume + his.volume, terms.multiplier, 1 if side == "long" else -1
    position_cost = marked_at * multiplier
    return PositionSide(
        today=today.volume,
        his=his.volume,
        frozen_today=holding.frozen[side, "today"],
        frozen_his=holding.frozen[side, "his"],
        open_cost=opened_for * multiplier,
        open_price=opened_for / volume if volume else None,
        float_profit=sign * (last_price * volume - opened_for) * multiplier,
        position_cost=position_cost,
        position_price=marked_at / volume if volume else None,
        position_profit=sign * (last_price * volume - marked_at) * multiplier,
        margin=position_cost * terms.margin_ratio,
    )


def _bound(request: OrderRequest, terms: ContractTerms, volume: int) -> tuple[float, float]:
    """Margin and fee that `volume` lots of an order to open bind while it works, CNY."""
    margin = request.price * terms.multiplier * volume * terms.margin_ratio
    return margin, open_fee(terms.fees, request.price, volume, terms.multiplier)


def _closed_side(request: OrderRequest) -> HeldSide:
    return "short" if request.side is BUY else "long"
