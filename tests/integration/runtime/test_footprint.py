"""What a strategy process costs: memory with all of `core` and a boosted model."""

from __future__ import annotations

from pathlib import Path

from ghtrader_base.settings import load_settings
from tests.benchmarks.bench_strategy_start import MOST_MB, prepare, start


def test_a_strategy_with_core_and_a_boosted_model_stays_small(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    model, symbol, day = prepare(settings, 1500)
    _, peak_mb = start(settings, model, symbol, day)
    assert 50 < peak_mb < MOST_MB  # how fast it starts is `make bench`'s business
