"""Compares what the library `core` and the project's own trees recover of worlds whose truth is known, and of nothing.

The best possible log-loss gain over the training prior is the oracle's. Test days come after their training days
(walk-forward, purged), nine of them; figures are printed (`-s` shows them).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from ghtrader_exchange.world.oracle import Oracle
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import ContractDay, History
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.evaluation.benchmark import run_benchmark, score_external
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.library.sets import find_factor, get_factor_set
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.inference.predictors import WarmTracker
from ghtrader_models.labels.labels import LabelSpec, event_labels
from ghtrader_models.research.scores import FactorDay, FactorScores, information_coefficients

HORIZON = 50
TEST_DAYS = 9
SMALL_S = 10.0
"""Seconds between the snapshots of a small world."""


@dataclass(frozen=True)
class Recovered:
    """A model's gain in log-loss against the prior, nats: mean and low end of its interval, beside the oracle's."""

    model: float
    low: float
    oracle: float
    share: float


@dataclass(frozen=True)
class Played:
    """A scenario's main series of a variety as rows of a factor set, and the chances its oracle gives each row."""

    scenario: Scenario
    factors: str = "core"
    key: str = "cu"

    def _played_days(self) -> Iterator[tuple[DayFacts, ContractDay, np.ndarray, FactorEngine]]:
        history = History(self.scenario)
        factor_set = get_factor_set(self.factors)
        engine = None
        variety = get_variety(self.key)
        for day, symbol in history.continuous(self.key):
            ticks = history.day(symbol, day)
            values = np.array([ticks.values[name] for name in VALUE_COLUMNS], np.float64)
            bounds = history.calendar.sessions(self.key, day)
            tick = variety.price_tick(symbol, day)
            engine = engine or FactorEngine(factor_set, tick, variety.multiplier, bounds)
            engine.reset(bounds)
            yield (
                DayFacts(
                    day=day,
                    contract=symbol,
                    segment_id=0,
                    price_tick=tick,
                    multiplier=variety.multiplier,
                    rows=values.shape[1],
                    features_hash="",
                    labels_hash="",
                ),
                ticks,
                values,
                engine,
            )

    @cached_property
    def dataset(self) -> Dataset:
        facts, parts = [], []
        names = get_factor_set(self.factors).names
        for fact, ticks, values, engine in self._played_days():
            rows = engine.batch(ticks.datetime_ns, values).copy()
            bid, ask = (values[VALUE_COLUMNS.index(f"{side}_price1")].copy() for side in ("bid", "ask"))
            mid = (bid + ask) / 2.0
            labels = event_labels(mid, HORIZON, 1, price_tick=fact.price_tick)
            warm = WarmTracker(len(names)).batch(rows)
            facts.append(fact)
            parts.append((rows, labels, ticks.datetime_ns, np.arange(mid.size, dtype=np.int32), mid, bid, ask, warm))
        x, y, times, row_in_day, mid, bid, ask, warm = map(np.concatenate, zip(*parts, strict=True))
        sizes = [fact.rows for fact in facts]
        return Dataset(
            symbol=get_variety(self.key).continuous_symbol,
            horizon=HORIZON,
            facts=tuple(facts),
            names=names,
            X=x,
            y=y,
            datetime_ns=times,
            day_index=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
            row_in_day=row_in_day,
            segment_id=np.zeros(y.size, np.int32),
            mid=mid,
            bid=bid,
            ask=ask,
            warm=warm,
            factor_set_spec=get_factor_set(self.factors).spec(),
            label_spec=LabelSpec((HORIZON,)),
            levels=5,
        )

    def chances(self, folder: Path, rows: np.ndarray) -> np.ndarray:
        """float64[k, 3]: the oracle's probabilities at some rows of the data set; `folder` takes the world's truth."""
        data = self.dataset
        History(self.scenario).write_truth(folder)
        oracle = Oracle(folder)
        found = np.empty((rows.size, 3))
        for day in np.unique(data.day_index[rows]):
            own = data.day_index[rows] == day
            found[own] = oracle.probabilities(self.key, data.facts[day].day, data.datetime_ns[rows[own]], HORIZON)
        return found

    def recovered(self, folder: Path, **config: float) -> Recovered:
        """Log-loss gains over the training prior of XGBoost and of the oracle, means over the test days."""
        report = run_benchmark(
            self.dataset, "xgboost", config=make_config(get_family("xgboost"), config), simulate=False
        )
        chances = self.chances(folder, report.predictions.column("row").to_numpy())
        best = score_external(report.predictions, chances).gain
        found = report.model.gain
        assert found.n == best.n == TEST_DAYS
        return Recovered(found.mean, found.low, best.mean, found.mean / best.mean)

    def scores(self, shuffles: int = 1000) -> FactorScores:
        """Rank ICs of all factors against the move of the mid, and against day-shuffled targets."""
        data = self.dataset
        known = np.where(data.warm[:, None], data.X, np.nan)
        parts = [(fact.day.isoformat(), data.rows_of_day(fact.day)) for fact in data.facts]
        days = [FactorDay(name, data.mid[rows], known[rows]) for name, rows in parts]
        return information_coefficients(days, data.names, (HORIZON,), decay_horizons=(), shuffles=shuffles)


