"""A bundle made again: equal to the byte where nothing changed; what changed is named, and nothing is written."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from ghtrader_base.files import content_hash
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import MANIFEST, PROVENANCE, Bundle, _manifest, load_bundle
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.evaluation.policy_fit import PolicyOptions
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.families.lightgbm import LightGBMConfig
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.families.xgboost import XGBoostConfig
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.reproduction import Comparison, MetricComparison, Subject, reproduce
from ghtrader_models.training import train
from tests.support import built
from tests.support.cli import ghtrader

HORIZON = 10
CONFIGS = {
    "logistic": None,
    "xgboost": XGBoostConfig(rounds=4, subsample=0.7),
    "lightgbm": LightGBMConfig(rounds=4, subsample=0.7),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Days of a simulated series and a bundle of each family that reads single rows."""
    settings = load_settings(tmp_path_factory.mktemp("again") / "home")
    lake = built.build(settings.data)
    for family, config in CONFIGS.items():
        policy = PolicyOptions(max_lots=3, sized=True, cost_aware=True, cooldown=5)
        train(
            lake, settings.models, built.KEY, family, HORIZON, built.DAYS, seed=7, config=config, policy=policy,
            run_id="test", until_ns=lake.manifest("features", built.KEY, built.LAST).last_ns,
        )  # fmt: skip
    return settings


def bundle_of(settings: Settings, family: str) -> Bundle:
    found = [load_bundle(path) for path in (settings.models / "bundles").iterdir()]
    return next(bundle for bundle in found if bundle.kind == family)


