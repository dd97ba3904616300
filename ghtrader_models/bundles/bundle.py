"""Writes and reads a model bundle: weights, factor spec, label spec, policy and provenance in one folder, no pickle.

What belongs here: the folder's layout, writing it whole or not at all, and reading it back only after every byte
has matched the manifest. What a model file means is decided in `inference`; which bundle trades in `champions`.

Layout of ``models/bundles/<bundle_id>/``:

- ``manifest.json``: format, kind of model, bundle id, size and sha256 of every other file;
- the model file (``model.json``, ``model.ubj``, ``model.txt`` or ``model.onnx``; ``model.safetensors``, alone or beside
  it, of a network that is stepped row by row);
- ``factors.json``: the factor set's spec, its hash, the factor names in the order of the model's inputs;
- ``labels.json``: the label spec; ``policy.json``: thresholds;
- ``normaliser.json``, where the model wants its inputs on one scale: `feature_scaler.FeatureScaler`;
- ``provenance.json``: ``content`` (symbol, horizon, price tick, levels, training span, days with the hashes of their
  ticks, schedule, features and labels, seed, configuration) and ``run`` (run id, time, git commit, versions of
  packages, hash of the splits, scores), see `provenance`.

The bundle id is the hash of everything but ``run``: the same data, seed and configuration give the same bundle,
whoever trains it and when. A folder is named by the id, and holds that bundle or is refused; the champion's pointer
keeps the hash of the manifest, which covers ``run`` too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ghtrader_base.errors import GhtraderError, IntegrityError, UsageError
from ghtrader_base.files import content_hash, ensure_dir, fsync_dir, open_file, parse_json, read_bytes
from ghtrader_base.private_files import FILE_MODE
from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.bundles.provenance import BundleContent, BundleProvenance, TrainingRun
from ghtrader_models.bundles.schema_versions import require_schema
from ghtrader_models.factors.factor_set import FactorSet, FactorSetSpec
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.policy import PolicyParams

FORMAT_VERSION = 2
_FORMAT_NAME = "ghtrader-bundle"
FORMAT = f"{_FORMAT_NAME}/{FORMAT_VERSION}"
"""Format 1 did not say the training span, the hashes of ticks and schedule, and how it was made; it opens as it is."""
MANIFEST = "manifest.json"
FACTORS, LABELS, POLICY, PROVENANCE = "factors.json", "labels.json", "policy.json", "provenance.json"
_PARTS = (FACTORS, LABELS, POLICY, PROVENANCE)
NORMALISER = "normaliser.json"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")
_ID_LENGTH = 16
_ID = re.compile(rf"[0-9a-f]{{{_ID_LENGTH}}}")
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt")
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
"""Of a pickle of protocol 2 or later, and of torch's archives of them."""
_HINT = "do not use it; train the model again or restore the folder"
_NEWER = "it was made by a newer ghtrader: use that one, or train the model again with this one"


class SavableModel(Protocol):
    """What a bundle needs of a trained model."""

    kind: str
    n_features: int

    def save(self, directory: Path) -> None:
        """Write the model's own files into `directory`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose every byte has matched its manifest.

    Attributes
    ----------
    path : Path
        The folder.
    bundle_id : str
        Hash of the content, 16 hex digits.
    manifest_sha256 : str
        Hex sha256 of the manifest, which names the sha256 of every other file.
    kind : str
        Name of the family; decides what reads the model file (`inference.predictors.DECODERS`).
    model_files : mapping of str to bytes
        The model's own files.
    factor_set_spec : FactorSetSpec
        For `FactorSet.from_spec`.
    factor_names : tuple of str
        Inputs of the model, in order.
    factor_spec_hash : str
        Of the factor set.
    label_spec : LabelSpec
        What the model was trained to predict.
    policy : PolicyParams
        Thresholds of the decision rule.
    provenance : BundleProvenance
        What it was made of, and in which run.
    normaliser : FeatureScaler or None
        What puts the model's inputs on one scale, fitted on its training span.
    """

    path: Path
    bundle_id: str
    manifest_sha256: str
    kind: str
    model_files: Mapping[str, bytes]
    factor_set_spec: FactorSetSpec
    factor_names: tuple[str, ...]
    factor_spec_hash: str
    label_spec: LabelSpec
    policy: PolicyParams
    provenance: BundleProvenance
    normaliser: FeatureScaler | None = None

    @property
    def content(self) -> BundleContent:
        """The part of the provenance that the bundle id covers."""
        return self.provenance.content

    @property
    def symbol(self) -> str:
        """Series the model was trained on, for example KQ.m@SHFE.cu."""
        return self.content.symbol

    @property
    def horizon(self) -> int:
        """Ticks ahead the model predicts."""
        return self.content.horizon

    @property
    def price_tick(self) -> float:
        """Price step of the contracts it was trained on, CNY."""
        return self.content.price_tick

    @property
    def levels(self) -> int:
        """Book levels the factors need: 5 or 1."""
        return self.content.levels


