"""PnL of fills against hand-made cases, and its parts against the whole."""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.pnl import RunTotals, by_contract, forward_fill, profit
from ghtrader_market.accounting.round_trips import round_trips

OLD, NEW = "SHFE.cu2504", "SHFE.cu2505"


def fill(lots: int, price: float, fee: float = 1.0, symbol: str = "S") -> Fill:
    side = "BUY" if lots > 0 else "SELL"
    return Fill(symbol=symbol, side=side, offset=None, volume=abs(lots), price=price, fee=fee)


def test_round_trips_and_profit() -> None:
    fills = [fill(1, 100.0), fill(-2, 110.0), fill(1, 105.0), fill(1, 100.0)]
    assert round_trips(fills, {"S": 5}) == (2, 2)
    money = profit(fills, {"S": 5}, {"S": 103.0}, {"S": 0})
    assert money == {"gross_pnl": (10 + 5 + 3) * 5.0, "fees": 4.0, "net_pnl": 86.0}


def test_money_adds_up_over_contracts() -> None:
    rng = np.random.default_rng(3)
    fills, totals = [], RunTotals(5)
    for _ in range(40):
        symbol = OLD if rng.random() < 0.5 else NEW
        lots = int(rng.choice([-1, 1])) * int(rng.integers(1, 4))
        done = fill(lots, float(rng.integers(70_000, 71_000)), 3.5, symbol)
        fills.append(done)
        totals.add(done)
    multipliers, marks = {OLD: 5, NEW: 5}, {OLD: 70_300.0, NEW: 70_900.0}
    whole = profit(fills, multipliers, marks, {})
    parts = by_contract(fills, multipliers, marks, {})
    assert set(parts) == {OLD, NEW} and sum(part["fills"] for part in parts.values()) == 40
    for name in ("gross_pnl", "fees", "net_pnl"):
        assert sum(part[name] for part in parts.values()) == pytest.approx(whole[name])
    assert totals.net(marks) == pytest.approx(whole["net_pnl"])


def test_a_carried_position_ends_a_trip_whose_cost_nobody_knows() -> None:
    assert round_trips([fill(-1, 110.0)], {"S": 5}, {"S": 1}) == (1, 0)
    assert round_trips([fill(-3, 110.0), fill(2, 100.0)], {"S": 5}, {"S": 1}) == (2, 1)
    assert round_trips([fill(1, 100.0), fill(-2, 110.0)], {"S": 5}, {"S": 1}) == (1, 0)
    assert round_trips([fill(1, 100.0, symbol=OLD), fill(-1, 110.0, symbol=NEW)], {OLD: 5, NEW: 5}) == (0, 0)


def test_lots_that_were_carried_in_earn_from_their_opening_mark_on() -> None:
    opening, since, units = {"S": 2}, {"S": 100.0}, {"S": 5}
    for fills, net in (([], -70.0), ([fill(-1, 95.0)], -61.0), ([fill(-3, 95.0)], -41.0)):
        totals = RunTotals(5)
        totals.carry_in("S", 2, 100.0)
        for done in fills:
            totals.add(done)
        marks = {"S": 93.0}
        whole = profit(fills, units, marks, opening, since)
        assert whole["net_pnl"] == net == totals.net(marks)
        assert by_contract(fills, units, marks, opening, since)["S"]["net_pnl"] == whole["net_pnl"]
    assert profit([], units, {}, opening, since)["net_pnl"] == 0.0, "not marked since"
    assert profit([], units, {"S": 93.0}, opening) == {"gross_pnl": 0.0, "fees": 0.0, "net_pnl": 0.0}


@pytest.mark.parametrize("mark", [50.0, 100.0, 200.0])
def test_a_market_that_moves_on_costs_nothing_on_lots_that_are_gone(mark) -> None:
    """Lots that a run began with and nobody valued: sold at 110, the run's money no longer follows the market."""
    for fills, net in (
        ([fill(-1, 110.0)], -1.0),
        ([fill(-1, 110.0), fill(1, 100.0), fill(-1, 103.0)], 15.0 - 3.0),
        ([fill(-2, 110.0), fill(1, 100.0)], 50.0 - 2.0),
        ([fill(1, 100.0)], (mark - 100.0) * 5 - 1.0),
    ):
        totals = RunTotals(5)
        totals.hold("S", 1)
        for done in fills:
            totals.add(done)
        assert profit(fills, {"S": 5}, {"S": mark}, {"S": 1})["net_pnl"] == net == totals.net({"S": mark})
        assert by_contract(fills, {"S": 5}, {"S": mark}, {"S": 1})["S"]["net_pnl"] == net


def test_a_fee_that_is_not_known_counts_as_none() -> None:
    fills, totals = [fill(1, 100.0, float("nan")), fill(-1, 101.0, 2.0)], RunTotals(5)
    for done in fills:
        totals.add(done)
    assert profit(fills, {"S": 5}, {}, {}) == {"gross_pnl": 5.0, "fees": 2.0, "net_pnl": 3.0}
    assert (totals.fees, totals.net({})) == (2.0, 3.0) and round_trips(fills, {"S": 5}) == (1, 1)


def test_forward_fill() -> None:
    found = forward_fill(np.array([np.nan, 1.0, np.nan, 3.0, np.nan]))
    np.testing.assert_array_equal(found, [np.nan, 1, 1, 3, 3])
