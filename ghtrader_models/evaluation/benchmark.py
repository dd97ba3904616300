"""Benchmarks one family over walk-forward splits, beside baselines that know nothing and a score from outside.

What belongs here: fitting and scoring split by split, and the report. How splits are cut is in `splits`, what a score
means in `metrics`, whether a model is good enough in `ghtrader_models.registry.promotion`.

Baselines: `prior` (class frequencies of the training rows), `majority` (its most frequent class; no probabilities,
hence no log-loss) and `persistence` (the training table of class given the last label whose outcome is known).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import UsageError
from ghtrader_base.files import arrays_hash, content_hash
from ghtrader_market.accounting.execution_model import FLAT_BEFORE_END_S, ExecutionModel
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar, last_session_end
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.evaluation.calibration_fit import fit_calibrated
from ghtrader_models.evaluation.metrics import (
    accuracy,
    class_prior,
    expected_calibration_error,
    f1_scores,
    log_loss,
    t_interval,
    transition_table,
)
from ghtrader_models.evaluation.policy_fit import PolicyOptions, fit_policy_on
from ghtrader_models.evaluation.policy_simulation import ends_flat
from ghtrader_models.evaluation.recorded_books import RecordedBooks
from ghtrader_models.evaluation.report_types import ScoredSplit, SimulatedTrading
from ghtrader_models.evaluation.simulated_days import SimulatedDays
from ghtrader_models.evaluation.splits import Split, SplitOptions, SplitPlan, make_splits
from ghtrader_models.families.base import FamilyConfig, get_family
from ghtrader_models.families.training_session import fits_that_are_only_scored
from ghtrader_models.model_scores import GainInterval, MeanScore, ModelScores
from ghtrader_models.policy import PolicyParams

_AFTER_END_NS = 1_000_000_000
"""A snapshot stamped a moment after the last session belongs to it."""
PROBABILITIES = ("p_down", "p_flat", "p_up")
PRIORS = ("prior_down", "prior_flat", "prior_up")
BASELINES = ("prior", "majority", "persistence")
_SCORES = ("logloss", "macro_f1", "weighted_f1", "accuracy", "ece")
PREDICTION_SCHEMA = pa.schema(
    [
        ("split", pa.int32()),
        ("day", pa.date32()),
        ("datetime_ns", pa.int64()),
        ("row", pa.int64()),
        ("y", pa.int8()),
        *((name, pa.float64()) for name in (*PROBABILITIES, *PRIORS)),
    ]
)


@dataclass(kw_only=True)
class BenchmarkReport:
    """What a family achieved on a data set.

    Attributes
    ----------
    family, symbol, horizon, seed, config, policy
        What was run.
    splits : list of ScoredSplit
        One a test.
    splits_hash : str
        Of the rows learned from and tested (`SplitPlan.splits_hash`).
    split_options : SplitOptions
        How they were chosen.
    model : ModelScores
        Scores of the family.
    baselines : dict of str to ModelScores
        Scores of prior, majority and persistence.
    simulation : SimulatedTrading or None
        Totals and per stretch of the policy's PnL; None where it was not simulated.
    importance : dict of str to float
        Share of each factor, mean over splits.
    predictions : pa.Table
        `PREDICTION_SCHEMA`: every scored test row.
    pnl : tuple of int64[n], float64[n]
        Times and net PnL (CNY, added up over the tests) of the simulation; empty where there is none.
    seconds : float
        Wall time; outside the hash.
    uncalibrated : ModelScores or None
        What the family's scores would be without calibration.
    """

    family: str
    symbol: str
    horizon: int
    seed: int
    config: FamilyConfig
    splits: list[ScoredSplit]
    splits_hash: str
    split_options: SplitOptions
    model: ModelScores
    baselines: dict[str, ModelScores]
    simulation: SimulatedTrading | None
    importance: dict[str, float]
    predictions: pa.Table
    pnl: tuple[np.ndarray, np.ndarray]
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    seconds: float = 0.0
    uncalibrated: ModelScores | None = None

    @property
    def metrics_hash(self) -> str:
        """Hash of every number that does not depend on the clock."""
        document = self.to_dict(with_hash=False)
        document.pop("seconds")
        for row in document["splits"]:
            row.pop("fit_seconds")
        return content_hash(document)

    @property
    def tests_hash(self) -> str:
        """Hash of the test rows and their labels: two reports with the same one were asked the same questions."""
        columns = (self.predictions.column(name).to_numpy() for name in ("split", "datetime_ns", "y"))
        return arrays_hash(*columns)

    def to_dict(self, *, with_hash: bool = True) -> dict[str, Any]:
        """JSON-able form, without predictions and PnL curve; of the policy what differs from the defaults."""
        document = {
            "family": self.family,
            "symbol": self.symbol,
            "horizon": self.horizon,
            "seed": self.seed,
            "config": asdict(self.config),
            "policy": self.policy.to_dict(),
            "splits": [asdict(split) for split in self.splits],
            "splits_hash": self.splits_hash,
            "split_options": self.split_options.to_dict(),
            "model": self.model.to_dict(),
            "uncalibrated": self.uncalibrated.to_dict() if self.uncalibrated is not None else None,
            "baselines": {name: found.to_dict() for name, found in self.baselines.items()},
            "simulation": self.simulation.to_dict() if self.simulation is not None else None,
            "importance": self.importance,
            "tests_hash": self.tests_hash,
            "seconds": self.seconds,
        }
        return {**document, "metrics_hash": self.metrics_hash} if with_hash else document


class SplitScores:
    """Scores a model split by split; what was scored is not kept."""

    def __init__(self) -> None:
        self._per: dict[str, list[float]] = {name: [] for name in (*_SCORES, "logloss_gain")}

    def add(self, p: np.ndarray, y: np.ndarray, prior: np.ndarray | None) -> None:
        """Take the next split; its part of the arguments of `score`. `p` and `prior` may repeat one row (broadcast)."""
        per, named = self._per, p.argmax(axis=1)
        macro, weighted = f1_scores(named, y)
        per["macro_f1"].append(macro)
        per["weighted_f1"].append(weighted)
        per["accuracy"].append(accuracy(named, y))
        if prior is not None:
            per["logloss"].append(log_loss(p, y))
            per["ece"].append(expected_calibration_error(p, y))
            per["logloss_gain"].append(log_loss(prior, y) - per["logloss"][-1])

    def scores(self) -> ModelScores:
        """Of all splits together."""
        gains = self._per["logloss_gain"]
        means = {name: _mean_score(self._per[name]) for name in _SCORES}
        return ModelScores(logloss_gain=_gain(gains) if gains else None, **means)


@dataclass(kw_only=True)
class _Collected:
    """What the loop over splits gathers: of each scored row its probabilities, and nothing that can be had again."""

    splits: list[ScoredSplit] = field(default_factory=list)
    prior: list[np.ndarray] = field(default_factory=list)
    model: list[np.ndarray] = field(default_factory=list)
    scores: dict[str, SplitScores] = field(
        default_factory=lambda: {name: SplitScores() for name in ("model", "uncalibrated", *BASELINES)}
    )
    importance: list[dict[str, float]] = field(default_factory=list)

    def score(self, p: np.ndarray, persistence: np.ndarray, prior: np.ndarray, y: np.ndarray) -> None:
        """Score a split: float64[k, 3] of the model and of persistence, the prior float64[3], labels int8[k]."""
        known = np.broadcast_to(prior, p.shape)
        self.scores["model"].add(p, y, known)
        self.scores["prior"].add(known, y, known)
        self.scores["majority"].add(np.broadcast_to(np.eye(3)[prior.argmax()], p.shape), y, None)
        self.scores["persistence"].add(persistence, y, known)
        self.prior.append(prior)
        self.model.append(p)


def run_benchmark(
    dataset: Dataset,
    family_name: str,
    *,
    plan: SplitPlan | None = None,
    config: FamilyConfig | None = None,
    seed: int = 0,
    horizon: int | None = None,
    simulate: bool = True,
    policy: PolicyOptions | None = None,
    execution: ExecutionModel | None = None,
    books: RecordedBooks | None = None,
    calendar: TradingCalendar | None = None,
) -> BenchmarkReport:
    """Fit and score one family split by split.

    Parameters
    ----------
    dataset : Dataset
        Rows of one series at one horizon.
    family_name : str
        A name of `families.table.FAMILIES`.
    plan : SplitPlan, optional
        `make_splits(dataset)` where absent.
    config : FamilyConfig, optional
        The family's own; its default where absent (`families.base.make_config`).
    seed : int
        Of whatever the family draws.
    horizon : int, optional
        Must be the data set's where given.
    simulate : bool
        Also run the policy over each test.
    policy : PolicyOptions, optional
        How probabilities become positions; the defaults where absent.
    execution : ExecutionModel, optional
        When orders meet the market; the default where absent.
    books : RecordedBooks, optional
        Where the five levels of a day are; where absent whatever is wanted is there at the best quote.
    calendar : TradingCalendar, optional
        Whose sessions and last days of contracts the simulation goes by; the packaged one where absent.

    Raises
    ------
    UsageError
        Unknown family, wrong horizon, too little data.
    """
    if horizon is not None and horizon != dataset.horizon:
        raise UsageError(f"horizon {horizon} for a data set of horizon {dataset.horizon}", "load it at that horizon")
    started = time.perf_counter()
    family = get_family(family_name)
    settings = config or family.config()
    plan = plan or make_splits(dataset)
    options = policy or PolicyOptions()
    last = dataset.last_realised()
    traded = SimulatedDays(model=execution or ExecutionModel(), calendar=calendar or bundled_calendar())
    found = _Collected()
    for split in plan.splits:
        train, test = split.train, split.test
        y_train = dataset.y[train]
        prior = class_prior(y_train)
        fit_started = time.perf_counter()
        with fits_that_are_only_scored():
            fitted = fit_calibrated(family, dataset.samples(train), seed=seed, config=settings)
        fit_seconds = time.perf_counter() - fit_started
        uncalibrated = np.full((split.stop - split.start, 3), np.nan)
        asked = np.flatnonzero(dataset.warm[split.start : split.stop])
        uncalibrated[asked] = fitted.model.predict_proba(dataset.samples(asked + split.start))
        stretch = fitted.calibrated(uncalibrated)
        transitions = transition_table(last[train], y_train)
        persistence = transitions[np.where(last[test] < 0, 3, last[test])]
        found.score(stretch[test - split.start], persistence, prior, dataset.y[test])
        found.scores["uncalibrated"].add(
            uncalibrated[test - split.start], dataset.y[test], np.broadcast_to(prior, (test.size, 3))
        )
        found.importance.append(fitted.model.importance(dataset.names))
        if simulate:
            learned = train[:: settings.stride]
            params = fit_policy_on(dataset, learned, fitted.predict_proba(dataset.samples(learned)), options)
            _simulate(dataset, split, stretch, params, traded, books)
        found.splits.append(
            ScoredSplit(
                split=split.index,
                name=split.name,
                train_rows=int(train.size),
                test_rows=int(test.size),
                prior=prior.tolist(),
                fit_seconds=fit_seconds,
                calibration=fitted.calibration,
            )
        )
    return _report(dataset, family_name, settings, options, seed, plan, found, traded, started)


def score(
    probabilities: Sequence[np.ndarray], y: Sequence[np.ndarray], prior: Sequence[np.ndarray] | None
) -> ModelScores:
    """Scores per split, their mean and deviation, and the log-loss gain over the prior with its 95 % interval.

    Parameters
    ----------
    probabilities : sequence of float64[k, 3]
        One array a split.
    y : sequence of int8[k]
        True classes.
    prior : sequence of float64[k, 3] or None
        The training prior, repeated for each row; None where the probabilities are no probabilities: then there is
        neither log-loss nor gain nor ECE.

    Returns
    -------
    ModelScores
        None where a score does not apply.
    """
    found = SplitScores()
    for index, (p, true) in enumerate(zip(probabilities, y, strict=True)):
        found.add(p, true, None if prior is None else prior[index])
    return found.scores()


def score_external(predictions: pa.Table, probabilities: np.ndarray) -> ModelScores:
    """Score somebody else's probabilities (the exchange's oracle) on the rows of a benchmark.

    Parameters
    ----------
    predictions : pa.Table
        Of a `BenchmarkReport`.
    probabilities : float64[n, 3]
        Aligned to its rows: DOWN, FLAT, UP.

    Returns
    -------
    ModelScores
        As `score`.
    """
    if probabilities.shape != (predictions.num_rows, 3):
        raise UsageError(f"{probabilities.shape} probabilities for {predictions.num_rows} rows", "align them by row")
    if not np.isfinite(probabilities).all():
        raise UsageError("external probabilities hold NaN", "give one for every row of the predictions")
    split = predictions.column("split").to_numpy()
    y = predictions.column("y").to_numpy()
    prior = np.column_stack([predictions.column(name).to_numpy() for name in PRIORS])
    parts = [np.flatnonzero(split == index) for index in np.unique(split)]
    return score([probabilities[rows] for rows in parts], [y[rows] for rows in parts], [prior[rows] for rows in parts])


def predicted_probabilities(predictions: pa.Table) -> np.ndarray:
    """float64[n, 3] of a benchmark's predictions."""
    return np.column_stack([predictions.column(name).to_numpy() for name in PROBABILITIES])


