"""Measures the factor engine: batch against polars on the same 256 rolling factors, the live step, and a cold start.

Run alone with ``python tests/benchmarks/bench_factors.py``; `run` gives the same as a table. Processor time is counted,
all threads together, so that "a core" means the same for both sides. The sides alternate, and of two runs in a row the
second counts: the first pays for the caches and pages that the other side has just thrown out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import event_labels, mid_prices

TICKS = 200_000
PRICE_TICK, MULTIPLIER = 10.0, 5.0
BASES = {
    "i1": "Imbalance(1)",
    "i2": "Imbalance(2)",
    "i3": "Imbalance(3)",
    "ci": "CumImbalance(5)",
    "mo": "MicropriceOffset()",
    "re": "MidReturn(1)",
    "vd": "VolumeDelta()",
    "of": "Ofi(1)",
}
DAY = [(0, TICKS * 500_000_000)]
WINDOWS = (5, 10, 20, 50, 100, 200, 300, 600)
OPERATORS = ("Mean", "Std", "Max", "Ema")


def make_ticks(n: int = TICKS, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A five-level book without gaps: times int64[n], values float64[27, n]."""
    rng = np.random.default_rng(seed)
    values = np.zeros((len(VALUE_COLUMNS), n))
    bid = 7000 + np.cumsum(rng.integers(-1, 2, n) * (rng.random(n) < 0.2))
    lots = rng.integers(0, 30, n) * (rng.random(n) < 0.6)
    values[COLUMN_INDEX["last_price"]] = bid * PRICE_TICK
    values[COLUMN_INDEX["volume"]] = np.cumsum(lots)
    values[COLUMN_INDEX["amount"]] = np.cumsum(lots * MULTIPLIER * PRICE_TICK * (bid + rng.random(n)))
    values[COLUMN_INDEX["open_interest"]] = 90_000 + np.cumsum(rng.integers(-3, 4, n))
    for level in range(1, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = (bid - level + 1) * PRICE_TICK
        values[COLUMN_INDEX[f"ask_price{level}"]] = (bid + level) * PRICE_TICK
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 60, n)
    return np.arange(n, dtype=np.int64) * 500_000_000, values


def rolling_set() -> FactorSet:
    """256 factors: 8 series x 8 windows x 4 operators."""
    texts = {
        f"{base}_{operator.lower()}_{window}": f"{operator}({text}, {window})"
        for base, text in BASES.items()
        for operator in OPERATORS
        for window in WINDOWS
    }
    return FactorSet("rolling256", {name: parse(text) for name, text in texts.items()})


def polars_factors(frame: Any) -> Any:
    """The same 256 columns, float32, as a polars user would write them; rows x 256."""
    import polars as pl

    c = pl.col
    bid, ask, qb, qa = c("bid_price1"), c("ask_price1"), c("bid_volume1"), c("ask_volume1")
    mid = (bid + ask) / 2 / PRICE_TICK
    sides = [sum(c(f"{side}_volume{level}") for level in range(1, 6)) for side in ("bid", "ask")]
    flow = (
        pl.when(bid >= bid.shift(1)).then(qb).otherwise(0)
        - pl.when(bid <= bid.shift(1)).then(qb.shift(1)).otherwise(0)
        - pl.when(ask <= ask.shift(1)).then(qa).otherwise(0)
        + pl.when(ask >= ask.shift(1)).then(qa.shift(1)).otherwise(0)
    )
    series = [
        *[
            ((c(f"bid_volume{k}") - c(f"ask_volume{k}")) / (c(f"bid_volume{k}") + c(f"ask_volume{k}"))).alias(f"i{k}")
            for k in (1, 2, 3)
        ],
        ((sides[0] - sides[1]) / (sides[0] + sides[1])).alias("ci"),
        ((bid * qa + ask * qb) / (qb + qa) / PRICE_TICK - mid).alias("mo"),
        (mid - mid.shift(1)).alias("re"),
        c("volume").diff().alias("vd"),
        flow.alias("of"),
    ]
    rolling = {
        "Mean": lambda x, w: x.rolling_mean(w),
        "Std": lambda x, w: x.rolling_std(w, ddof=0),
        "Max": lambda x, w: x.rolling_max(w),
        "Ema": lambda x, w: x.ewm_mean(span=w, adjust=False, min_samples=w, ignore_nulls=True),
    }
    columns = [
        rolling[operator](c(base), window).cast(pl.Float32).alias(f"{base}_{operator.lower()}_{window}")
        for base in BASES
        for operator in OPERATORS
        for window in WINDOWS
    ]
    return frame.lazy().select(series).select(columns).collect()


def processor_seconds(work: Any) -> float:
    work()
    start = time.process_time()
    work()
    return time.process_time() - start


def clock_microseconds(n: int = 20_000) -> float:
    """What reading the thread's clock twice says of nothing between: about 0.8 us, a system call."""
    taken = np.empty(n)
    for i in range(n):
        start = time.thread_time_ns()
        taken[i] = time.thread_time_ns() - start
    return float(np.median(taken)) / 1e3


def live_microseconds(factor_set: FactorSet, times: np.ndarray, values: np.ndarray, n: int = 20_000) -> np.ndarray:
    """Processor time of each `update`, microseconds, past the first thousand, the clock's own taken off."""
    engine = FactorEngine(factor_set, PRICE_TICK, MULTIPLIER, DAY)
    rows = np.ascontiguousarray(values[:, :n].T)
    taken = np.empty(n)
    for i in range(n):
        row, now = rows[i], int(times[i])
        start = time.thread_time_ns()
        engine.update(now, row)
        taken[i] = time.thread_time_ns() - start
    return taken[1000:] / 1e3 - clock_microseconds()


