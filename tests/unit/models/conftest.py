"""Ticks of a moving book, and a tiny world with known probabilities whose driver some factors see through noise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.families.base import FamilyConfig
from ghtrader_models.families.lightgbm import LightGBMConfig
from ghtrader_models.families.logistic import LogisticConfig
from ghtrader_models.families.xgboost import XGBoostConfig
from ghtrader_models.labels.labels import LabelSpec

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
            DayFacts(
                day=start + timedelta(d),
                contract="SHFE.cu2506",
                segment_id=0,
                price_tick=10.0,
                multiplier=5,
                rows=rows,
                features_hash=f"f{d}",
                labels_hash=f"l{d}",
            )
            for d in range(days)
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
            label_spec=LabelSpec((HORIZON,)),
            levels=1,
        )
        return dataset, truth

    return make


@pytest.fixture(scope="session")
def small_configs() -> dict[str, FamilyConfig]:
    """Settings for the tiny world, whose rows are independent: no row stands for another."""
    return {
        "logistic": LogisticConfig(stride=1, memory=0, c=1.0),
        "xgboost": XGBoostConfig(stride=1, memory=0, rounds=40, subsample=1.0, eta=0.1),
        "lightgbm": LightGBMConfig(
            stride=1, memory=0, rounds=40, subsample=1.0, colsample_bytree=1.0, learning_rate=0.1
        ),
    }


PRICE_TICK, MULTIPLIER = 10.0, 5.0


def random_ticks(n: int, seed: int = 0, gaps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Times int64[n] and values float64[27, n] of a book that moves; `gaps` is the share of absent levels."""
    rng = np.random.default_rng(seed)
    values = np.full((len(VALUE_COLUMNS), n), np.nan)
    bid = 7000 + np.cumsum(rng.integers(-1, 2, n) * (rng.random(n) < 0.3))
    spread = rng.choice([1, 1, 1, 2, 3], n)
    lots = rng.integers(0, 30, n) * (rng.random(n) < 0.6)
    paid = (bid + rng.random(n) * spread) * PRICE_TICK
    values[COLUMN_INDEX["last_price"]] = np.rint(paid / PRICE_TICK) * PRICE_TICK
    values[COLUMN_INDEX["volume"]] = 1000 + np.cumsum(lots)
    values[COLUMN_INDEX["amount"]] = 1e8 + np.cumsum(lots * MULTIPLIER * paid)
    values[COLUMN_INDEX["open_interest"]] = 90_000 + np.cumsum(rng.integers(-3, 4, n))
    for level in range(1, 6):
        for side, price in (("bid", bid - level + 1), ("ask", bid + spread + level - 1)):
            absent = rng.random(n) < gaps
            values[COLUMN_INDEX[f"{side}_price{level}"]] = np.where(absent, np.nan, price * PRICE_TICK)
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = np.where(absent, 0, rng.integers(1, 60, n))
    times = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(1, 4, n)) * 500_000_000
    return times, values


@pytest.fixture(scope="session")
def make_ticks() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """The function `random_ticks`."""
    return random_ticks
