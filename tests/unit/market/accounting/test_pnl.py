"""PnL of fills against hand-made cases, and its parts against the whole."""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_market.accounting.pnl import RunTotals, by_contract, profit
from ghtrader_market.accounting.round_trips import round_trips

OLD, NEW = "SHFE.cu2504", "SHFE.cu2505"


def test_round_trips_and_profit() -> None:
    def fill(side: int, volume: int, price: float) -> dict:
        return {"symbol": "S", "side": side, "volume": volume, "price": price, "commission": 1.0}

    fills = [fill(1, 1, 100.0), fill(-1, 2, 110.0), fill(1, 1, 105.0), fill(1, 1, 100.0)]
    assert round_trips(fills) == 2
    money = profit(fills, {"S": 5}, {"S": 103.0}, {"S": 0})
    assert money == {"gross_pnl": (10 + 5 + 3) * 5.0, "fees": 4.0, "net_pnl": 86.0}
    assert profit([fill(-1, 1, 110.0)], {"S": 5}, {"S": 100.0}, {"S": 1})["gross_pnl"] == 50.0


def test_money_adds_up_over_contracts() -> None:
    rng = np.random.default_rng(3)
    fills, tally = [], RunTotals(5)
    for _ in range(40):
        symbol = OLD if rng.random() < 0.5 else NEW
        fill = {"symbol": symbol, "side": int(rng.choice([-1, 1])), "volume": int(rng.integers(1, 4)),
                "price": float(rng.integers(70_000, 71_000)), "commission": 3.5}  # fmt: skip
        fills.append(fill)
        tally.add(fill)
    multipliers, marks = {OLD: 5, NEW: 5}, {OLD: 70_300.0, NEW: 70_900.0}
    whole = profit(fills, multipliers, marks, {})
    parts = by_contract(fills, multipliers, marks, {})
    assert set(parts) == {OLD, NEW} and sum(part["fills"] for part in parts.values()) == 40
    for name in ("gross_pnl", "fees", "net_pnl"):
        assert sum(part[name] for part in parts.values()) == pytest.approx(whole[name])
    assert tally.net(marks) == pytest.approx(whole["net_pnl"])