def shuffled_labels(dataset: Dataset, seed: int) -> Dataset:
    """The same rows with the usable labels of each day in random order: nothing is left to learn but the prior."""
    rng = np.random.default_rng(seed)
    y = dataset.y.copy()
    usable = dataset.usable
    edges = np.searchsorted(dataset.day_index, np.arange(len(dataset.days) + 1)).tolist()
    for first, stop in zip(edges[:-1], edges[1:], strict=True):
        rows = np.flatnonzero(usable[first:stop]) + first
        y[rows] = y[rng.permutation(rows)]
    return dataset.with_labels(y)


def _mean_score(values: Sequence[float]) -> MeanScore | None:
    if not values:
        return None
    return MeanScore(mean=float(np.mean(values)), std=float(np.std(values)), per_split=list(values))


def _gain(values: list[float]) -> GainInterval:
    interval = t_interval(values)
    low, high = (float(x) if np.isfinite(x) else None for x in (interval.low, interval.high))
    return GainInterval(mean=interval.mean, low=low, high=high, n=interval.n, per_split=values)


def _simulate(
    dataset: Dataset, split: Split, stretch: np.ndarray, policy: PolicyParams, found: SimulatedDays,
    books: RecordedBooks | None,
) -> None:  # fmt: skip
    """Run the policy over each day of a test; what could not be closed is held into the next one."""
    days = dataset.day_index[split.start : split.stop]
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        part = slice(split.start + int(rows[0]), split.start + int(rows[-1]) + 1)
        fact = dataset.facts[day]
        to_its_end = part.stop == len(dataset) or dataset.day_index[part.stop] != day
        shown = None
        if books is not None:
            first, stop = np.searchsorted(dataset.day_index, [day, day + 1]).tolist()
            rows_of_day = slice(first, stop)
            one_lot = policy.max_lots == 1 and found.model.latency_ns > 0  # no second order then meets the same book
            whole = books.of_day(
                fact.day, dataset.datetime_ns[rows_of_day], dataset.bid[rows_of_day], dataset.ask[rows_of_day], one_lot
            )
            shown = whole.rows(slice(part.start - first, part.stop - first))
        found.play(
            stretch[rows],
            dataset.datetime_ns[part],
            dataset.bid[part],
            dataset.ask[part],
            policy,
            fact.contract,
            fact.day,
            _wants_flat(dataset.datetime_ns[part], fact, to_its_end),
            shown,
        )


