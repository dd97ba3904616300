"""Reports and decisions of a series: written and read back as structs, older ones too, damaged ones named."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_assets.results.reports_store import (
    ReportContext,
    StoredDecision,
    decision_path,
    load_decision,
    load_reports,
    report_path,
    save_report,
)
from ghtrader_assets.results.run_metrics import run_metrics
from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_base.files import atomic_write_json, checksum_holds
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.datasets.day_selection import without_rows
from ghtrader_models.evaluation.benchmark import PREDICTION_SCHEMA, BenchmarkReport
from ghtrader_models.evaluation.report_types import ScoredSplit, SimulatedTrading, TradingReport
from ghtrader_models.evaluation.splits import SplitOptions
from ghtrader_models.families.logistic import LogisticConfig
from ghtrader_models.model_scores import GainInterval, MeanScore, ModelScores
from ghtrader_models.registry.promotion import judge

SYMBOL = "KQ.m@SHFE.cu"
MONEY = {
    "net_pnl": 5.0, "gross_pnl": 7.0, "fees": 2.0, "max_drawdown": 1.0, "turnover": 1e6, "fills": 4, "volume": 4,
    "round_trips": 2, "winning_round_trips": 1, "final_position": 0,
}  # fmt: skip
CONTEXT = ReportContext(
    days=[date(2025, 4, 1), date(2025, 4, 2)], rows=10, data_hash="d", run_id="r", code_version="1.0",
    left_out=[without_rows(date(2025, 4, 3))], origin="simulated market",
)  # fmt: skip


def scores(gain: float | None = 0.02) -> ModelScores:
    one = MeanScore(mean=0.5, std=0.1, per_split=[0.4, 0.6])
    if gain is None:
        return ModelScores(logloss=None, macro_f1=one, weighted_f1=one, accuracy=one, ece=None, logloss_gain=None)
    interval = GainInterval(mean=gain, low=gain / 2, high=gain * 2, n=2, per_split=[gain, gain])
    return ModelScores(logloss=one, macro_f1=one, weighted_f1=one, accuracy=one, ece=one, logloss_gain=interval)


def report() -> BenchmarkReport:
    split = ScoredSplit(split=0, name="day 1", train_rows=5, test_rows=5, prior=[0.2, 0.6, 0.2], fit_seconds=0.1)
    return BenchmarkReport(
        family="logistic",
        symbol=SYMBOL,
        horizon=50,
        seed=3,
        config=LogisticConfig(),
        splits=[split, split],
        splits_hash="s",
        split_options=SplitOptions(),
        model=scores(),
        baselines={"prior": scores(0.0), "majority": scores(None)},
        simulation=SimulatedTrading(**MONEY, per_stretch=[TradingReport(**MONEY)]),
        importance={"spread": 1.0},
        predictions=PREDICTION_SCHEMA.empty_table(),
        pnl=(np.zeros(1, np.int64), np.zeros(1)),
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path)


def test_a_report_is_read_back_as_it_was_written(settings: Settings) -> None:
    made = report()
    path = save_report(settings, made, CONTEXT)
    (found,) = load_reports(settings, SYMBOL, 50)
    for name in ("family", "symbol", "horizon", "seed", "splits", "model", "baselines", "simulation", "importance"):
        assert getattr(found, name) == getattr(made, name), name
    for name in ("tests_hash", "metrics_hash", "splits_hash"):
        assert getattr(found, name) == getattr(made, name), name
    assert found.context == CONTEXT
    stored = json.loads(path.read_text())
    assert checksum_holds(stored)
    del stored["checksum"]
    assert stored == {
        **made.to_dict(),
        "context": {
            "days": ["2025-04-01", "2025-04-02"], "rows": 10, "data_hash": "d", "run_id": "r", "code_version": "1.0",
            "left_out": [without_rows(date(2025, 4, 3)).to_dict()], "origin": "simulated market", "splits": "",
            "made_at": "", "configurations_tried": 0, "latency_ms": None, "max_order": None,
        },
    }  # fmt: skip
    assert judge(found).evidence == judge(made).evidence


def test_a_report_of_another_version_reads_and_a_damaged_one_is_named(settings: Settings) -> None:
    path = save_report(settings, report(), CONTEXT)
    stored = json.loads(path.read_text())
    del stored["policy"], stored["context"]["code_version"], stored["context"]["left_out"]
    del stored["context"]["configurations_tried"]
    del stored["splits_hash"], stored["split_options"], stored["checksum"]
    atomic_write_json(path, {**stored, "of_tomorrow": 1})
    (older,) = load_reports(settings, SYMBOL, 50)
    assert (older.context.code_version, older.splits_hash, older.context.configurations_tried) == ("", "", 0)
    for damaged in ({}, {**stored, "model": 1}, {**stored, "context": None}):
        atomic_write_json(path, damaged)
        with pytest.raises(IntegrityError, match="logistic.json does not read") as caught:
            load_reports(settings, SYMBOL, 50)
        assert "ghtrader benchmark" in caught.value.hint
    for damaged, told in (([], "holds no JSON object"), ({**stored, "checksum": "0" * 64}, "was edited")):
        atomic_write_json(path, damaged)
        with pytest.raises(IntegrityError, match=f"logistic.json {told}"):
            load_reports(settings, SYMBOL, 50)
    path.unlink()
    assert load_reports(settings, SYMBOL, 50) == []


def test_the_numbers_of_a_report_are_rows_in_sql(settings: Settings) -> None:
    save_report(settings, report(), CONTEXT)
    assert report_path(settings, SYMBOL, 50, "logistic").exists()
    rows: pa.Table = run_metrics(settings)
    found = {(row["who"], row["metric"], row["split"]): row["value"] for row in rows.to_pylist()}
    assert found["model", "logloss_gain", "low"] == 0.01 and found["model", "accuracy", "std"] == 0.1
    assert found["prior", "logloss_gain", "mean"] == 0.0 and ("majority", "logloss", "mean") not in found
    # model and prior: five scores of mean, std and a test (two of one name), a gain of mean, low, high and a test
    assert len(rows) == 2 * (5 * 3 + 4) + 3 * 3


def test_a_decision_is_read_back_and_a_damaged_one_is_named(settings: Settings) -> None:
    with pytest.raises(FailedError, match="no decision"):
        load_decision(settings, SYMBOL, 50)
    path = decision_path(settings, SYMBOL, 50)
    found = {**judge(report()).to_dict(), "bundle_id": "b", "family": "logistic", "run_id": "r"}
    atomic_write_json(path, found)
    assert load_decision(settings, SYMBOL, 50) == StoredDecision(
        promoted=found["promoted"], reasons=found["reasons"], refused_because=found["refused_because"],
        bundle_id="b", family="logistic", run_id="r",
    )  # fmt: skip
    atomic_write_json(path, {"promoted": "perhaps"})
    with pytest.raises(IntegrityError, match="does not read"):
        load_decision(settings, SYMBOL, 50)