@pytest.fixture(autouse=True)
def _clock():
    started = time.perf_counter()
    yield
    print(f"{time.perf_counter() - started:.0f} s")


@pytest.fixture(scope="module")
def driver() -> Played:
    return Played(Scenario(world="driver", strength=2.0, snapshot_seconds=1.0, seed=1))


@pytest.mark.sample(1, of="small worlds")
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("world", ["driver", "sequence"])
def test_a_small_world_gives_up_a_third_of_its_signal(world: str, seed: int, tmp_path: Path) -> None:
    """A third of the demo's snapshots a day: less to learn from, so less is asked."""
    found = Played(Scenario(world=world, strength=2.0, snapshot_seconds=SMALL_S, seed=seed)).recovered(tmp_path)
    print(f"\n{world}, seed {seed}: {found}")
    assert found.low > 0 and found.share >= 1 / 3


@pytest.mark.sample(1, of="small worlds")
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_small_world_without_a_signal_gives_none(seed: int, tmp_path: Path) -> None:
    found = Played(Scenario(world="none", snapshot_seconds=SMALL_S, seed=seed)).recovered(tmp_path)
    print(f"\nnone, seed {seed}: {found}")
    assert found.low <= 0


def test_in_driver_trees_on_core_recover_seventy_percent_of_the_oracles_gain(driver: Played, tmp_path: Path) -> None:
    # Three times as many snapshots a day as the demo's, every fifteenth of them to learn from: the same cost.
    found = driver.recovered(tmp_path, stride=15)
    print(f"\ndriver: {found}")
    assert found.low > 0
    assert found.share >= 0.70


def test_in_driver_the_factors_that_carry_its_marks_rank_first(driver: Played) -> None:
    """Marks: the side of limit orders (depth, refills), the side of market orders, the depth of fresh queues."""
    scores = driver.scores()
    order = scores.ranked(HORIZON)
    top = [scores.names[i] for i in order[:10]]
    print("\ndriver, strongest:", {scores.names[i]: round(float(scores.ic[i, 0]), 3) for i in order[:10]})
    groups = [find_factor(name).group for name in top]
    assert set(groups) <= {"touch", "book", "order flow", "refill", "trades"}, "nothing of the price's own path"
    assert groups[0] == "refill" and groups.count("refill") >= 5, "arriving limit orders are the clearest mark"
    assert (scores.p_adjusted[order[:10], 0] < 0.05).all() and (scores.ic[order[:10], 0] > 0.1).all()


def test_in_sequence_trees_on_core_recover_eighty_five_percent_of_the_oracles_gain(tmp_path: Path) -> None:
    played = Played(Scenario(world="sequence", strength=2.0, seed=1))
    found = played.recovered(tmp_path)
    print(f"\nsequence: {found}")
    assert found.low > 0
    assert found.share >= 0.85


def test_in_none_no_factor_shows_more_than_chance() -> None:
    scores = Played(Scenario(world="none", seed=1)).scores()
    best = int(np.nanargmin(scores.p_adjusted[:, 0]))
    assert scores.method == "day-shuffled" and len(scores.names) >= 256 and len(scores.days) >= 12
    print(
        f"\nnone: {len(scores.names)} factors, {len(scores.days)} days; nearest to something: {scores.names[best]}, "
        f"IC {scores.ic[best, 0]:+.3f}, p {scores.p_value[best, 0]:.3f}, adjusted {scores.p_adjusted[best, 0]:.2f}"
    )
    assert np.isfinite(scores.p_adjusted).all()
    assert scores.p_adjusted.min() > 0.05
