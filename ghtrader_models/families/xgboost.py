"""Trains boosted trees by XGBoost, saved as its UBJSON.

Finds what a linear model cannot: thresholds and interactions. Shallow, slow and strongly regularised, because labels
overlap: at a horizon of 50 ticks a leaf of 300 rows rests on three independent moves (see `row_weight`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import (
    MOST_MEMORY,
    Preset,
    drop_infinite,
    library_refusal,
    require_numbers,
    row_weight,
    rows_to_learn,
)
from ghtrader_models.families.training_session import is_exhausted
from ghtrader_models.families.tree_model import TreeModel
from ghtrader_models.inference.forest import N_CLASSES
from ghtrader_models.inference.xgboost_trees import XGBOOST_FILE

if TYPE_CHECKING:
    from xgboost import DataIter

BATCH_ROWS = 262_144
"""Rows that XGBoost is given at once: 280 MB of 269 factors."""


@dataclass(frozen=True, kw_only=True)
class XGBoostConfig:
    """How the boosted model is trained.

    Parameters
    ----------
    rounds : int
        Boosting rounds, three trees each; fixed, never chosen on test rows.
    max_depth : int
        Depth of a tree.
    eta : float
        Learning rate.
    min_child_weight : float
        Least summed hessian of a leaf, in independent observations (see `row_weight`).
    reg_lambda : float
        L2 penalty on leaf values, in independent observations.
    memory : int
        Ticks over which the factors themselves say the same, for `row_weight`.
    max_bin : int
        Histogram bins a factor.
    subsample, colsample_bytree : float
        Shares of rows and factors drawn for each tree.
    stride : int
        Every how many-th training row is used; what is left out says nearly the same.
    nthread : int
        Threads of training. One keeps the sums in one order.
    """

    rounds: int = 80
    max_depth: int = 3
    eta: float = 0.05
    min_child_weight: float = 10.0
    reg_lambda: float = 5.0
    memory: int = 40
    max_bin: int = 64
    subsample: float = 0.35
    colsample_bytree: float = 0.25
    stride: int = 5
    nthread: int = 1

    def __post_init__(self) -> None:
        least = {
            "rounds": 1, "max_depth": 0, "max_bin": 2,
            "memory": 0, "min_child_weight": 0, "reg_lambda": 0, "stride": 1, "nthread": 1,
        }  # fmt: skip
        require_numbers(
            self, least=least, most={"memory": MOST_MEMORY}, above={"eta": 0}, shares=("subsample", "colsample_bytree")
        )


class XGBoostFamily:
    """The family of the registry's name ``xgboost``."""

    name = "xgboost"

    def config(self, preset: Preset = Preset.SMALL) -> XGBoostConfig:
        """Settings that were measured on the simulated world; `paper` is large: minutes a fit."""
        if preset is Preset.SMALL:
            return XGBoostConfig()
        return XGBoostConfig(rounds=300, max_depth=6, max_bin=256, stride=1)

    def fit(self, samples: Samples, *, seed: int, config: XGBoostConfig | None = None) -> TreeModel:
        """Train; see `ModelFamily.fit`. A missing factor goes the way that each split learned for missing values.

        Rows are given to XGBoost batch by batch, and it keeps a byte or two of each value. Up to `BATCH_ROWS` of them
        the model is that of the rows in one array, to the last bit; beyond, bin edges are merged from those of the
        batches, within the error that XGBoost's sketch has of one array too.
        """
        import xgboost

        from ghtrader_models.inference.predictors import TreePredictor

        config = config or self.config()
        learned = rows_to_learn(samples, config.stride)
        params: dict[str, Any] = {
            "objective": "multi:softprob",
            "num_class": N_CLASSES,
            "tree_method": "hist",
            "max_depth": config.max_depth,
            "eta": config.eta,
            "min_child_weight": config.min_child_weight,
            "reg_lambda": config.reg_lambda,
            "max_bin": config.max_bin,
            "subsample": config.subsample,
            "colsample_bytree": config.colsample_bytree,
            "seed": seed,
            "nthread": config.nthread,
            "verbosity": 0,
        }
        weight = row_weight(samples.horizon, config.memory, config.stride)
        try:
            matrix = xgboost.QuantileDMatrix(_batches(learned, weight), max_bin=config.max_bin, nthread=config.nthread)
            booster = xgboost.train(params, matrix, num_boost_round=config.rounds)
        except xgboost.core.XGBoostError as exc:
            if is_exhausted(exc):
                raise  # `memory_exhausted` says what to do
            raise library_refusal(self.name, exc) from exc
        scores = booster.get_score(importance_type="total_gain")
        gains = {int(key[1:]): float(value) for key, value in scores.items()}  # type: ignore[arg-type]  # lists are gblinear's
        total = sum(gains.values())
        shares = [gains.get(place, 0.0) / total if total > 0 else 0.0 for place in range(learned.X.shape[1])]
        data = bytes(booster.save_raw("ubj"))
        return TreeModel(self.name, XGBOOST_FILE, data, TreePredictor.of_xgboost(data), shares)


def _batches(samples: Samples, weight: float) -> DataIter:
    """The rows meant as XGBoost asks for them, some times over."""
    import xgboost

    class Batches(xgboost.DataIter):
        def __init__(self) -> None:
            super().__init__()
            self._low = 0

        def next(self, input_data: Callable[..., Any]) -> bool:
            if self._low >= len(samples):
                return False
            part = replace(samples, rows=samples.rows[self._low : self._low + BATCH_ROWS])
            self._low += len(part)
            weights = np.full(len(part), weight, np.float32)
            input_data(data=drop_infinite(part.factors), label=part.labels, weight=weights)
            return True

        def reset(self) -> None:
            self._low = 0

    return Batches()