def tree(folder: Path) -> dict[str, str]:
    return {str(path): content_hash(path.read_bytes().hex()) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("family", CONFIGS)
def test_the_same_code_and_days_give_the_same_bytes(home: Settings, family: str, tmp_path: Path) -> None:
    bundle, before = bundle_of(home, family), tree(home.home)
    lines: list[str] = []
    found = reproduce(Lake(home.data), bundle, tmp_path, progress=lines.append)
    assert found.reproduced and found.differences == ()
    assert found.comparison.same_bytes and found.comparison.probability_difference == 0.0
    assert {"factors.json", "labels.json", "policy.json"} < {file.name for file in found.comparison.files}
    assert [metric.difference for metric in found.comparison.metrics] == [0.0] * 6
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [bundle.bundle_id], "the id covers all of it"
    assert any(f"{len(built.DAYS)}/{len(built.DAYS)} days compared" in line for line in lines)
    assert tree(home.home) == before, "nothing of the home was written"


def test_the_command_says_so_and_writes_nothing(home: Settings) -> None:
    bundle, before = bundle_of(home, "logistic"), tree(home.home)
    place = ("--home", str(home.home))
    answer = ghtrader("models", "reproduce", bundle.bundle_id[:8], *place, "--json")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["reproduced"] is True and document["bundle_id"] == bundle.bundle_id
    assert document["comparison"]["same_bytes"] is True and document["comparison"]["tolerance_nats"] is None
    text = ghtrader("models", "reproduce", bundle.bundle_id, *place).stdout
    assert "reproduced: the same files byte for byte and equal metrics" in text and "train_logloss" in text
    assert tree(home.home) == before
    assert ghtrader("models", "reproduce", "0000", *place).returncode == 2


@pytest.fixture
def copied(home: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(home.home, tmp_path / "home")
    return load_settings(tmp_path / "home")


def rewrite(bundle: Bundle, part: str, **changes: object) -> Bundle:
    """The bundle with parts of its provenance changed or, where None, taken out, and a manifest that fits."""
    document = json.loads((bundle.path / PROVENANCE).read_text())
    for name, value in changes.items():
        if value is None:
            document[part].pop(name, None)
        else:
            document[part][name] = value
    (bundle.path / PROVENANCE).write_text(json.dumps(document))
    contents = {path.name: path.read_bytes() for path in sorted(bundle.path.iterdir()) if path.name != MANIFEST}
    manifest = _manifest(bundle.kind, contents)
    (bundle.path / MANIFEST).write_text(json.dumps(manifest))
    return load_bundle(bundle.path.rename(bundle.path.with_name(manifest["bundle_id"])))


def test_other_code_and_packages_are_named_and_do_not_stop_it(copied: Settings, tmp_path: Path) -> None:
    bundle = bundle_of(copied, "logistic")
    packages = {**bundle.provenance.run.packages, "numpy": "1.0.0", "gone": "2"}
    bundle = rewrite(bundle, "run", git_commit="0" * 40, packages=packages)
    found = reproduce(Lake(copied.data), bundle, tmp_path / "again")
    named = {(one.subject, one.what): (one.recorded, one.here) for one in found.differences}
    assert named[Subject.CODE, "git commit"][0] == "0" * 40
    assert named[Subject.PACKAGES, "numpy"][0] == "1.0.0"
    assert named[Subject.PACKAGES, "gone"] == ("2", "not installed")
    assert len(named) == 3 and found.reproduced


def test_days_that_changed_or_are_gone_stop_it_by_name(copied: Settings, tmp_path: Path) -> None:
    bundle, lake = bundle_of(copied, "logistic"), Lake(copied.data)
    build_day(
        lake, built.KEY, built.LAST, get_factor_set("lean"), LabelSpec(threshold_ticks=2.0), overwrite=True,
        run_id="test", calendar=bundled_calendar(),
    )  # fmt: skip
    shutil.rmtree(lake.day_path("features", built.KEY, built.DAYS[0]))
    before = tree(copied.home)
    found = reproduce(lake, bundle, tmp_path / "again")
    assert not found.reproduced and found.comparison is None
    assert {str(one) for one in found.differences if str(built.DAYS[0]) in one.what} == {
        f"days: {built.DAYS[0]} was there, is not here"
    }
    assert {one.what for one in found.differences} >= {f"labels_hash of {built.LAST}"}
    answer = ghtrader("models", "reproduce", bundle.bundle_id, "--home", str(copied.home))
    assert answer.returncode == 1 and "not trained again: its data is not here as it was" in answer.stdout
    assert tree(copied.home) == before


def test_other_data_is_taken_where_it_is_asked_for(copied: Settings, tmp_path: Path) -> None:
    bundle, lake = bundle_of(copied, "logistic"), Lake(copied.data)
    shutil.rmtree(lake.day_path("features", built.KEY, built.DAYS[0]))
    found = reproduce(lake, bundle, tmp_path / "again", other_data=True)
    assert not found.reproduced and not found.comparison.same_bytes
    assert found.verdict == "not reproduced: other files or metrics"
    assert next(file.equal for file in found.comparison.files if file.name == "labels.json")


def test_an_older_bundle_says_what_is_not_known_and_comes_out_all_the_same(copied: Settings, tmp_path: Path) -> None:
    bundle = bundle_of(copied, "xgboost")
    days = json.loads((bundle.path / PROVENANCE).read_text())["content"]["days"]
    for day in days:
        for name in ("ticks_hash", "schedule_hash", "origin"):
            day.pop(name, None)
    config = {name: value for name, value in bundle.content.config.items() if name != "memory"}
    bundle = rewrite(bundle, "content", days=days, config=config)
    bundle = rewrite(bundle, "run", git_commit=None, packages=None, metrics=None, code_version="0.0.1")
    found = reproduce(Lake(copied.data), bundle, tmp_path / "again")
    assert found.reproduced
    assert [one.subject for one in found.differences] == [Subject.CODE]
    text = "; ".join(found.unknown)
    for what in (
        "git commit",
        "versions of packages",
        "the ticks",
        "roll schedule",
        "own metrics",
        "setting memory (40",
    ):
        assert what in text


def test_a_setting_that_is_gone_stops_it(copied: Settings, tmp_path: Path) -> None:
    bundle = bundle_of(copied, "lightgbm")
    bundle = rewrite(bundle, "content", config={**bundle.content.config, "wonder": 3})
    found = reproduce(Lake(copied.data), bundle, tmp_path / "again")
    assert found.comparison is None
    assert [str(one) for one in found.differences] == ["settings: wonder was 3, is no setting"]


@pytest.mark.verify
def test_a_network_comes_out_within_its_tolerance(copied: Settings, tmp_path: Path) -> None:
    """On one machine even to the byte."""
    config = TCNConfig(length=20, levels=2, channels=4, max_windows=400, max_epochs=2)
    bundle = train(Lake(copied.data), copied.models, built.KEY, "tcn", HORIZON, built.DAYS, config=config)
    found = reproduce(Lake(copied.data), bundle, tmp_path / "again")
    assert found.reproduced and found.comparison.tolerance_nats == 1e-3 and found.comparison.same_bytes
    assert found.verdict.startswith("reproduced: log-loss differs by 0 nats, 0.001 are allowed")
    assert found.to_dict()["comparison"]["tolerance_nats"] == 1e-3


def test_a_network_keeps_its_promise_within_a_tolerance() -> None:
    """Sums of floats have another order on another processor; the log-loss may not move by more than is said."""

    def compared(loss: float, *, tolerance_nats: float | None = 1e-3) -> Comparison:
        metric = MetricComparison(name="train_logloss", recorded=0.5, here=loss)
        return Comparison(
            files=(), metrics=(metric,), probability_difference=0.1, tolerance_nats=tolerance_nats, seconds=1.0
        )

    assert compared(0.5009).kept and not compared(0.502).kept
    assert not compared(0.5009, tolerance_nats=None).kept


def test_every_familys_own_configuration_is_one_it_takes_back() -> None:
    for family in CONFIGS:
        config = get_family(family).config()
        assert make_config(get_family(family), dataclasses.asdict(config)) == config
