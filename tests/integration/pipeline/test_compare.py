"""`ghtrader compare` on a small home: makes what is missing, keeps what is there, names what failed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ghtrader_assets.results.comparison_store import load_comparison
from ghtrader_assets.runs.compare import CompareOptions, compare_families
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.families.xgboost import XGBoostFamily
from ghtrader_models.registry.mlflow_tracking import Tracker
from tests.support.built import KEY, build
from tests.support.cli import ghtrader

pytestmark = pytest.mark.clock


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GHTRADER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    found = load_settings(tmp_path / "home")
    build(found.data)
    return found


def test_missing_benchmarks_are_made_once_and_a_failure_stops_no_other(settings, monkeypatch):
    options = CompareOptions(families=("logistic", "lightgbm"), variety="cu", horizon=10)
    lines: list[str] = []
    first = compare_families(settings, options, progress=lines.append)
    found = first.comparison
    assert {model.family for model in found.models} == {"logistic", "lightgbm"} and found.failed == {}
    assert [run.success for run in first.runs] == [True] * 5
    assert {"0/2 logistic", "1/2 lightgbm", "2/2 side by side"} <= set(lines)
    for model in found.models:
        assert model.cost is not None and model.cost.parameters > 0 and model.cost.model_bytes > 0
        assert 0 < model.cost.latency.p50_us <= model.cost.latency.p99_us
        assert model.trading is not None and model.logloss.low is not None and model.fits == len(found.tests)
    assert any(model.on_front for model in found.models)
    assert [baseline.name for baseline in found.baselines] == ["prior", "persistence", "majority"]
    assert first.page.read_text().count("<img") == 3 and load_comparison(settings, KEY, 10) == found

    assert not [line for line in lines if line.endswith("no report")], "a family that nobody asked for is no news"

    again = compare_families(settings, replace(options, families=("logistic",), again=True))
    assert len(again.runs) == 3 and again.comparison.models[0].bundle_id in {model.bundle_id for model in found.models}
    changed = replace(options, families=("logistic",), seed=1, changes={"logistic": {"stride": 7}})
    compared = compare_families(settings, changed).comparison
    assert compared.notes == {"logistic": ["stride 7, not 5 as in the preset small"]}
    other = compared.models[0]
    assert other.bundle_id not in {"", *(model.bundle_id for model in found.models)}, "a model of another seed"
    assert load_bundle(settings.models / "bundles" / other.bundle_id).content.seed == 1
    compare_families(settings, replace(options, families=("logistic",)))

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError("no room for a matrix")

    monkeypatch.setattr(XGBoostFamily, "fit", exhausted)
    arguments = ["compare", "--models", "xgboost,logistic,lightgbm", "--var", "cu", "--horizon", "10", "--json"]
    done = ghtrader(*arguments, "--home", str(settings.home))
    assert done.returncode == 1 and "logistic: its benchmark is there" in done.stderr, done.stderr
    told = json.loads(done.stdout)
    assert len(told["runs"]) == 1, "what is there is not made again"
    assert {model["family"] for model in told["models"]} == {"logistic", "lightgbm"}
    assert "no room for a matrix" in told["failed"]["xgboost"] and told["splits_hash"] == found.splits_hash
    client = Tracker(settings).client
    runs = client.search_runs([client.get_experiment_by_name(KEY).experiment_id], "tags.`ghtrader.kind` = 'comparison'")
    assert len(runs) == 5 and all("logistic.latency_p99_us" in run.data.metrics for run in runs)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("max_epochs=1", "no compared family has it"),
        ("tcn.max_epochs=1", "no compared family has it"),
        ("xgboost.c=1", "no compared family has it"),
        ("max_depth=deep", "max_depth is 'deep'"),
        ("xgboost.max_depth", "is no setting"),
    ],
)
def test_a_setting_that_no_compared_family_takes_is_a_usage_error(tmp_path, setting, words):
    arguments = ["compare", "--models", "logistic,xgboost", "--var", "cu", "--set", setting, "--home", str(tmp_path)]
    done = ghtrader(*arguments)
    assert done.returncode == 2 and words in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("models", "words"), [("logistic,nonsense", "nonsense"), ("logistic", "two families"), ("", "two families")]
)
def test_names_that_make_no_comparison_are_a_usage_error(tmp_path, models, words):
    done = ghtrader("compare", "--models", models, "--var", "cu", "--home", str(tmp_path))
    assert done.returncode == 2 and words in done.stderr


def test_nothing_built_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("GHTRADER_HOME", str(tmp_path))
    done = ghtrader("compare", "--models", "logistic,tcn", "--var", "cu", "--home", str(tmp_path))
    assert done.returncode == 1 and "ghtrader build" in done.stderr
