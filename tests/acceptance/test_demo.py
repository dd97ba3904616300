"""Checks the default demo: what report.json says, the planted signal, the trades, live against batch.

Tests marked `sample` only read the demo's home, which may be one that `make demo` left.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ghtrader.demo.effort import FULL
from ghtrader.demo.run import strangers
from ghtrader_assets.results.comparison_store import read_comparison
from ghtrader_models.evaluation.comparison_page import render_table

pytestmark = [pytest.mark.acceptance, pytest.mark.clock, pytest.mark.timeout(2400)]
FAMILIES = tuple(FULL.families)
(ROW_FAMILIES, _), (NETWORKS, _) = FULL.by_horizons()
HORIZONS = ("10", "50", "200")
SCORES = {"logloss", "logloss_gain", "macro_f1", "weighted_f1", "accuracy", "ece"}


@pytest.mark.sample
def test_report_says_what_it_promises(default_demo) -> None:
    report = default_demo.report
    assert report["seconds"] > 0
    for half, extra in (("simulated", {"oracle"}), ("real", set())):
        found = report[half]
        assert found["ticks"] > 20_000 and found["factors"] >= 20
        assert set(found["models"]) == {*FAMILIES, "prior", "majority", "persistence", *extra}
        for name, by_horizon in found["models"].items():
            assert set(by_horizon) == ({"50"} if name in NETWORKS else set(HORIZONS)), name
            for score in by_horizon.values():
                assert set(score) == SCORES
                assert len(score["accuracy"]["per_split"]) >= 5
                assert 0 < score["accuracy"]["mean"] < 1
                if name != "majority":
                    assert (
                        score["logloss_gain"]["low"] <= score["logloss_gain"]["mean"] <= score["logloss_gain"]["high"]
                    )
        assert all(len(found["hashes"][name]) == 64 for name in ("ticks", "factors", "labels", "models"))
    assert report["simulated"]["days"] >= 8 and report["simulated"]["segments"] >= 2
    assert len(report["simulated"]["contracts"]) >= 2
    assert report["real"]["days"] == 1 and len(report["real"]["left_out"]) > 0
    page = (default_demo.home / "runs/demo/report.html").read_text()
    assert page.count("data:image/png;base64") >= 10 and "simulated" in page and "http" not in page.split("<main>")[1]
    assert "simulated, signal planted" in default_demo.text and "real, " in default_demo.text
    assert "ghtrader up" in default_demo.text


@pytest.mark.sample
def test_the_home_can_be_started_over(default_demo) -> None:
    assert strangers(default_demo.home) == []


@pytest.mark.sample
@pytest.mark.parametrize("half", ["simulated", "real"])
def test_the_report_shows_the_comparison_as_it_is_kept(default_demo, half: str) -> None:
    path = default_demo.home / default_demo.report[half]["comparison"]
    found = read_comparison(path)
    assert {model.family for model in found.models} == set(FAMILIES) and found.failed == {}
    assert all(model.cost is not None and model.bundle_id for model in found.models)
    assert [baseline.name for baseline in found.baselines] == ["prior", "persistence", "majority"]
    for model in found.models:
        scores = default_demo.report[half]["models"][model.family]["50"]
        assert scores["logloss_gain"]["mean"] == model.scores.gain.mean, model.family
    report = default_demo.home / "runs/demo/report.html"
    page = report.read_text()
    row = next(line for line in render_table(found).splitlines() if found.models[0].family in line)
    assert row in page and f"../compare/{found.symbol}/h50/comparison.html" in page
    assert (report.parent / f"../compare/{found.symbol}/h50/comparison.html").exists()
    assert f"{found.symbol}, horizon 50: " in default_demo.text


@pytest.mark.sample
def test_the_champion_trades_and_the_exchange_agrees(default_demo) -> None:
    half = default_demo.report["simulated"]
    assert half["champion"] and half["refused_because"] is None
    trading = half["trading"]
    assert trading["round_trips"] >= 1 and trading["fills"] == trading["exchange_fills"] > 0
    assert trading["fills_equal_exchange"] is True
    assert trading["tick_to_target_ms"]["count"] == trading["ticks"] == trading["targets"]
    assert set(trading["positions"].values()) <= {0}
    real = default_demo.report["real"]["trading"]
    assert real["ticks"] > 1000 and real["tick_to_target_ms"]["count"] > 1000


@pytest.mark.sample
def test_the_planted_signal_is_found(default_demo) -> None:
    models = default_demo.report["simulated"]["models"]
    oracle = models["oracle"]["50"]["logloss_gain"]["mean"]
    for family in FAMILIES:
        gain = models[family]["50"]["logloss_gain"]
        assert gain["low"] > 0, (family, gain)
        least = oracle / 3 if family in NETWORKS else oracle / 2  # a network sees a few of its windows here
        assert gain["mean"] >= least, (family, gain["mean"], oracle)


@pytest.mark.sample
def test_shuffled_labels_end_as_no_signal(default_demo) -> None:
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.datasets.load import load_dataset
    from ghtrader_models.evaluation.benchmark import run_benchmark, shuffled_labels
    from ghtrader_models.registry.promotion import judge

    lake, symbol = Lake(default_demo.home / "data"), "KQ.m@SHFE.cu"
    last = date.fromisoformat(default_demo.report["simulated"]["last_day"])
    days = [day for day in lake.days("features", symbol) if day <= last]
    dataset = load_dataset(lake, symbol, days, 50)
    for family in ROW_FAMILIES:  # networks: tests/verify/test_ladder.py
        report = run_benchmark(shuffled_labels(dataset, seed=7), family)
        decision = judge(report)
        assert not decision.promoted and report.model.gain.low <= 0, report.model.gain
        assert judge(run_benchmark(dataset, family)).promoted


def test_live_factors_equal_the_stored_batch(default_demo, home: Path) -> None:
    """The simulated live day through TqSdk and ZeroMQ, and every tick of the real day through the replay."""
    from ghtrader.demo.recorded import DAY
    from ghtrader.demo.trading_results import compare_with_batch
    from ghtrader_base.settings import load_settings
    from ghtrader_runtime.replay.recorded_days import paper_day

    found = default_demo.report["simulated"]["trading"]["live_equals_batch"]
    assert found["different"] == 0 and found["ticks"] == found["day_ticks"] and found["live"] > 0.99 * found["ticks"]
    settings = load_settings(default_demo.home)
    candidate = default_demo.report["real"]["candidate"]
    summary = paper_day(
        settings, "IF", DAY, account="whole-day", model=str(settings.models / "bundles" / candidate), horizon=50
    )
    whole = compare_with_batch(settings, "IF", DAY, summary.folder)
    assert whole.different == 0 and whole.ticks == whole.day_ticks > 27_000
    assert whole.live > 0.99 * whole.ticks
