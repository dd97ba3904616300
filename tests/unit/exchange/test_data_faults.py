"""What can be made to go wrong with downloads: the damage is what it says, counted, and ends."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ghtrader_exchange.faults.data_faults import DataFaults, damage
from ghtrader_exchange.faults.fault_kinds import DATA_FAULTS, DAY_FAULTS

DAY = date(2025, 4, 2)
TIMES = np.arange(400, dtype=np.int64) * 500_000_000
VALUES = {
    "last_price": np.full(400, 75_000.0),
    "volume": np.arange(400),
    "bid_price1": np.full(400, 74_990.0),
    "ask_price1": np.full(400, 75_010.0),
}


def test_each_damage_is_what_its_name_says() -> None:
    assert len(damage("empty-day", TIMES, VALUES).datetime_ns) == 0
    assert len(damage("partial-day", TIMES, VALUES).values["volume"]) == 266
    twice = damage("duplicate-rows", TIMES, VALUES)
    assert (np.diff(twice.datetime_ns) == 0).sum() == 7 == len(twice.datetime_ns) - 400
    assert (np.diff(damage("disordered-rows", TIMES, VALUES).datetime_ns) < 0).sum() == 7
    crossed = damage("crossed-rows", TIMES, VALUES).values
    assert (crossed["bid_price1"] >= crossed["ask_price1"]).sum() == 7
    assert np.isnan(damage("nan-rows", TIMES, VALUES).values["volume"]).sum() == 7
    assert (VALUES["bid_price1"] < VALUES["ask_price1"]).all() and VALUES["volume"].dtype.kind == "i"
    with pytest.raises(ValueError, match="no damage"):
        damage("drop-data", TIMES, VALUES)


def test_a_line_fault_meets_its_symbol_and_day_as_often_as_it_says() -> None:
    faults = DataFaults()
    faults.set("drop-data", count=2, symbol="SHFE.cu2505", day=DAY)
    assert faults.take("SHFE.cu2506", DAY) is None and faults.take("SHFE.cu2505", date(2025, 4, 3)) is None
    assert [faults.take("SHFE.cu2505", DAY) is not None for _ in range(3)] == [True, True, False]
    faults.set("stall-data", seconds=3)
    assert faults.take("any", DAY).seconds == 3.0 and faults.take("any", DAY) is None


def test_the_login_is_refused_for_a_while_and_all_faults_can_be_ended() -> None:
    now = [10.0]
    faults = DataFaults(clock=lambda: now[0])
    faults.set("refuse-login", seconds=5)
    assert faults.refuses_login()
    now[0] = 15.0
    assert not faults.refuses_login()
    faults.set("empty-day", symbol="SHFE.cu2505", day=DAY)
    assert faults.days_of("SHFE.cu2505") == {DAY: "empty-day"} and faults.days_of("SHFE.cu2506") == {}
    assert faults.days == {("SHFE.cu2505", DAY): "empty-day"}
    faults.clear()
    assert (faults.lines, faults.days, faults.refuses_for()) == ([], {}, 0.0)


def test_nonsense_is_refused() -> None:
    faults = DataFaults()
    for kind, more in [("nonsense", {}), ("empty-day", {}), ("drop-data", {"count": -1}), ("nan-rows", {"day": DAY})]:
        with pytest.raises(ValueError):
            faults.set(kind, **more)
    assert set(DAY_FAULTS) < set(DATA_FAULTS)