def copy_microseconds(values: np.ndarray, n: int = 20_000) -> np.ndarray:
    """Wall time of the least a live step must do, copying its 27 numbers, microseconds."""
    rows, target, taken = np.ascontiguousarray(values[:, :n].T), np.empty(len(VALUE_COLUMNS)), np.empty(n)
    for i in range(n):
        start = time.perf_counter_ns()
        target[:] = rows[i]
        taken[i] = time.perf_counter_ns() - start
    return taken[1000:] / 1e3


COLD = """
import numpy as np
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.library.sets import get_factor_set
FactorEngine(get_factor_set("core"), 10.0, 5.0, [(0, 1)]).update(0, np.full(27, np.nan))
"""


def start_seconds(program: str, repeats: int) -> float:
    """Processor time of a fresh process from its start to its end, median; the first is not counted."""
    taken = []
    for _ in range(repeats + 1):
        before = os.times()
        subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
        after = os.times()
        taken.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(taken[1:])


def assert_same(ours: np.ndarray, theirs: Any, rows: int = 2000) -> None:
    """The same values at rows all over the day but for its beginning.

    At the first tick polars takes 0 for the flow that is not known there: its exponential means have to forget that.
    """
    chosen = np.unique(np.linspace(10_000, len(ours) - 1, rows).astype(int))
    np.testing.assert_allclose(ours[chosen], theirs[chosen].to_numpy(), rtol=1e-3, atol=1e-4)


def _result(value: float, unit: str, peer: str, peer_value: float, ratio: float, target: str, met: bool) -> dict:
    return {
        "value": round(value, 3),
        "unit": unit,
        "peer": peer,
        "peer_value": round(peer_value, 3),
        "ratio": round(ratio, 2),
        "target": target,
        "met": bool(met),
    }


def run(repeats: int = 5) -> dict[str, dict]:
    """Measure; name -> value, unit, peer, peer_value, ratio, target, met."""
    import polars as pl

    times, values = make_ticks()
    wide, lean, core = rolling_set(), get_factor_set("lean"), get_factor_set("core")
    frame = pl.DataFrame({name: values[row] for name, row in COLUMN_INDEX.items()})
    engine = FactorEngine(wide, PRICE_TICK, MULTIPLIER)
    ours, theirs = engine.batch(times, values), polars_factors(frame)
    assert_same(ours, theirs)

    def batch(factor_set: FactorSet, again: bool = True) -> float:
        fresh = FactorEngine(factor_set, PRICE_TICK, MULTIPLIER, DAY)
        out = np.empty((TICKS, len(factor_set)), np.float32) if again else None  # as `build` does, day after day
        return processor_seconds(lambda: (fresh.reset(), fresh.batch(times, values, out=out)))

    rounds = [
        (batch(wide), processor_seconds(lambda: polars_factors(frame)), batch(lean), batch(core), batch(wide, False))
        for _ in range(repeats)
    ]
    mine, peer, small, whole, anew = (TICKS / statistics.median(column) / 1e3 for column in zip(*rounds, strict=True))
    ratio = statistics.median(one[1] / one[0] for one in rounds)
    results = {
        "factor_batch_256": _result(
            mine, "k ticks/s a core", "polars, same factors", peer, ratio, ">= 500, >= 8x", mine >= 500 and ratio >= 8
        ),
        "factor_batch_lean": _result(
            small, "k ticks/s a core", "256 factors", mine, small / mine, ">= 500", small >= 500
        ),
    }
    results["factor_batch_256_fresh_memory"] = _result(
        anew, "k ticks/s a core", "polars, same factors", peer, statistics.median(one[1] / one[4] for one in rounds),
        ">= 500", anew >= 500,
    )  # fmt: skip
    results["factor_batch_core"] = _result(
        whole, "k ticks/s a core", "256 factors", mine, whole / mine, ">= 500", whole >= 500
    )
    floor = float(np.percentile(copy_microseconds(values), 50))
    for name, factor_set in (("lean", lean), ("256", wide), ("core", core)):
        tries = [np.percentile(live_microseconds(factor_set, times, values), [50, 99]) for _ in range(repeats)]
        p50, p99 = np.median(tries, axis=0)
        results[f"factor_live_{name}_p99"] = _result(
            float(p99), "us", "copying the tick", floor, float(p99) / floor, "<= 10", p99 <= 10
        )
        results[f"factor_live_{name}_p50"] = _result(
            float(p50), "us", "copying the tick", floor, float(p50) / floor, "<= 10", p50 <= 10
        )
    cold, bare = start_seconds(COLD, repeats), start_seconds("import numba", repeats)
    results["factor_cold_start"] = _result(
        cold, "s, core, compiled code cached", "importing numba alone", bare, cold / bare, "<= 3", cold <= 3
    )
    mid = mid_prices(values)
    label = statistics.median(
        processor_seconds(lambda: event_labels(mid, 50, 1, price_tick=PRICE_TICK)) for _ in range(repeats)
    )
    subtract = statistics.median(processor_seconds(lambda: mid[50:] - mid[:-50]) for _ in range(repeats))
    results["labels"] = _result(
        TICKS / label / 1e6,
        "M ticks/s",
        "one numpy subtraction",
        TICKS / max(subtract, 1e-9) / 1e6,
        subtract / label,
        ">= 20",
        TICKS / label >= 20e6,
    )
    return results


if __name__ == "__main__":
    for name, result in run().items():
        print(f"{name:24s}", json.dumps(result))
