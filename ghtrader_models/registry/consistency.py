"""Compares the bundles of a home with MLflow's registry, names each difference, and makes the two agree again.

What belongs here: what counts as a difference, and what mends it. A bundle is written first and registered after it;
the champion's pointer moves before MLflow's alias: a process that is killed between the two leaves one behind. What
is on the disk of the home decides: bundles and pointers are what trades.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import GhtraderError
from ghtrader_base.files import ensure_dir, fsync_dir
from ghtrader_base.private_files import FILE_MODE
from ghtrader_models.bundles.bundle import Bundle, bundles_dir, list_bundles, load_bundle
from ghtrader_models.bundles.champions import pointer_paths, read_pointer
from ghtrader_models.registry.mlflow_tracking import RegisteredBundle, Tracker, model_name, registered_bundles

if TYPE_CHECKING:
    import numpy as np

    from ghtrader_base.settings import Settings

CHAMPION = "champion"


class Difference(StrEnum):
    """How bundles and registry differ."""

    NOT_REGISTERED = "not_registered"
    BUNDLE_GONE = "bundle_gone"
    BUNDLE_LOST = "bundle_lost"
    COPY_DAMAGED = "copy_damaged"
    REGISTERED_TWICE = "registered_twice"
    CHAMPION_DIFFERS = "champion_differs"


REMEDIES = {
    Difference.NOT_REGISTERED: "register it",
    Difference.BUNDLE_GONE: "put it back from MLflow's copy",
    Difference.BUNDLE_LOST: "take the version out of the registry; its run stays",
    Difference.COPY_DAMAGED: "write MLflow's copy again",
    Difference.REGISTERED_TWICE: "take this version out of the registry; its run stays",
    Difference.CHAMPION_DIFFERS: "make the alias say what the pointer says",
}
"""What `mend` does about each, as a sentence goes on."""


@dataclass(frozen=True)
class StoredBundle:
    """What comparing needs of a bundle of the home.

    Attributes
    ----------
    model : str
        The registered model it belongs to.
    by_pipeline : bool
        Whether a run of the pipeline made it, which registers what it makes; one that a person wrote by a script need
        not be registered.
    """

    model: str
    by_pipeline: bool

    @classmethod
    def of(cls, bundle: Bundle) -> StoredBundle:
        """Of a loaded bundle."""
        return cls(model_name(bundle.symbol, bundle.horizon), bool(bundle.provenance.run.run_id))


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One difference.

    Attributes
    ----------
    kind : Difference
    model : str
        The registered model.
    version : str
        Empty where there is none.
    bundle_id : str
        Empty where no bundle is meant.
    detail : str
        A sentence.
    """

    kind: Difference
    model: str
    version: str = ""
    bundle_id: str = ""
    detail: str

    @property
    def where(self) -> str:
        """The version or the bundle, for people."""
        return f"{self.model} version {self.version}" if self.version else f"{self.model} bundle {self.bundle_id}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, with what mends it."""
        return {**asdict(self), "kind": self.kind.value, "remedy": REMEDIES[self.kind]}


def compare(
    bundles: Mapping[str, StoredBundle], versions: Sequence[RegisteredBundle], pointers: Mapping[str, str]
) -> list[Disagreement]:
    """Every difference between the home and its registry.

    Parameters
    ----------
    bundles : mapping of bundle id to StoredBundle
        Those that are whole.
    versions : sequence of RegisteredBundle
        Of the registry.
    pointers : mapping of registered model to bundle id
        As `pointed_at` gives them.
    """
    found: list[Disagreement] = []
    first: dict[tuple[str, str], RegisteredBundle] = {}
    for each in sorted(versions, key=lambda version: (not version.aliases, version.model, int(version.version))):
        about = {"model": each.model, "version": each.version, "bundle_id": each.bundle_id}
        known = bundles.get(each.bundle_id)
        if known is None or known.model != each.model:
            named = f"its {' and '.join(each.aliases)}, " if each.aliases else ""
            what = f"bundle {each.bundle_id}, {named}" if each.bundle_id else f"a bundle without an id, {named}"
            whole = each.bundle_id and _is_copy(each)
            kind = Difference.BUNDLE_GONE if whole else Difference.BUNDLE_LOST
            end = "is not here or is damaged" + ("" if whole else ", MLflow's copy of it too")
            found.append(Disagreement(kind=kind, **about, detail=f"{what}{end}"))
        elif (earlier := first.setdefault((each.model, each.bundle_id), each)) is not each:
            detail = f"bundle {each.bundle_id} is version {earlier.version} already"
            found.append(Disagreement(kind=Difference.REGISTERED_TWICE, **about, detail=detail))
        elif each.copy is not None and not _is_copy(each):
            detail = f"MLflow's copy of bundle {each.bundle_id} is gone or damaged"
            found.append(Disagreement(kind=Difference.COPY_DAMAGED, **about, detail=detail))
    for bundle_id, stored in sorted(bundles.items()):
        if stored.by_pipeline and (stored.model, bundle_id) not in first:
            detail = f"bundle {bundle_id} is not registered"
            about = {"model": stored.model, "bundle_id": bundle_id}
            found.append(Disagreement(kind=Difference.NOT_REGISTERED, **about, detail=detail))
    return [*found, *_champions(bundles, versions, pointers)]


