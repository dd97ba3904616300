"""Assets of the model families: from the table alone, typed configs, and a joint report that waits for nobody."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._config import process_config

from ghtrader_assets.assets import benchmark_and_promotion
from ghtrader_assets.assets.benchmark_and_promotion import join_reports
from ghtrader_assets.assets.family_config import benchmark_config, changes_of, train_config
from ghtrader_assets.build_definitions import build_defs
from ghtrader_assets.checks import judge_reports
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.results.comparable_reports import comparable_reports, why_not_of
from ghtrader_assets.results.reports_store import readable_reports, report_path, save_report
from ghtrader_base.errors import FailedError
from ghtrader_base.files import atomic_write_json
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.bundles.provenance import BundleContent, DayFacts, data_hash
from ghtrader_models.calibration import Calibration, SpanScores
from ghtrader_models.families.base import Preset, get_family, make_config
from ghtrader_models.families.table import FAMILIES
from tests.unit.assets.test_reports_store import CONTEXT, SYMBOL, report, scores

KEY = "50|cu"
DAYS = tuple(
    DayFacts(
        day=day, contract="SHFE.cu2506", segment_id=0, price_tick=10.0, multiplier=5, rows=5, features_hash="f",
        labels_hash="l",
    )
    for day in CONTEXT.days
)  # fmt: skip
CONTENT = BundleContent(
    symbol=SYMBOL, family="logistic", horizon=50, price_tick=10.0, levels=5, days=DAYS, seed=0,
    config=dataclasses.asdict(get_family("logistic").config()),
)  # fmt: skip
HALF = Calibration(slope=0.5, offsets=(0.0, 0.0, 0.0), rows=9, before=SpanScores(1, 0), after=SpanScores(1, 0))


@pytest.fixture
def settings(tmp_path) -> Settings:
    return load_settings(tmp_path)


@pytest.mark.clock
def test_a_new_family_in_the_table_has_its_assets_joined_by_the_report(monkeypatch):
    monkeypatch.setitem(FAMILIES, "boosted", dataclasses.replace(FAMILIES["lightgbm"], what="another"))
    graph = build_defs().resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {"model_boosted", "benchmark_boosted"} <= names
    parents = {key.to_user_string() for key in graph.get(dg.AssetKey("benchmark_report")).parent_keys}
    assert {"model_boosted", "benchmark_boosted"} <= parents


@pytest.mark.parametrize("family", FAMILIES)
def test_the_config_of_an_asset_has_every_setting_of_the_family(family):
    for make in (train_config, benchmark_config):
        fields = type(make(family)().settings).model_fields
        assert set(fields) == {"preset", *(f.name for f in dataclasses.fields(get_family(family).config()))}
        assert all(field.description for name, field in fields.items() if name != "preset")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_launchpad_is_given_is_what_the_family_is_trained_with(family):
    def made(**settings: Any) -> Any:
        return make_config(get_family(family), changes_of(train_config(family)(settings=settings)))

    learner = get_family(family)
    assert made() == learner.config() == made(preset="small")
    assert made(preset="paper") == learner.config(Preset.PAPER)
    assert made(preset="paper", stride=7) == dataclasses.replace(learner.config(Preset.PAPER), stride=7)


def test_a_config_refuses_what_the_family_does_not_have():
    schema = train_config("logistic").to_config_schema().as_field().config_type
    for given in ({}, {"preset": "paper", "c": 1, "stride": None}):
        assert process_config(schema, {"settings": given}).success, given
    for wrong in ({"rounds": 3}, {"stride": "x"}, {"preset": "huge"}, {"stride": {"env": "HOME"}}):
        assert not process_config(schema, {"settings": wrong}).success, wrong


def keep(settings: Settings, family: str, gain: float = 0.02, **context: Any) -> None:
    made = dataclasses.replace(report(), family=family, config=get_family(family).config())
    save_report(settings, made, dataclasses.replace(CONTEXT, **context))


@pytest.mark.clock
def test_the_joint_report_takes_what_is_there_and_names_the_rest(settings):
    keep(settings, "logistic")
    keep(settings, "xgboost")
    keep(settings, "lightgbm", days=[date(2025, 4, 1)])
    path = report_path(settings, SYMBOL, 50, "tcn")
    path.write_text("{}")
    found = join_reports(HomeResource(home=str(settings.home)), SYMBOL, 50)
    assert [row["family"] for row in found["families"]] == ["logistic", "xgboost"]
    assert any(line.startswith("lightgbm: its report is of other days than") for line in found["left_aside"])
    assert any(line.startswith("tcn: ") for line in found["left_aside"])
    path.unlink()
    assert "tcn" in join_reports(HomeResource(home=str(settings.home)), SYMBOL, 50)["missing"]


@pytest.mark.clock
def test_the_check_names_a_damaged_report_and_judges_the_others(settings):
    keep(settings, "logistic")
    report_path(settings, SYMBOL, 50, "tcn").write_text("{}")
    found = judge_reports(HomeResource(home=str(settings.home)), [KEY])
    assert not found["passed"] and found["metadata"]["reports"] == 1
    assert any(problem.startswith(f"tcn {KEY}: ") for problem in found["metadata"]["problems"])
    assert f"logistic {KEY}: no persistence" in found["metadata"]["problems"]


@pytest.mark.clock
def test_no_report_at_all_says_what_to_run(settings):
    with pytest.raises(FailedError, match="no walk-forward report of cu at horizon 50") as failed:
        join_reports(HomeResource(home=str(settings.home)), SYMBOL, 50)
    assert "ghtrader benchmark" in (failed.value.hint or "")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("splits_hash", "other", "splits"),
        ("data_hash", "other", "features"),
        ("latency_ms", 300.0, "latency of orders"),
        ("made_at", "2026", ""),
    ],
)
def test_only_reports_on_the_same_tests_stand_beside_each_other(settings, field, value, why):
    keep(settings, "logistic", made_at="2025")
    if field == "splits_hash":
        other = dataclasses.replace(report(), family="xgboost", splits_hash=value)
        save_report(settings, other, dataclasses.replace(CONTEXT, made_at="2024"))
    else:
        keep(settings, "xgboost", **{"made_at": "2024", field: value})
    found = comparable_reports(readable_reports(settings, SYMBOL, 50))
    assert len(found.taken) == (1 if why else 2)
    if why:
        assert why in found.left_aside["xgboost"] and "logistic" in found.left_aside["xgboost"]


@pytest.mark.clock
def test_a_report_of_an_older_version_stands_beside_a_new_one_of_the_same_tests(settings):
    keep(settings, "logistic")
    keep(settings, "xgboost", made_at="2026")
    path = report_path(settings, SYMBOL, 50, "logistic")
    stored = json.loads(path.read_text())
    for name in ("splits_hash", "split_options", "policy", "config", "seconds", "checksum"):
        del stored[name]
    del stored["context"]["splits"], stored["context"]["made_at"]
    atomic_write_json(path, stored)
    found = join_reports(HomeResource(home=str(settings.home)), SYMBOL, 50)
    assert [row["family"] for row in found["families"]] == ["logistic", "xgboost"] and found["left_aside"] == []


def scored(settings: Settings, *, calibrated: bool = False) -> None:
    """A report of the days and settings of `CONTENT`, of models that are calibrated or of a version that had none."""
    made = dataclasses.replace(report(), config=get_family("logistic").config())
    if calibrated:
        split = dataclasses.replace(made.splits[0], calibration=HALF)
        made = dataclasses.replace(made, uncalibrated=scores(), splits=[split])
    save_report(settings, made, dataclasses.replace(CONTEXT, data_hash=data_hash(DAYS)))


@pytest.mark.parametrize(
    ("calibrated", "changes", "why"),
    [
        (False, {}, ""),
        (True, {"calibration": HALF}, ""),
        (False, {"days": DAYS[:1]}, "other days"),
        (False, {"config": {**CONTENT.config, "c": 50.0}}, r"other settings than its report speaks of \(c\)"),
        (False, {"config": {**CONTENT.config, "rounds": 5}}, r"\(rounds\)"),
        (False, {"calibration": HALF}, "did not calibrate"),
        (True, {}, "is not calibrated"),
    ],
)
@pytest.mark.clock
def test_no_bundle_is_promoted_on_the_scores_of_another_model(settings, monkeypatch, calibrated, changes, why):
    scored(settings, calibrated=calibrated)
    content = dataclasses.replace(CONTENT, **changes)
    (kept,) = readable_reports(settings, SYMBOL, 50).reports
    assert (why_not_of(kept, content) == "") == (why == "")
    if why:
        found = SimpleNamespace(content=content)
        monkeypatch.setattr(benchmark_and_promotion, "load_candidate", lambda *_: found)
        with pytest.raises(FailedError, match=why):
            benchmark_and_promotion._gate(
                SimpleNamespace(run_id="r"), HomeResource(home=str(settings.home)), KEY, False
            )


def test_a_report_that_does_not_say_its_settings_speaks_of_a_bundle_as_old(settings):
    scored(settings)
    (kept,) = readable_reports(settings, SYMBOL, 50).reports
    older = dataclasses.replace(kept, config={})
    assert why_not_of(older, CONTENT) == "" and why_not_of(older, dataclasses.replace(CONTENT, calibration=HALF))


@pytest.mark.clock
def test_a_benchmark_that_is_done_asks_for_the_joint_report_while_others_are_missing(tmp_path):
    defs = build_defs()
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        selection = dg.AssetSelection.assets("benchmark_report")
        before = dg.evaluate_automation_conditions(defs, instance, asset_selection=selection)
        assert before.total_requested == 0
        instance.report_runless_asset_event(dg.AssetMaterialization("model_logistic", partition=KEY))
        trained = dg.evaluate_automation_conditions(defs, instance, asset_selection=selection, cursor=before.cursor)
        assert trained.total_requested == 0
        instance.report_runless_asset_event(dg.AssetMaterialization("benchmark_logistic", partition=KEY))
        after = dg.evaluate_automation_conditions(defs, instance, asset_selection=selection, cursor=trained.cursor)
        assert after.get_requested_partitions(dg.AssetKey("benchmark_report")) == {KEY}
