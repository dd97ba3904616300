"""The audit of models names what was edited, exchanged or removed, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ghtrader_assets.results.model_audit import audit_models
from ghtrader_assets.results.reports_store import candidate_path, load_candidate, save_candidate
from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import read_checked_json, with_checksum
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.bundles.bundle import Bundle, bundles_dir, load_bundle
from ghtrader_models.bundles.champions import champion_path, history_path, write_champion
from tests.support.runtime_kit import write_tiny_bundle

SYMBOL, HORIZON = "KQ.m@SHFE.cu", 50


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two bundles, of which the second is champion and candidate."""
    settings = load_settings(tmp_path_factory.mktemp("models") / "home")
    for enter in (0.3, 0.4):
        bundle = load_bundle(write_tiny_bundle(settings.models, enter=enter))
        write_champion(settings.models, bundle, reason=f"enters at {enter}")
        save_candidate(settings, bundle, "test")
    return settings.home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Settings:
    shutil.copytree(template, tmp_path / "home")
    return load_settings(tmp_path / "home")


def told(settings: Settings) -> list[tuple[str, str]]:
    return sorted((finding.dataset, finding.kind) for part in audit_models(settings) for finding in part.findings)


def bundles(settings: Settings) -> list[Bundle]:
    """The champion's bundle first."""
    found = [load_bundle(path) for path in sorted(bundles_dir(settings.models).iterdir())]
    return sorted(found, key=lambda bundle: -bundle.policy.enter)


def exchanged(settings: Settings) -> None:
    one, other = (bundle.path for bundle in bundles(settings))
    aside = settings.home / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def rolled_back(settings: Settings) -> None:
    """The pointer as it was one promotion ago."""
    first = history_path(settings.models, SYMBOL, HORIZON).read_text().splitlines()[0]
    champion_path(settings.models, SYMBOL, HORIZON).write_text(first)


def pointed_elsewhere(settings: Settings) -> None:
    path = candidate_path(settings, SYMBOL, HORIZON, "logistic")
    path.write_text(json.dumps(with_checksum(read_checked_json(path)[0] | {"bundle_id": "0" * 16})))


BROKEN = [("bundles", "bundle_broken"), ("candidates", "candidate_broken"), ("champions", "champion_broken")]
CASES: dict[str, tuple[Callable[[Settings], object], list[tuple[str, str]]]] = {
    "nothing": (lambda s: None, []),
    "bundles exchanged": (exchanged, [BROKEN[0], *BROKEN]),
    "the champion's bundle gone": (lambda s: shutil.rmtree(bundles(s)[0].path), BROKEN[1:]),
    "a file beside the model": (
        lambda s: (bundles(s)[1].path / "x.bin").write_bytes(b"x"),
        [("bundles", "extra_file")],
    ),
    "an older pointer put back": (rolled_back, [("champions", "champion_older")]),
    "a pointer gone": (
        lambda s: champion_path(s.models, SYMBOL, HORIZON).unlink(),
        [("champions", "champion_broken")],
    ),
    "a candidate that is no bundle": (pointed_elsewhere, BROKEN[1:2]),
}


@pytest.mark.parametrize("name", CASES)
def test_each_is_named_and_nothing_else(name: str, home: Settings) -> None:
    damage, expected = CASES[name]
    damage(home)
    assert told(home) == sorted(expected)


def test_a_candidate_is_the_bundle_it_names(home: Settings) -> None:
    assert load_candidate(home, SYMBOL, HORIZON, "logistic").bundle_id == bundles(home)[0].bundle_id
    exchanged(home)
    with pytest.raises(IntegrityError, match="folder holds"):
        load_candidate(home, SYMBOL, HORIZON, "logistic")
    shutil.rmtree(bundles_dir(home.models))
    with pytest.raises(IntegrityError, match="which is gone"):
        load_candidate(home, SYMBOL, HORIZON, "logistic")


def test_files_of_an_older_version_are_notes(home: Settings) -> None:
    for path in (champion_path(home.models, SYMBOL, HORIZON), candidate_path(home, SYMBOL, HORIZON, "logistic")):
        path.write_text(json.dumps(read_checked_json(path)[0]))
    assert told(home) == []
    notes = {part.name: part.notes for part in audit_models(home) if part.notes}
    assert notes == {
        "champions": [f"models/champions/{SYMBOL}/h{HORIZON}.json has no checksum, an older version made it"],
        "candidates": [
            f"models/candidates/{SYMBOL}/h{HORIZON}/logistic.json has no checksum, an older version made it"
        ],
    }
