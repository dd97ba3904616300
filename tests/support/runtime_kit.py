"""Provides what tests of the runtime need from outside it: a tiny bundle with known weights, a synthetic recorded day.

No stand-in for any part of the runtime: the bundle is a real one, the day a real day of a real lake.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from ghtrader_base.settings import Settings
from ghtrader_market.reference.tick_origin import TickOrigin
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, MAIN_L5_SCHEMA, VALUE_COLUMNS, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import write_bundle
from ghtrader_models.bundles.provenance import BundleContent, DayFacts
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.inference.predictors import LOGISTIC_FILE
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.policy import PolicyParams

TINY = {"imbalance_1": "Imbalance(1)", "spread": "Spread()", "imbalance_1_mean_5": "Mean(Imbalance(1), 5)"}


@dataclass
class TinyModel:
    """A logistic model that follows the queue imbalance: more lots bid than asked, and it says up."""

    weight: float = 2.0
    kind: str = "logistic"
    n_features: int = len(TINY)

    def save(self, directory: Path) -> None:
        """Write the file a bundle wants."""
        row = [self.weight] + [0.0] * (self.n_features - 1)
        spec = {
            "mean": [0.0] * self.n_features, "scale": [1.0] * self.n_features, "clip": 10.0,
            "coef": [[-w for w in row], [0.0] * self.n_features, row], "intercept": [0.0, 0.0, 0.0],
        }  # fmt: skip
        (directory / LOGISTIC_FILE).write_text(json.dumps(spec))


def tiny_factor_set() -> FactorSet:
    """Three factors, one of them slow to warm."""
    return FactorSet("tiny", {name: parse(text) for name, text in TINY.items()})


def write_tiny_bundle(
    models_dir: Path, symbol: str = "KQ.m@SHFE.cu", enter: float = 0.4, leave: float = 0.05, price_tick: float = 10.0,
    lots: int = 1, days: Sequence[date] = (), origin: TickOrigin | None = None,
) -> Path:  # fmt: skip
    """A bundle that trades often; `days` are those it says it was trained on, `origin` where their ticks come from."""
    factor_set = tiny_factor_set()
    facts = tuple(
        DayFacts(day=day, contract="SHFE.cu2502", segment_id=0, price_tick=price_tick, multiplier=5, rows=1,
                 features_hash="", labels_hash="", origin=origin) for day in days
    )  # fmt: skip
    content = BundleContent(
        symbol=symbol, horizon=50, price_tick=price_tick, levels=5, days=facts, seed=0, config={}
    )
    return write_bundle(
        models_dir,
        TinyModel(),
        factor_set.spec(),
        LabelSpec((50,)),
        PolicyParams(enter=enter, leave=leave, max_lots=lots),
        content,
    )


def synthetic_values(n: int, seed: int, price: float = 70_000.0, tick: float = 10.0) -> np.ndarray:
    """A random walk of the mid with a five-level book around it, float64[27, n]."""
    rng = np.random.default_rng(seed)
    mid = price + tick * np.cumsum(rng.integers(-1, 2, n))
    values = np.zeros((len(VALUE_COLUMNS), n))
    volume = np.cumsum(rng.integers(0, 20, n))
    head = {
        "last_price": mid, "average": mid, "highest": np.maximum.accumulate(mid), "volume": volume,
        "lowest": np.minimum.accumulate(mid), "amount": volume * price * 5, "open_interest": 100_000 + volume,
    }  # fmt: skip
    for name, column in head.items():
        values[COLUMN_INDEX[name]] = column
    for level in range(1, 6):
        for side, sign in (("bid", -1), ("ask", 1)):
            values[COLUMN_INDEX[f"{side}_price{level}"]] = mid + sign * tick * level
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 60, n)
    return values


def session_times(contract: str, day: date, n: int) -> np.ndarray:
    """Half-second times int64[n] from the first session's open on, closed hours skipped."""
    parts = []
    for start, end in bundled_calendar().sessions(variety_of(contract), day):
        parts.append(np.arange(start, end, 500_000_000, dtype=np.int64))
    return np.concatenate(parts)[:n]


def write_day(settings: Settings, contract: str, day: date, n: int, seed: int = 1) -> str:
    """A synthetic main_l5 day of `contract`; returns the key it is stored under."""
    times = session_times(contract, day, n)
    return write_main_l5(settings, contract, day, times, synthetic_values(len(times), seed))


def write_main_l5(settings: Settings, contract: str, day: date, times: np.ndarray, values: np.ndarray) -> str:
    """Ticks of `contract`, int64[n] and float64[27, n], as a main_l5 day; returns the key it is stored under."""
    n = len(times)
    table = table_from_values(np.arange(1000, 1000 + n), times, values)
    for name, column in (
        ("underlying_contract", pa.array([contract] * n)),
        ("segment_id", pa.array(np.zeros(n, np.int32))),
        ("schedule_hash", pa.array(["test"] * n)),
    ):
        table = table.append_column(name, column)
    key = variety_of(contract).continuous_symbol
    Lake(settings.data).write_day("main_l5", key, day, table.cast(MAIN_L5_SCHEMA), source="test", run_id="test")
    return key
