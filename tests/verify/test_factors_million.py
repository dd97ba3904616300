"""`core` over a million simulated ticks, its one-level part over the real day: batch and live to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS, values_matrix
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.samples import IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.library.sets import get_factor_set

TICKS = 1_000_000


def bits(factors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(factors).view(np.uint32)


@pytest.fixture(scope="module")
def ticks() -> tuple[np.ndarray, np.ndarray]:
    """A million snapshots of the simulated exchange, its days one after the other as if they were one."""
    cu, history = get_variety("cu"), History(Scenario(world="driver"))
    times, values, have, start = [], [], 0, 0
    while have < TICKS:
        for day in history.days:
            found = history.day(history.main_contract("cu", day), day)
            moment = np.asarray(found.datetime_ns, np.int64)
            times.append(moment - moment[0] + start)
            start = int(times[-1][-1]) + 500_000_000
            values.append(np.array([found.values[name] for name in VALUE_COLUMNS], np.float64))
            have += len(moment)
            if have >= TICKS:
                break
    assert cu.multiplier == 5
    return np.concatenate(times)[:TICKS], np.concatenate(values, axis=1)[:, :TICKS]


def test_core_over_a_million_ticks(ticks):
    times, values = ticks
    rng = np.random.default_rng(1)
    values = np.where(rng.random(values.shape) < 1e-4, np.nan, values)
    core, bounds = get_factor_set("core"), [(int(times[0]), int(times[-1]) + 1)]
    live, wide = FactorEngine(core, 10.0, 5.0, bounds), FactorEngine(core, 10.0, 5.0, bounds)
    others = {block: FactorEngine(core, 10.0, 5.0, bounds) for block in (7, 64, 1000)}
    for start in range(0, TICKS, 50_000):
        part = slice(start, start + 50_000)
        expected = bits(wide.batch(times[part], values[:, part]))
        for block, engine in others.items():
            assert (bits(engine.batch(times[part], values[:, part], block=block)) == expected).all(), block
        rows = np.ascontiguousarray(values[:, part].T)
        got = np.empty((len(rows), len(core)), np.float32)
        for i, (moment, row) in enumerate(zip(times[part].tolist(), rows, strict=True)):
            got[i] = live.update(moment, row)
        assert (bits(got) == expected).all(), start
        saved = live.state()
        live = FactorEngine(core, 10.0, 5.0, bounds)
        live.load_state(saved)


def test_the_one_level_part_of_core_over_the_real_day():
    ((_, _, table),) = read_recording(IF2101, "IF")
    times, values = table["datetime_ns"].to_numpy(), np.ascontiguousarray(values_matrix(table), np.float64)
    core = get_factor_set("core", levels=1)
    bounds = [(int(times[0]), int(times[-1]) + 1)]
    live, wide = (FactorEngine(core, 0.2, 300, bounds) for _ in range(2))
    expected = bits(wide.batch(times, values))
    got = np.array([live.update(int(moment), values[:, i]).copy() for i, moment in enumerate(times)])
    assert len(times) == 27_955
    assert (bits(got) == expected).all()
    for block in (1, 7, 64, 1000):
        wide.reset()
        assert (bits(wide.batch(times, values, block=block)) == expected).all()
