"""Measures reading windows of 100 ticks for a network, against the NumPy one writes by hand.

A day of 55,800 ticks of 43 factors, mapped from the cache. By hand: the day as an array in memory, and a batch is
``np.stack`` of slices. Three readings, one thread, processor time, the best of some runs:

- in order: every batch of 256 windows of the day; ours are views into the mapped file, nothing is copied;
- shuffled and normalised, as training reads: each batch is copied, put on the normaliser's scale, and freed of NaN
  (ours over the batch before, `reuse`);
- shuffled alone, as a bound: nothing but the copy, which memory limits on both sides.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.day_cache import CachedDay, map_array
from ghtrader_models.datasets.windows import WindowSet, WindowSpec, windows_of
from ghtrader_models.factors.factor_set import FactorSetSpec
from ghtrader_models.labels.labels import LabelSpec

ROWS, FACTORS, LENGTH, BATCH = 55_800, 43, 100, 256


def _day(folder: Path) -> CachedDay:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, FACTORS)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.001] = np.nan
    np.save(folder / "X.npy", rows)
    fact = DayFacts(
        day=date(2025, 2, 11),
        contract="SHFE.cu2503",
        segment_id=0,
        price_tick=10.0,
        multiplier=5,
        rows=ROWS,
        features_hash="",
        labels_hash="",
    )
    times = np.arange(ROWS, dtype=np.int64) * 500_000_000
    names = tuple(f"f{i}" for i in range(FACTORS))
    y = rng.integers(0, 3, (1, ROWS)).astype(np.int8)
    mapped = map_array(folder / "X.npy")
    return CachedDay(
        facts=fact,
        names=names,
        factor_set_spec=FactorSetSpec(1, "numbers", ()),
        label_spec=LabelSpec((50,)),
        X=mapped,
        labels=y,
        datetime_ns=times,
        warm=np.ones(ROWS, bool),
        mid=times * 1.0,
    )


def _stacked(rows: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
    for low in range(0, ends.size, BATCH):
        yield np.stack([rows[end - LENGTH + 1 : end + 1] for end in ends[low : low + BATCH]])


def _seconds(work: Callable[[], Any], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def _drain(batches: Iterator[Any]) -> None:
    for batch in batches:
        rows = batch[0] if isinstance(batch, tuple) else batch
        rows[-1, -1, -1]  # the batch is there


def run(repeats: int = 7) -> dict[str, dict]:
    """Three rows."""
    with tempfile.TemporaryDirectory() as folder:
        windows: WindowSet = windows_of([_day(Path(folder))], WindowSpec(LENGTH, 1, 50))
        rows = np.array(windows.days[0].X.array)
        order = np.random.default_rng(1).permutation(len(windows))
        shuffled = windows.end[order]
        fitted = windows.fit_scaler()
        scaled = windows.normalised(fitted)
        mean, std = fitted.mean.astype(np.float32), fitted.std.astype(np.float32)

        def by_hand() -> Iterator[np.ndarray]:
            for batch in _stacked(rows, shuffled):
                yield np.nan_to_num(np.clip((batch - mean) / std, -fitted.clip, fitted.clip))

        np.testing.assert_allclose(next(by_hand()), next(scaled.batches(BATCH, seed=1))[0], rtol=1e-5, atol=1e-5)
        _drain(windows.batches(BATCH, seed=1))
        found = {
            "in_order": (lambda: _drain(windows.views(BATCH)), lambda: _drain(_stacked(rows, windows.end))),
            "shuffled_normalised": (
                lambda: _drain(scaled.batches(BATCH, seed=1, reuse=True)),
                lambda: _drain(by_hand()),
            ),
            "shuffled": (
                lambda: _drain(windows.batches(BATCH, seed=1, reuse=True)),
                lambda: _drain(_stacked(rows, shuffled)),
            ),
        }
        results = {}
        for name, (ours, theirs) in found.items():
            fast, slow = (len(windows) / _seconds(work, repeats) / 1e3 for work in (ours, theirs))
            bound = name != "shuffled"
            results[f"windows_{name}"] = {
                "value": round(fast, 1),
                "unit": f"k windows/s, {LENGTH} x {FACTORS}",
                "peer": "np.stack of slices" + (", then (x - mean) / std, clip, NaN to 0" if "norm" in name else ""),
                "peer_value": round(slow, 1),
                "ratio": round(fast / slow, 1),
                "target": ">= 5" if bound else "reported",
                "met": bool(fast / slow >= 5) if bound else True,
            }
    return results


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