def _champions(
    bundles: Mapping[str, StoredBundle], versions: Sequence[RegisteredBundle], pointers: Mapping[str, str]
) -> list[Disagreement]:
    aliased = {each.model: each for each in versions if CHAMPION in each.aliases}
    found: list[Disagreement] = []
    for model, bundle_id in sorted(pointers.items()):
        named = aliased[model].bundle_id if model in aliased else ""
        wanted = bundle_id in bundles and bundles[bundle_id].by_pipeline
        if not bundle_id or named == bundle_id or (not named and not wanted):
            continue  # what is wrong with a pointer itself, or with its bundle, is told of those
        detail = f"the pointer names {bundle_id}, MLflow's champion is {named or 'nobody'}"
        found.append(Disagreement(kind=Difference.CHAMPION_DIFFERS, model=model, bundle_id=bundle_id, detail=detail))
    for model, version in sorted(aliased.items()):
        if model not in pointers:
            detail = f"no pointer names a champion, MLflow's is {version.bundle_id}"
            found.append(
                Disagreement(kind=Difference.CHAMPION_DIFFERS, model=model, version=version.version, detail=detail)
            )
    return found


def _is_copy(version: RegisteredBundle) -> bool:
    """Whether MLflow's own copy is the bundle, every byte of it."""
    if version.copy is None:
        return False
    try:
        return load_bundle(version.copy, version.bundle_id).bundle_id == version.bundle_id
    except (GhtraderError, OSError):
        return False


def disagreements(settings: Settings) -> list[Disagreement]:
    """Every difference in a home, whose registry is its own.

    Raises
    ------
    IntegrityError
        MLflow's database cannot be read.
    """
    bundles: dict[str, StoredBundle] = {}
    for path in list_bundles(settings.models):
        try:
            bundle = load_bundle(path, path.name)
        except (GhtraderError, OSError):
            continue
        bundles[bundle.bundle_id] = StoredBundle.of(bundle)
    return compare(bundles, registered_bundles(settings) or [], pointed_at(settings.models))


def pointed_at(models_dir: Path) -> dict[str, str]:
    """Registered model -> bundle id that the champion's pointer names; empty where the pointer does not read."""
    found: dict[str, str] = {}
    for path in pointer_paths(models_dir):
        try:
            champion = read_pointer(path)[0]
        except (GhtraderError, OSError):
            found[model_name(path.parent.name, int(path.stem.removeprefix("h")))] = ""
            continue
        found[model_name(champion.symbol, champion.horizon)] = champion.bundle_id
    return found


def mend(
    settings: Settings, found: Disagreement, tracker: Tracker, example: Callable[[Bundle], np.ndarray | None]
) -> None:
    """Make home and registry agree about one difference; nothing of a bundle is lost.

    Parameters
    ----------
    settings : Settings
    found : Disagreement
        As `disagreements` gave it.
    tracker : Tracker
        Of the home.
    example : callable
        Rows that show what a bundle's model takes.

    Raises
    ------
    GhtraderError
        The bundle, its copy or the registry cannot be read or written.
    """
    if found.kind is Difference.BUNDLE_GONE:
        versions = registered_bundles(settings) or []
        (copy,) = [each.copy for each in versions if (each.model, each.version) == (found.model, found.version)]
        assert copy is not None
        _put_back(settings.models, copy, found.bundle_id)
        return
    if found.kind in (Difference.BUNDLE_LOST, Difference.REGISTERED_TWICE):
        tracker.remove_version(found.model, found.version)
        return
    if found.kind is Difference.CHAMPION_DIFFERS and not found.bundle_id:
        tracker.remove_alias(found.model, CHAMPION)
        return
    bundle = load_bundle(bundles_dir(settings.models) / found.bundle_id)
    if found.kind is Difference.COPY_DAMAGED:
        tracker.log_copy(bundle, found.version, example(bundle))
        return
    alias = CHAMPION if found.kind is Difference.CHAMPION_DIFFERS else None
    tags = {"dagster.run_id": bundle.provenance.run.run_id} if bundle.provenance.run.run_id else {}
    tracker.register_bundle(bundle, alias=alias, tags=tags, example=example(bundle))


def _put_back(models_dir: Path, copy: Path, bundle_id: str) -> None:
    """Write a bundle from a copy of it, whole or not at all; a damaged folder of its name is kept beside it."""
    root = ensure_dir(bundles_dir(models_dir))
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=root))
    try:
        for path in load_bundle(copy, bundle_id).path.iterdir():
            with open(temporary / path.name, "xb") as file:
                file.write(path.read_bytes())
                os.fchmod(file.fileno(), FILE_MODE)
                file.flush()
                os.fsync(file.fileno())
        fsync_dir(temporary)
        load_bundle(temporary, bundle_id)
        target = root / bundle_id
        if target.exists():
            os.rename(target, Path(tempfile.mkdtemp(prefix=f".damaged-{bundle_id}-", dir=root)) / bundle_id)
        os.rename(temporary, target)
        fsync_dir(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
