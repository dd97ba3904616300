"""Trains boosted trees by LightGBM, saved as its text.

Grows a tree at the leaf that gains most, where XGBoost here grows level by level: another way to the same thresholds
and interactions, and a check on it. Regularised alike, because labels overlap (see `row_weight`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import FailedError
from ghtrader_models.datasets.mapped_rows import BLOCK_ROWS
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
from ghtrader_models.inference.lightgbm_text import LIGHTGBM_FILE

if TYPE_CHECKING:
    from lightgbm import Sequence


@dataclass(frozen=True, kw_only=True)
class LightGBMConfig:
    """How the boosted model is trained.

    Parameters
    ----------
    rounds : int
        Boosting rounds, three trees each; fixed, never chosen on test rows.
    num_leaves : int
        Most leaves of a tree.
    max_depth : int
        Most depth of a tree.
    learning_rate : float
        Share of each tree that counts.
    min_child_weight : float
        Least summed hessian of a leaf, in independent observations (see `row_weight`).
    min_rows : int
        Least training rows of a leaf.
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
    num_leaves: int = 7
    max_depth: int = 4
    learning_rate: float = 0.05
    min_child_weight: float = 10.0
    min_rows: int = 20
    reg_lambda: float = 5.0
    memory: int = 40
    max_bin: int = 63
    subsample: float = 0.35
    colsample_bytree: float = 0.25
    stride: int = 5
    nthread: int = 1

    def __post_init__(self) -> None:
        least = {
            "rounds": 1, "num_leaves": 2, "max_depth": -1, "min_rows": 0, "max_bin": 2,
            "memory": 0, "min_child_weight": 0, "reg_lambda": 0, "stride": 1, "nthread": 1,
        }  # fmt: skip
        require_numbers(
            self,
            least=least,
            most={"memory": MOST_MEMORY},
            above={"learning_rate": 0},
            shares=("subsample", "colsample_bytree"),
        )


class LightGBMFamily:
    """The family of the registry's name ``lightgbm``."""

    name = "lightgbm"

    def config(self, preset: Preset = Preset.SMALL) -> LightGBMConfig:
        """As large as the small XGBoost; `paper` is LightGBM's own size of tree, with more rounds."""
        if preset is Preset.SMALL:
            return LightGBMConfig()
        return LightGBMConfig(rounds=300, num_leaves=31, max_depth=-1, max_bin=255, stride=1)

    def fit(self, samples: Samples, *, seed: int, config: LightGBMConfig | None = None) -> TreeModel:
        """Train; see `ModelFamily.fit`. A missing factor goes the way that each split learned for missing values.

        Rows are given to LightGBM block by block, and it keeps a byte of each value: the model is that of the rows in
        one array, to the last bit.

        Raises
        ------
        FailedError
            LightGBM's library does not load.
        """
        try:
            import lightgbm
        except OSError as exc:  # unlike XGBoost it brings no OpenMP of its own
            remedy = "install OpenMP (Debian: apt-get install libgomp1)"
            raise FailedError(f"LightGBM does not load: {exc}", remedy) from exc

        from ghtrader_models.inference.predictors import TreePredictor

        config = config or self.config()
        learned = rows_to_learn(samples, config.stride)
        labels = learned.labels
        params: dict[str, Any] = {
            "objective": "multiclass",
            "num_class": N_CLASSES,
            "num_leaves": config.num_leaves,
            "max_depth": config.max_depth,
            "learning_rate": config.learning_rate,
            "min_sum_hessian_in_leaf": config.min_child_weight,
            "min_data_in_leaf": config.min_rows,
            "lambda_l2": config.reg_lambda,
            "max_bin": config.max_bin,
            "bagging_fraction": config.subsample,
            "bagging_freq": 1,
            "feature_fraction": config.colsample_bytree,
            "seed": seed,
            "num_threads": config.nthread,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }
        weight = np.full(labels.shape, row_weight(samples.horizon, config.memory, config.stride), np.float32)
        matrix = lightgbm.Dataset(_rows(learned), label=labels.astype(np.float32), weight=weight, params=params)
        try:
            booster = lightgbm.train(params, matrix, num_boost_round=config.rounds)
        except lightgbm.basic.LightGBMError as exc:
            if is_exhausted(exc):
                raise  # `memory_exhausted` says what to do
            raise library_refusal(self.name, exc) from exc
        gains = np.asarray(booster.feature_importance("gain"), np.float64)
        total = gains.sum()
        shares = (gains / total if total > 0 else gains).tolist()
        data = booster.model_to_string(num_iteration=-1).encode("ascii")
        return TreeModel(self.name, LIGHTGBM_FILE, data, TreePredictor.of_lightgbm(data), shares)


def _rows(samples: Samples) -> Sequence:
    """The rows meant as LightGBM asks for them: single ones to cut bins by, then all in blocks."""
    import lightgbm

    class Rows(lightgbm.Sequence):
        batch_size = BLOCK_ROWS

        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, index: int | slice | list[int]) -> np.ndarray:
            if isinstance(index, int | np.integer):
                return np.asarray(self[[int(index)]][0], np.float64)  # bins are cut among doubles
            return drop_infinite(samples.X[samples.rows[index]])

    return Rows()
