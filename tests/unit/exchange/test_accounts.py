"""An account's money and positions, by hand-computed cases and by what must always hold."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_exchange.enums import Lifetime, Offset, OrderStatus, Side
from ghtrader_exchange.venue.accounts import Account
from ghtrader_exchange.venue.orders import Order, OrderRequest
from ghtrader_exchange.world.contract_terms import ContractTerms
from ghtrader_market.reference.varieties import FeeRates

DAY = date(2025, 1, 22)
FEES = FeeRates(open_ratio=5e-5, close_ratio=5e-5, close_today_ratio=1e-4)
CU = ContractTerms(
    symbol="SHFE.cu2503",
    multiplier=5,
    price_tick=10.0,
    fees=FEES,
    margin_ratio=0.1,
    needs_close_today=True,
    pre_settlement=74000.0,
    upper_limit=79920.0,
    lower_limit=68080.0,
)
IF = ContractTerms(
    symbol="CFFEX.IF2501",
    multiplier=300,
    price_tick=0.2,
    fees=FeeRates(),
    margin_ratio=0.12,
    needs_close_today=False,
    pre_settlement=4000.0,
    upper_limit=4400.0,
    lower_limit=3600.0,
)


class Desk:
    """Places and fills orders on one account."""

    def __init__(self, deposit=1_000_000.0, terms=CU):
        self.account, self.terms, self.count = Account("u", deposit), terms, 0

    def marks(self, price):
        return {self.terms.symbol: (price, self.terms)}

    def money(self, price):
        return self.account.money(self.account.values(self.marks(price)))

    def place(self, side, offset, volume, price):
        self.count += 1
        request = OrderRequest(
            order_id=str(self.count),
            symbol=self.terms.symbol,
            side=Side(side),
            offset=Offset(offset),
            volume=volume,
            price=float(price),
            lifetime=Lifetime.GFD,
        )
        reason = self.account.refusal(request, self.terms, self.marks(float(price)))
        if reason:
            return reason
        order = Order(request=request, seqno=self.count, inserted_ns=0, trading_day=DAY, left=volume)
        self.account.place(order, self.terms)
        return order

    def fill(self, order, price, volume=None):
        self.count += 1
        volume = volume or order.left
        self.account.fill(order, self.terms, f"t{self.count}", self.count, float(price), volume, 0, False)
        if not order.left:
            order.status = OrderStatus.FINISHED

    def trade(self, side, offset, volume, price):
        order = self.place(side, offset, volume, price)
        assert isinstance(order, Order), order
        self.fill(order, price)

    def settle(self, price):
        self.account.settle({self.terms.symbol: price}, {self.terms.symbol: self.terms})


def test_opening_binds_margin_and_costs_the_open_fee():
    desk = Desk()
    desk.trade("BUY", "OPEN", 2, 74000)
    money = desk.money(74100.0)
    assert money.fees_paid == pytest.approx(2 * 74000 * 5 * 5e-5)
    assert money.margin == pytest.approx(2 * 74000 * 5 * 0.1)
    assert money.position_profit == pytest.approx(2 * 100 * 5)
    assert money.balance == pytest.approx(1_000_000 + 1000 - 37)
    assert money.available == pytest.approx(money.balance - money.margin)
    row = desk.account.position_value("SHFE.cu2503", 74100.0, CU)
    assert (row.long.today, row.long.his, row.short.today) == (2, 0, 0)
    assert row.long.open_price == 74000 and row.short.open_price is None


def test_closing_today_pays_its_own_fee_and_realises_the_difference():
    desk = Desk()
    desk.trade("SELL", "OPEN", 3, 74000)
    desk.trade("BUY", "CLOSETODAY", 2, 73900)
    money = desk.money(74000.0)
    assert money.close_profit == pytest.approx(2 * 100 * 5)
    assert money.fees_paid == pytest.approx(3 * 74000 * 5 * 5e-5 + 2 * 73900 * 5 * 1e-4)


def test_close_reaches_yesterday_alone_where_today_needs_its_own_word():
    desk = Desk()
    desk.trade("BUY", "OPEN", 2, 74000)
    assert desk.place("SELL", "CLOSE", 1, 74000) == "CTP:平昨仓位不足"
    desk.settle(74200.0)
    assert desk.place("SELL", "CLOSETODAY", 1, 74000) == "CTP:平今仓位不足"
    desk.trade("SELL", "CLOSE", 1, 74300)
    money = desk.money(74200.0)
    assert money.pre_balance == pytest.approx(1_000_000 + 2 * 200 * 5 - 37)
    assert money.close_profit == pytest.approx(100 * 5)  # against the settlement, not the open price
    row = desk.account.position_value("SHFE.cu2503", 74200.0, CU)
    assert row.long.float_profit == pytest.approx(200 * 5) and row.long.position_profit == 0


def test_elsewhere_close_eats_yesterday_first_then_today():
    desk = Desk(10_000_000.0, IF)
    desk.trade("BUY", "OPEN", 1, 4000)
    desk.settle(4000.0)
    desk.trade("BUY", "OPEN", 1, 4000)
    desk.trade("SELL", "CLOSE", 2, 4010)
    assert desk.account.positions["CFFEX.IF2501"].volume == 0


def test_working_orders_bind_and_release():
    desk = Desk()
    before = desk.money(74000.0).available
    order = desk.place("BUY", "OPEN", 2, 74000)
    money = desk.money(74000.0)
    assert money.frozen_margin == pytest.approx(74000) and money.available < before
    desk.account.release(order, CU)
    order.status = OrderStatus.FINISHED
    assert desk.money(74000.0).available == before
    desk.trade("BUY", "OPEN", 2, 74000)
    closing = desk.place("SELL", "CLOSETODAY", 2, 74000)
    assert desk.place("SELL", "CLOSETODAY", 1, 74000) == "CTP:平今仓位不足"
    desk.account.release(closing, CU)
    closing.status = OrderStatus.FINISHED
    assert isinstance(desk.place("SELL", "CLOSETODAY", 2, 74000), Order)


def test_too_little_money_is_refused():
    assert Desk(37_000.0).place("BUY", "OPEN", 1, 74000) == "CTP:资金不足"
    assert isinstance(Desk(37_100.0).place("BUY", "OPEN", 1, 74000), Order)


def test_orders_are_known_for_ever_and_past_trades_leave_the_day():
    desk = Desk()
    desk.trade("BUY", "OPEN", 1, 74000)
    desk.settle(74000.0)
    assert desk.account.knows("1") and desk.account.orders == {}
    assert [order.request.order_id for order in desk.account.every_order()] == ["1"]
    assert len(desk.account.todays_trades(DAY)) == 1 and desk.account.todays_trades(date(2025, 1, 23)) == []


actions = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["BUY", "SELL"]),
            st.sampled_from(["OPEN", "OPEN", "CLOSE", "CLOSETODAY"]),
            st.integers(1, 4),
            st.integers(7390, 7410),
            st.booleans(),
        ),
        st.just("settle"),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions, st.integers(7390, 7410))
def test_the_balance_is_the_cash_flow(done, last):
    """Whatever is done, the balance is the deposit plus every lot's own profit less every fee."""
    desk, signed, cash, fees = Desk(5_000_000.0), 0, 0.0, 0.0
    for action in done:
        if action == "settle":
            desk.settle(74010.0)
            continue
        side, offset, volume, ticks, cancelled = action
        order = desk.place(side, offset, volume, ticks * 10)
        if isinstance(order, str):
            continue
        if cancelled:
            desk.account.release(order, CU)
            order.status = OrderStatus.FINISHED
            continue
        desk.fill(order, ticks * 10)
        sign = 1 if side == "BUY" else -1
        signed, cash = signed + sign * volume, cash - sign * volume * ticks * 10 * 5
        ratio = {"OPEN": 5e-5, "CLOSE": 5e-5, "CLOSETODAY": 1e-4}[offset]
        fees += ratio * volume * ticks * 10 * 5
    money = desk.money(last * 10.0)
    assert money.balance == pytest.approx(5_000_000 + cash + signed * last * 10 * 5 - fees, abs=1e-6)
    assert money.frozen_margin == money.frozen_fee == 0
    for holding in desk.account.positions.values():
        assert set(holding.frozen.values()) == {0}
        assert holding.net == signed
