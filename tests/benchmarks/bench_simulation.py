"""Measures the benchmark's simulation: ticks a second of processor time, books read from the lake included.

The peer is the same day with best quotes alone, which a data set holds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.settings import load_settings
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, values_matrix
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.evaluation.policy_simulation import ends_flat
from ghtrader_models.evaluation.recorded_books import RecordedBooks
from ghtrader_models.evaluation.simulated_days import SimulatedDays
from ghtrader_models.policy import PolicyParams
from tests.benchmarks.bench_tick_to_target import KEY, write_simulated_day

ROUNDS = 15


def rate(rows: int, play: Callable[[], object]) -> float:
    """Ticks a second of processor time, the best of some rounds; the first one compiles."""
    play()
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        play()
        spent.append(time.process_time_ns() - began)
    return rows / (min(spent) / 1e9)


def run() -> dict[str, dict[str, Any]]:
    """Some seconds."""
    with tempfile.TemporaryDirectory(prefix="gt") as text:
        settings = load_settings(Path(text))
        market, lake = write_simulated_day(settings), Lake(settings.data)
        day = market.trading_day
        table = lake.read_day("main_l5", KEY, day)
        times, values = table["datetime_ns"].to_numpy(), values_matrix(table)
        bid, ask = values[COLUMN_INDEX["bid_price1"]], values[COLUMN_INDEX["ask_price1"]]
        up = np.random.default_rng(1).random(times.size)
        p = np.stack([0.9 - 0.9 * up, np.full(times.size, 0.1), 0.9 * up], axis=1)
        flat = ends_flat(times.size)

        def play(lots: int, deep: bool) -> SimulatedDays:
            days = SimulatedDays(model=ExecutionModel())
            books = RecordedBooks(lake=lake, symbol=KEY).of_day(day, times, bid, ask, lots == 1) if deep else None
            params = PolicyParams(enter=0.8, leave=0.2, max_lots=lots)
            days.play(p, times, bid, ask, params, market.symbol, day, flat, books)
            return days

        quotes = rate(times.size, lambda: play(1, False))
        results = {}
        for lots, share in ((1, 0.9), (10, 0.6)):
            deep = rate(times.size, lambda lots=lots: play(lots, True))
            results[f"simulation_{lots}_lots"] = {
                "value": round(deep), "unit": "ticks/s a core", "peer": "best quotes alone, one lot",
                "peer_value": round(quotes), "ratio": round(deep / quotes, 2), "target": f">= {share:.2f}",
                "met": deep >= share * quotes, "fills": len(play(lots, True).fills),
            }  # fmt: skip
    return results
