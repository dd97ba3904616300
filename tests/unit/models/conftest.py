"""A tiny world with known probabilities: a hidden driver skews the next move, some factors see it through noise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from ghtrader_models.datasets import Dataset, DayFacts
from ghtrader_models.factors.library import get_factor_set
from ghtrader_models.labels import LabelSpec

HORIZON = 10


def true_probabilities(driver: np.ndarray, strength: float) -> np.ndarray:
    """float64[n, 3]: softmax of -s d, 0.3, +s d."""
    z = np.stack([-strength * driver, np.full(driver.shape, 0.3), strength * driver], axis=1)
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., tuple[Dataset, np.ndarray]]:
    """`make_world(strength=1.0, days=6, rows=1500, seed=0)` -> a data set and the true probabilities of each row.

    Labels do not overlap here (each row draws its own class), which makes the world small and its truth exact.
    """

    def make(
        strength: float = 1.0, days: int = 6, rows: int = 1500, seed: int = 0, names: tuple[str, ...] = ()
    ) -> tuple[Dataset, np.ndarray]:
        rng = np.random.default_rng(seed)
        factors = get_factor_set("lean", levels=1)
        names = names or factors.names
        n = days * rows
        driver = rng.normal(size=n)
        truth = true_probabilities(driver, strength)
        y = (rng.random(n)[:, None] > truth.cumsum(axis=1)[:, :2]).sum(axis=1).astype(np.int8)
        x = rng.normal(size=(n, len(names))).astype(np.float32)
        x[:, 0] = driver
        x[:, 1] = 3 * driver + rng.normal(size=n)
        row_in_day = np.tile(np.arange(rows, dtype=np.int32), days)
        x[row_in_day < 20, 2] = np.nan
        y[row_in_day >= rows - HORIZON] = -1
        mid = 70_000 + 10 * np.cumsum(rng.integers(-1, 2, n)).astype(float)
        start = date(2025, 4, 1)
        facts = tuple(
            DayFacts(start + timedelta(d), "SHFE.cu2506", 0, 10.0, 5, rows, f"f{d}", f"l{d}") for d in range(days)
        )
        dataset = Dataset(
            symbol="KQ.m@SHFE.cu",
            horizon=HORIZON,
            facts=facts,
            names=names,
            X=x,
            y=y,
            datetime_ns=1_743_000_000_000_000_000 + np.arange(n, dtype=np.int64) * 500_000_000,
            day_index=np.repeat(np.arange(days, dtype=np.int32), rows),
            row_in_day=row_in_day,
            segment_id=np.zeros(n, np.int32),
            mid=mid,
            bid=mid - 5,
            ask=mid + 5,
            warm=row_in_day >= 20,
            factor_set_spec=factors.spec(),
            label_spec=LabelSpec((HORIZON,)).spec(),
            levels=1,
        )
        return dataset, truth

    return make


@pytest.fixture(scope="session")
def small_configs() -> dict[str, dict[str, object]]:
    """Settings for the tiny world, whose rows are independent: no row stands for another."""
    rows = {"stride": 1, "memory": 0}
    return {"logistic": {**rows, "c": 1.0}, "xgboost": {**rows, "rounds": 40, "subsample": 1.0, "eta": 0.1}}
