"""Measures labels: all three default horizons of a definition at once, against the same in plain NumPy.

Two million ticks, one thread, processor time; the best of some runs, the sides alternate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np

from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.labels.labels import DEFINITIONS, MID_MOVE, LabelSpec, compute_labels

TICKS, PRICE_TICK = 2_000_000, 10.0


def numpy_labels(spec: LabelSpec, bid: np.ndarray, ask: np.ndarray) -> np.ndarray:
    """``mid_move`` as one writes it in NumPy."""
    half = np.rint((bid + ask) / PRICE_TICK)
    out = np.full((len(spec.horizons), half.size), -1, np.int8)
    for row, horizon in zip(out, spec.horizons, strict=True):
        move = half[horizon:] - half[:-horizon]
        row[:-horizon] = np.where(
            np.isnan(move),
            -1,
            1 + (move >= 2 * spec.threshold_ticks).astype(np.int8) - (move <= -2 * spec.threshold_ticks),
        )
    return out


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def run(repeats: int = 7) -> dict[str, dict]:
    """One row a definition."""
    rng = np.random.default_rng(0)
    bid = 70_000 + PRICE_TICK * np.cumsum(rng.integers(-1, 2, TICKS) * (rng.random(TICKS) < 0.2))
    ask = bid + PRICE_TICK
    fees = get_variety("cu").fees("SHFE.cu2503", date(2025, 2, 10))
    options = {"price_tick": PRICE_TICK, "fees": fees, "multiplier": 5}
    results = {}
    for name in DEFINITIONS:
        spec = LabelSpec.named(name)
        found = compute_labels(spec, bid, ask, **options)
        if name == MID_MOVE:
            assert np.array_equal(found, numpy_labels(spec, bid, ask))
        ours, theirs = [], []
        for _ in range(repeats):
            ours.append(_seconds(lambda spec=spec: compute_labels(spec, bid, ask, **options)))
            if name == MID_MOVE:
                theirs.append(_seconds(lambda spec=spec: numpy_labels(spec, bid, ask)))
        speed = TICKS / min(ours) / 1e6
        peer = TICKS / min(theirs) / 1e6 if theirs else None
        results[f"labels_{name}"] = {
            "value": round(speed, 1),
            "unit": "M ticks/s, 3 horizons",
            "peer": "NumPy" if theirs else "",
            "peer_value": round(peer, 1) if peer else "",
            "ratio": round(speed / peer, 1) if peer else "",
            "target": ">= 20",
            "met": bool(speed >= 20),
        }
    return results


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
