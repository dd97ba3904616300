"""Audits models: bundles, champions, candidates, reports, and MLflow's registry against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghtrader_assets.results.reports_store import bundle_of_candidate, read_decision, read_report
from ghtrader_base.errors import GhtraderError, IntegrityError
from ghtrader_base.files import read_checked_json, read_json
from ghtrader_market.audit.report import Section
from ghtrader_models.bundles.bundle import MANIFEST, bundles_dir, load_bundle
from ghtrader_models.bundles.champions import bundle_of, pointer_paths, read_history, read_pointer
from ghtrader_models.registry.consistency import REMEDIES, StoredBundle, compare, pointed_at
from ghtrader_models.registry.mlflow_tracking import has_own_database, registered_bundles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ghtrader_base.settings import Settings

_OLDER = "has no checksum, an older version made it"


def audit_models(settings: Settings) -> list[Section]:
    """Look at everything under the models folder, and at the registry."""
    bundles, known = _bundles(settings)
    return [bundles, _champions(settings), _candidates(settings), _reports(settings), _registry(settings, known)]


def _bundles(settings: Settings) -> tuple[Section, dict[str, StoredBundle]]:
    """Every bundle as its manifest and name say, and by id those that are."""
    section = Section(name="bundles")
    known: dict[str, StoredBundle] = {}
    root = bundles_dir(settings.models)
    for path in sorted(root.glob("[!.]*")):
        name = path.relative_to(settings.home)
        if not path.is_dir():
            section.found("extra_file", name, "it is no bundle")
            continue
        section.looked_at += 1
        if path.is_symlink():
            section.found("symlink", name, "a bundle lies elsewhere", key=path.name)
        try:
            bundle = load_bundle(path, path.name)
        except (GhtraderError, OSError) as error:
            section.found("bundle_broken", name, str(error), key=path.name)
            continue
        known[bundle.bundle_id] = StoredBundle.of(bundle)
        named = {MANIFEST, *read_json(path / MANIFEST)["files"]}
        for file in sorted(path.iterdir()):
            if file.name not in named:
                section.found("extra_file", name / file.name, "the bundle's manifest does not name it", key=path.name)
    return section, known


def _champions(settings: Settings) -> Section:
    """Every pointer with its history and its bundle."""
    section = Section(name="champions")
    pointers = pointer_paths(settings.models)
    for path in pointers:
        name, key = path.relative_to(settings.home), f"{path.parent.name} {path.stem}"
        section.looked_at += 1
        try:
            champion, has_checksum = read_pointer(path)
            bundle_of(settings.models, champion)
        except (GhtraderError, OSError) as error:
            section.found("champion_broken", name, str(error), key=key)
            continue
        if not has_checksum:
            section.notes.append(f"{name} {_OLDER}")
        last = read_history(settings.models, champion.symbol, champion.horizon)[-1]
        if last != champion:
            section.found("champion_older", name, f"{last.bundle_id} was promoted after {champion.bundle_id}", key=key)
    for path in sorted((settings.models / "champions").glob("*/*")):
        name, key = path.relative_to(settings.home), f"{path.parent.name} {path.name.split('.')[0]}"
        pointer = path.with_name(path.name.split(".")[0] + ".json")
        if path in pointers or path.name.startswith("."):
            continue
        if not path.name.endswith(".history.jsonl"):
            section.found("extra_file", name, "it is no pointer and no history", key=key)
        elif pointer not in pointers:
            section.found("champion_broken", name, f"its pointer {pointer.name} is gone: nothing trades", key=key)
    return section


def _candidates(settings: Settings) -> Section:
    section = Section(name="candidates")
    for path in sorted((settings.models / "candidates").rglob("*.json")):
        section.looked_at += 1
        name = path.relative_to(settings.home)
        try:
            bundle_of_candidate(settings.models, path)
        except (GhtraderError, OSError) as error:
            section.found("candidate_broken", name, str(error), key=path.stem)
            continue
        if not read_checked_json(path)[1]:
            section.notes.append(f"{name} {_OLDER}")
    return section


def _reports(settings: Settings) -> Section:
    """What a promotion rests on."""
    section = Section(name="reports")
    reports = [(path, read_report) for path in sorted((settings.runs / "benchmark").rglob("*.json"))]
    decisions = [(path, read_decision) for path in sorted((settings.models / "decisions").rglob("*.json"))]
    for path, read in (*reports, *decisions):
        section.looked_at += 1
        try:
            read(path)
        except (GhtraderError, OSError) as error:
            section.found("report_broken", path.relative_to(settings.home), str(error), key=path.stem)
    return section


def _registry(settings: Settings, bundles: Mapping[str, StoredBundle]) -> Section:
    """Versions of the home's registry in MLflow against bundles and champions' pointers."""
    section = Section(name="registry")
    if not has_own_database(settings):
        section.notes.append("not compared: MLFLOW_TRACKING_URI names one elsewhere")
        return section
    try:
        versions = registered_bundles(settings) or []
    except IntegrityError as error:
        section.found("registry_differs", settings.mlflow.relative_to(settings.home), error.message)
        return section
    section.looked_at = len(versions)
    for found in compare(bundles, versions, pointed_at(settings.models)):
        remedy = f"{found.detail}: `ghtrader models repair` would {REMEDIES[found.kind]}"
        section.found("registry_differs", found.where, remedy, key=found.model)
    return section
