"""Scores one configuration split by split, so that a search may stop early.

What belongs here: one configuration, without a study. Splits and scores are those of `evaluation.benchmark`.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghtrader_models.datasets.load import Dataset
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.evaluation.model_cost import RowLatency
from ghtrader_models.evaluation.splits import SplitPlan
from ghtrader_models.families.base import FamilyConfig, Model, get_family
from ghtrader_models.inference.predictors import Predictor


@dataclass(frozen=True, kw_only=True)
class ScoredConfiguration:
    """What a configuration came to.

    Attributes
    ----------
    gains : tuple of float
        Log-loss gain over the prior of each split scored, nats.
    whole : bool
        Whether every split was scored.
    row_time : RowLatency or None
        None where it was not measured.
    """

    gains: tuple[float, ...]
    whole: bool
    row_time: RowLatency | None

    @property
    def mean(self) -> float:
        """Mean gain, nats."""
        return float(np.mean(self.gains))

    @property
    def deviation(self) -> float:
        """Standard deviation of the gain over splits, nats."""
        return float(np.std(self.gains, ddof=1)) if len(self.gains) > 1 else 0.0

    def objective(self, caution: float) -> float:
        """Mean gain less `caution` standard errors of it: of two equal means the steadier one is better."""
        return self.mean - caution * self.deviation / math.sqrt(len(self.gains))


def score_configuration(
    dataset: Dataset,
    plan: SplitPlan,
    family: str,
    config: FamilyConfig,
    *,
    seed: int,
    measure: Callable[[Predictor, np.ndarray], RowLatency] | None,
    go_on: Callable[[int, float], bool] = lambda _split, _gain: True,
    fast_enough: Callable[[RowLatency], bool] = lambda _: True,
) -> ScoredConfiguration:
    """Fit and score one configuration.

    Parameters
    ----------
    dataset : Dataset
    plan : SplitPlan
        Its splits.
    family : str
    config : FamilyConfig
    seed : int
    measure : callable or None
        `model_cost.row_latency`; None to measure nothing, which saves a fit on the first split's rows.
    go_on : callable
        Told of each split's gain; False ends the scoring.
    fast_enough : callable
        Told of the row time before the first split is scored; False ends the scoring after it.

    Raises
    ------
    UsageError
        Too little data, or a configuration that cannot be trained.
    FailedError
        A training failed.
    """
    timed = None
    if measure is not None:
        rows = plan.splits[0].train
        model = get_family(family).fit(dataset.samples(rows), seed=seed, config=config)
        timed = measure(predictor_of(model), dataset.X[plan.splits[0].test])
    fast = timed is None or fast_enough(timed)
    gains: list[float] = []
    for split in plan.splits:
        one = dataclasses.replace(plan, splits=(split,))
        report = run_benchmark(dataset, family, plan=one, config=config, seed=seed, simulate=False)
        gains += report.model.gain.per_split
        if not (go_on(split.index, gains[-1]) and fast):
            break
    return ScoredConfiguration(gains=tuple(gains), whole=len(gains) == len(plan.splits), row_time=timed)


def predictor_of(model: Model) -> Predictor:
    """The route that would trade a trained model."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return Predictor.from_files(model.kind, files)
