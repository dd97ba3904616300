"""Each risk rule at its edge: what passes, what is refused, and that a person can read why."""

from __future__ import annotations

import math
from collections import deque

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_runtime.core.order_planning import towards_flat
from ghtrader_runtime.core.risk_rules import (
    DailyLoss,
    DataAge,
    Drawdown,
    FatFinger,
    HoldingLimit,
    InSession,
    MaxPosition,
    OpenOrders,
    OrderRate,
    PriceCollar,
    Proposed,
    RiskLimits,
    first_breach,
    on_grid,
)  # fmt: skip

ORDER = Proposed(
    symbol="SHFE.cu2502",
    side=1,
    volume=1,
    offset="OPEN",
    price=70_000.0,
    net=0,
    working=0,
    market_ns=1000,
    sent_ns=deque(),
    reference=70_000.0,
    multiplier=5,
    price_tick=10.0,
    lower=65_000.0,
    upper=75_000.0,
    sessions=((1000, 2000), (3000, 4000)),
)


@pytest.mark.parametrize(
    ("rule", "passes", "refused", "word"),
    [
        (FatFinger(350_000.0), {}, {"volume": 2}, "700,000"),
        (FatFinger(350_000.0), {"price": math.nan}, {"price": 70_010.0}, "350,050"),
        (FatFinger(350_000.0), {"price": 1.0}, {"price": math.nan, "volume": 2}, "700,000"),
        (FatFinger(350_000.0), {}, {"reference": math.nan, "price": math.nan}, "worth"),
        (InSession(), {"market_ns": 1000}, {"market_ns": 2000}, "outside"),
        (InSession(), {"market_ns": 3999}, {"market_ns": 999}, "outside"),
        (InSession(), {}, {"sessions": None}, "not known"),
        (HoldingLimit(), {}, {"no_open_from": "2025-01-27", "trading_day": "2025-01-27"}, "it is only closed"),
        (
            HoldingLimit(),
            {"no_open_from": "2025-01-27", "trading_day": "2025-01-24"},
            {"no_open_from": "2025-01-27", "trading_day": "2025-02-05"},
            "natural person",
        ),
        (DataAge(15.0), {"data_age_s": 15.0}, {"data_age_s": 15.1}, "15.1 s old"),
        (OpenOrders(2), {"open_orders": 1}, {"open_orders": 2}, "2 orders are open"),
        (OrderRate(2, 1e-6), {"sent_ns": deque([0, 500])}, {"sent_ns": deque([500, 501])}, "at most 2"),
        (OrderRate(2, 1e-7), {"sent_ns": deque([900, 950])}, {"sent_ns": deque([901, 950])}, "at most 2"),
        (PriceCollar(0.01), {"price": 70_700.0}, {"price": 70_710.0}, "1.0%"),
        (PriceCollar(0.01), {"price": 69_300.0}, {"price": 69_290.0}, "1.0%"),
        (PriceCollar(0.5), {"price": 75_000.0}, {"price": 75_010.0}, "limits"),
        (PriceCollar(0.5), {"price": 65_000.0}, {"price": 64_990.0}, "limits"),
        (PriceCollar(0.5), {"price": math.nan}, {"price": 70_005.0}, "multiple"),
        (PriceCollar(0.5), {"upper": math.nan, "lower": math.nan}, {"price": 0.0}, "no price"),
        (PriceCollar(0.5), {}, {"price": -10.0}, "no price"),
        (PriceCollar(0.5), {}, {"price": math.inf}, "no price"),
        (PriceCollar(0.5), {}, {"reference": math.nan}, "from the market"),
        (MaxPosition(2), {"net": 1}, {"net": 1, "working": 1}, "+3"),
        (MaxPosition(2), {"net": -5, "offset": "CLOSE"}, {"net": -5}, "-4"),
    ],
)
def test_a_rule_at_its_edge(rule, passes: dict, refused: dict, word: str) -> None:
    assert rule.check(msgspec.structs.replace(ORDER, **passes)) == ""
    reason = rule.check(msgspec.structs.replace(ORDER, **refused))
    assert word in reason and len(reason) > 15


@pytest.mark.parametrize(
    ("price", "tick"), [(70_050.07, 10.0), (780.013, 0.02), (780.013, 0.05), (140_000.1, 10.0), (4_999.3, 0.2)]
)
def test_a_price_beside_the_grid_is_refused_however_high_it_is(price: float, tick: float) -> None:
    order = msgspec.structs.replace(
        ORDER, price=price, price_tick=tick, reference=price, lower=math.nan, upper=math.nan
    )
    assert f"{price} is no multiple of the price tick {tick:g}" in PriceCollar(0.02).check(order)
    assert PriceCollar(0.02).check(msgspec.structs.replace(order, price=round(round(price / tick) * tick, 6))) == ""


@given(
    st.sampled_from([0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]), st.integers(1, 10_000_000),
    st.floats(1e-4, 1 - 1e-4),
)  # fmt: skip
def test_the_grid_is_as_fine_at_any_price(tick: float, steps: int, beside: float) -> None:
    assert on_grid(round(steps * tick, 6), tick) and on_grid(steps * tick, tick)
    assert not on_grid((steps + beside) * tick, tick)
    assert not on_grid(math.nan, tick) and not on_grid(math.inf, tick)


def test_what_only_closes_passes_on_an_old_book() -> None:
    old = msgspec.structs.replace(ORDER, data_age_s=99.0)
    assert DataAge(15.0).check(old) and not DataAge(15.0).check(msgspec.structs.replace(old, offset="CLOSE"))
    assert not DataAge(0.0).check(old), "0 is never"


@pytest.mark.parametrize("offset", ["CLOSE", "CLOSETODAY"])
def test_what_closes_passes_whoever_may_hold_the_contract(offset: str) -> None:
    late = msgspec.structs.replace(ORDER, no_open_from="2025-01-27", trading_day="2025-02-14", offset=offset)
    assert HoldingLimit().check(late) == ""
    assert HoldingLimit().check(msgspec.structs.replace(late, offset="OPEN"))
    assert HoldingLimit() in RiskLimits().rules()


def test_losses_at_their_edge() -> None:
    rules = RiskLimits(daily_loss=100.0, drawdown=150.0).account_rules()
    assert first_breach(rules, 1000.0, 1000.0, 901.0) == ""
    assert "100" in first_breach(rules, 1000.0, 1000.0, 900.0)
    assert "peak" in first_breach(rules, 1000.0, 1100.0, 950.0) and first_breach(rules, 1000.0, 1100.0, 951.0) == ""
    assert DailyLoss(0.0).check(1e6, 1e6, 0.0) == "" and Drawdown(0.0).check(1e6, 1e6, 0.0) == ""


def test_towards_flat_never_crosses() -> None:
    for net in range(-4, 5):
        for target in range(-6, 7):
            left = towards_flat(target, net)
            assert abs(left) <= abs(net) and left * net >= 0
            assert left == target or abs(target) > abs(net) or target * net < 0 or net == 0