def _wants_flat(datetime_ns: np.ndarray, fact: DayFacts, to_its_end: bool) -> np.ndarray:
    """bool[n]: rows of a stretch after which no position is wanted: those of the day's last minute, as a strategy has
    it; the last two of a stretch that has none of them."""
    end_ns = last_session_end(variety_of(fact.contract), fact.day)
    from_ns = end_ns - int(FLAT_BEFORE_END_S * 1e9)
    flat: np.ndarray = (datetime_ns >= from_ns) & (datetime_ns < end_ns + _AFTER_END_NS)
    return flat if to_its_end and flat.any() else ends_flat(datetime_ns.size)


def _report(
    dataset: Dataset,
    family: str,
    config: FamilyConfig,
    policy: PolicyOptions,
    seed: int,
    plan: SplitPlan,
    found: _Collected,
    traded: SimulatedDays,
    started: float,
) -> BenchmarkReport:
    tests = [split.test for split in plan.splits]
    sizes = [test.size for test in tests]
    rows = np.concatenate(tests)
    days = np.array(dataset.days, "datetime64[D]")
    columns = [
        np.repeat(np.arange(len(tests), dtype=np.int32), sizes),
        pa.array(days[dataset.day_index[rows]], pa.date32()),
        dataset.datetime_ns[rows],
        rows,
        dataset.y[rows],
        *(np.concatenate([p[:, k] for p in found.model]) for k in range(3)),
        *(np.repeat([prior[k] for prior in found.prior], sizes) for k in range(3)),
    ]
    names = dataset.names
    return BenchmarkReport(
        family=family,
        symbol=dataset.symbol,
        horizon=dataset.horizon,
        seed=seed,
        config=config,
        policy=policy,
        splits=found.splits,
        splits_hash=plan.splits_hash,
        split_options=plan.options,
        model=found.scores["model"].scores(),
        uncalibrated=found.scores["uncalibrated"].scores(),
        baselines={name: found.scores[name].scores() for name in BASELINES},
        simulation=traded.trading(),
        importance={name: float(np.mean([row[name] for row in found.importance])) for name in names},
        predictions=pa.table(columns, schema=PREDICTION_SCHEMA),
        pnl=traded.equity(),
        seconds=time.perf_counter() - started,
    )
