"""A stored day becomes a tape with its sessions, trades and levels, and orders on it cost what the day's table says."""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_market.accounting.positions import Position, apply_fill
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.simulation.assumptions import QueueModel, SimulationModel
from ghtrader_models.simulation.day_tape import contract_terms, tape_of_day
from ghtrader_models.simulation.simulate import SimulatedRun, Targets
from tests.support.copper_day import CONTRACT, DAY, whole_day


def test_a_whole_day_is_packed_and_traded_at_the_fees_of_its_date() -> None:
    times, values = whole_day(seconds=20.0)
    tape, terms = tape_of_day(times, values, CONTRACT, DAY), contract_terms(CONTRACT, DAY)
    assert (tape.rows, tape.levels, tape.price_tick) == (times.size, 5, 10.0)
    assert np.unique(tape.sessions.row).size == tape.sessions.ends_ns.size == 4
    assert np.abs(tape.trades.lots).sum() == values[COLUMN_INDEX["volume"]][-1] - values[COLUMN_INDEX["volume"]][0]
    targets = np.where(np.arange(times.size) // 50 % 2, 2, -1)
    run = SimulatedRun(tape, Targets(targets), terms, SimulationModel(), flat_from=times.size - 5)
    run.advance()
    position, rates = Position(), get_variety("cu").fees(CONTRACT, DAY)
    for fill in run.executions.as_fills(CONTRACT):
        booked = apply_fill(position, fill, rates, 5)
        position = booked.position
        assert fill.fee == pytest.approx(booked.fee)
    assert run.totals.net == 0 and run.executions.row.size > 40


def test_a_day_of_best_quotes_alone_has_one_level() -> None:
    times, values = whole_day(seconds=60.0)
    for level in range(2, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = values[COLUMN_INDEX[f"ask_price{level}"]] = np.nan
    assert tape_of_day(times, values, CONTRACT, DAY).levels == 1


def test_a_day_that_does_not_trade_is_refused() -> None:
    times, values = whole_day(seconds=60.0)
    with pytest.raises(UsageError, match="not a trading day"):
        tape_of_day(times, values, CONTRACT, DAY.replace(day=9))


def test_assumptions_stand_beside_the_numbers() -> None:
    found = {line.name: line for line in SimulationModel(queue=QueueModel.POWER).assumptions()}
    assert found["queue"].value == "power, p = 2" and found["order latency"].value == "2 ms"
    assert found["depth"].value == "5 levels" and all(line.meaning for line in found.values())