def bundles_dir(models_dir: Path) -> Path:
    """Where bundles live under the models folder."""
    return models_dir / "bundles"


def write_bundle(
    models_dir: Path,
    model: SavableModel,
    factor_set_spec: FactorSetSpec,
    label_spec: LabelSpec,
    policy: PolicyParams,
    content: BundleContent,
    *,
    run: TrainingRun | None = None,
    normaliser: FeatureScaler | None = None,
) -> Path:
    """Write a bundle: into a temporary folder, fsynced, then renamed to its id.

    Parameters
    ----------
    models_dir : Path
        `Settings.models`.
    model : SavableModel
        The trained model.
    factor_set_spec : FactorSetSpec
        What the model was trained on; the factors in the order of the model's inputs.
    label_spec : LabelSpec
        What it was trained to predict.
    policy : PolicyParams
        Thresholds fitted on the same rows.
    content : BundleContent
        Everything in it counts for the bundle id.
    run : TrainingRun, optional
        What differs from run to run and not in the model.
    normaliser : FeatureScaler, optional
        Of the same factors, in the same order.

    Returns
    -------
    Path
        The bundle's folder. Where the same bundle is there already it is checked and kept.

    Raises
    ------
    UsageError
        No factor set, or one that does not fit the model or the normaliser.
    IntegrityError
        A folder of this id is there and is damaged.
    """
    factors = FactorSet.from_spec(factor_set_spec)
    if len(factors) != model.n_features:
        raise UsageError(f"{len(factors)} factors for a model of {model.n_features} inputs", "train it on this set")
    if normaliser is not None and normaliser.names != factors.names:
        raise UsageError("the normaliser is of other factors than the model", "fit it on the model's training span")
    root = ensure_dir(bundles_dir(models_dir))
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=root))
    try:
        model.save(temporary)
        parts = {
            FACTORS: {
                "spec": factors.spec().to_dict(), "spec_hash": factors.spec_hash, "names": list(factors.names)
            },
            LABELS: label_spec.to_dict(),
            POLICY: policy.to_dict(),
            PROVENANCE: BundleProvenance(content=content, run=run or TrainingRun()).to_dict(),
            **({NORMALISER: normaliser.to_dict()} if normaliser is not None else {}),
        }
        for name, part in parts.items():
            (temporary / name).write_text(json.dumps(part, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        contents = {path.name: path.read_bytes() for path in sorted(temporary.iterdir())}
        manifest = _manifest(model.kind, contents)
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        for path in temporary.iterdir():
            path.chmod(FILE_MODE)
            _fsync_file(path)
        fsync_dir(temporary)
        target: Path = root / manifest["bundle_id"]
        if not target.exists():
            # another writer of the same content may still come first
            with contextlib.suppress(OSError):
                os.rename(temporary, target)
                fsync_dir(root)
        load_bundle(target)
        return target
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_bundle(path: Path, bundle_id: str = "") -> Bundle:
    """Read a bundle, every file checked against the manifest before anything in it is parsed.

    Parameters
    ----------
    path : Path
        Its folder.
    bundle_id : str
        The bundle that is asked for; where empty, a folder named like an id holds the bundle of that id.

    Raises
    ------
    UsageError
        There is no bundle at `path`.
    IntegrityError
        A file is missing, differs from the manifest or is a pickle, the bundle id is not the content's or not the one
        asked for, or its schema version is none that a strategy can work on.
    """
    path = Path(path)
    asked = bundle_id or (path.name if _ID.fullmatch(path.name) else "")
    if not (path / MANIFEST).is_file():
        raise UsageError(f"no model bundle at {path}", "`ghtrader models list` shows the bundles there are")
    try:
        manifest_bytes = read_bytes(path / MANIFEST)
        manifest = parse_json(manifest_bytes)
        _require_format(path.name, manifest["format"])
        kind, claimed, files = str(manifest["kind"]), str(manifest["bundle_id"]), dict(manifest["files"])
        expected = {str(name): str(entry["sha256"]) for name, entry in files.items()}
        sizes = {str(name): entry["bytes"] for name, entry in files.items()}
    except (ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"the manifest of {path.name} does not read: {exc!r}", _HINT) from exc
    if any(not _NAME.fullmatch(name) or name == MANIFEST for name in expected) or set(_PARTS) - set(expected):
        raise IntegrityError(f"the manifest of {path.name} names wrong files: {sorted(expected)}", _HINT)
    contents: dict[str, bytes] = {}
    for name, digest in expected.items():
        try:
            with open_file(path / name) as file:
                contents[name] = file.read()
        except OSError as exc:
            raise IntegrityError(f"bundle {path.name}: cannot read {name}: {exc.strerror}", _HINT) from exc
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise IntegrityError(f"bundle {path.name}: {name} is not what the manifest says", _HINT)
        if name.endswith(_PICKLE_NAMES) or _begins_like_a_pickle(contents[name]):
            raise IntegrityError(f"bundle {path.name}: {name} is a pickle, which could run anything", _HINT)
    bundle = _parse(path, kind, claimed, contents, hashlib.sha256(manifest_bytes).hexdigest())
    if wrong := [name for name, size in sizes.items() if size != len(contents[name])]:
        raise IntegrityError(f"bundle {path.name}: {wrong[0]} is not what the manifest says", _HINT)
    if asked and bundle.bundle_id != asked:
        raise IntegrityError(f"bundle {asked} was asked for, its folder holds {bundle.bundle_id}", _HINT)
    return bundle


def list_bundles(models_dir: Path) -> list[Path]:
    """Folders of all bundles, by id."""
    root = bundles_dir(models_dir)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if (path / MANIFEST).is_file() and not path.name.startswith("."))


def _require_format(name: str, found: object) -> None:
    """IntegrityError where the format is none that this version reads."""
    what, _, number = str(found).partition("/")
    version = int(number) if number.isascii() and number.isdigit() else 0
    if what == _FORMAT_NAME and 1 <= version <= FORMAT_VERSION:
        return
    hint = _NEWER if what == _FORMAT_NAME and version > FORMAT_VERSION else _HINT
    raise IntegrityError(f"bundle {name} has format {found!r}, this version reads up to {FORMAT!r}", hint)


def _begins_like_a_pickle(data: bytes) -> bool:
    """A safetensors file begins with a length, which may look like one for two bytes; the third is 0, and no opcode."""
    return data.startswith(_PICKLE_STARTS) and data[2:3] != b"\0"


def _parse(path: Path, kind: str, claimed: str, contents: dict[str, bytes], manifest_sha256: str) -> Bundle:
    try:
        factors, labels, policy, provenance = (parse_json(contents[name]) for name in _PARTS)
        bundle_id = _bundle_id(kind, contents, provenance)
        if bundle_id != claimed:
            raise IntegrityError(f"bundle {path.name} calls itself {claimed}, its content is {bundle_id}", _HINT)
        require_schema("strategy", provenance["content"], f"bundle {path.name}")
        return Bundle(
            path=path,
            bundle_id=bundle_id,
            manifest_sha256=manifest_sha256,
            kind=kind,
            model_files={name: data for name, data in contents.items() if name not in (*_PARTS, NORMALISER)},
            factor_set_spec=FactorSetSpec.from_dict(factors["spec"]),
            factor_names=tuple(str(name) for name in factors["names"]),
            factor_spec_hash=str(factors["spec_hash"]),
            label_spec=LabelSpec.from_dict(labels),
            policy=PolicyParams.from_dict(policy),
            provenance=BundleProvenance.from_dict(provenance),
            normaliser=FeatureScaler.from_dict(parse_json(contents[NORMALISER])) if NORMALISER in contents else None,
        )
    except IntegrityError:
        raise
    except GhtraderError as exc:
        raise IntegrityError(f"bundle {path.name} does not read: {exc.message}", _HINT) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"bundle {path.name} does not read: {exc!r}", _HINT) from exc


def _manifest(kind: str, contents: dict[str, bytes]) -> dict[str, Any]:
    provenance = parse_json(contents[PROVENANCE])
    return {
        "format": FORMAT,
        "bundle_id": _bundle_id(kind, contents, provenance),
        "kind": kind,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()
        },
    }


def _bundle_id(kind: str, contents: Mapping[str, bytes], provenance: Mapping[str, Any]) -> str:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items() if name != PROVENANCE}
    return content_hash({"kind": kind, "files": hashes, "content": provenance["content"]})[:_ID_LENGTH]


def _fsync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
