"""The last day a natural person may hold the contract, in two processes and in one: nothing opens, the same in both."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.settings import load_settings
from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.replay.in_process import backtest_day
from ghtrader_runtime.replay.recorded_days import paper_day
from ghtrader_runtime.runlog.journal import read_factors, read_lines
from tests.support.runtime_kit import write_day, write_tiny_bundle

CONTRACT, ROWS = "SHFE.cu2502", 300


@pytest.mark.parametrize(("day", "note"), [
    (date(2025, 1, 24), "until 2025-01-27, in 1 trading day"), (date(2025, 1, 27), "is only closed, not opened"),
])  # fmt: skip
def test_replay_and_paper_keep_the_same_limit(tmp_path: Path, day: date, note: str) -> None:
    settings = load_settings(tmp_path / "home")
    write_day(settings, CONTRACT, day, ROWS)
    model = write_tiny_bundle(settings.models, enter=0.7, leave=0.2)
    run = paper_day(settings, "cu", day, model=str(model), rate_orders=10**6)
    folder = run.folder
    (told,) = (line["note"] for line in read_lines(folder / "events.jsonl") if line["kind"] == "holding-note")
    document = json.loads((folder / "gateway.json").read_text("utf-8"))
    assert note in told and document["holding_note"] == told

    table = Lake(settings.data).read_day("main_l5", "KQ.m@SHFE.cu", day)
    played = backtest_day(
        load_bundle(model), bundled_calendar(), Market(CONTRACT, day, 10.0, 5),
        table["id"].to_numpy(), table["datetime_ns"].to_numpy(), np.ascontiguousarray(values_matrix(table).T),
        limits=RiskLimits(max_position=1, max_order=10, rate_orders=10**6), flat_before_end_ns=60 * 10**9,
    )  # fmt: skip
    assert np.count_nonzero(played.targets) > 0
    assert played.targets.tolist() == read_factors(folder / "strategy")["target"].tolist()
    assert len(played.fills) == run.fills
    assert (run.fills > 0) == (day < date(2025, 1, 27))
