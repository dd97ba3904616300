"""Checks the schema versions of stored features, labels and bundles: which ones each entry point can work on.

What belongs here: the version numbers, the table, the refusal. A version stands in the manifest of every features and
labels day and in every bundle; what carries none is of version 1. Raise `SCHEMA_VERSION` when stored columns or
manifests change their meaning, and say in `VERSIONS` what changed and in `COMPATIBLE` who still reads it.
"""

from __future__ import annotations

from typing import Any

from ghtrader_base.errors import IntegrityError
from ghtrader_market.stores.day_details import BuiltDetails

SCHEMA_VERSION = 2
VERSIONS = {
    1: "features and labels days without schema version, schedule hash and quality in their manifests",
    2: "days name schema version, source, segment, schedule hash and quality; labels by definition; bundles say theirs",
}
"""What each version is."""
COMPATIBLE: dict[int, frozenset[str]] = {
    1: frozenset({"strategy"}),
    2: frozenset({"build", "train", "benchmark", "strategy"}),
}
"""Version -> entry points that work on what has it. A bundle of version 1 still means the same when it trades."""
_REMEDY = {
    "build": "rebuild the days: ghtrader build with --overwrite",
    "train": "rebuild the days first: ghtrader build with --overwrite",
    "benchmark": "rebuild the days first: ghtrader build with --overwrite",
    "strategy": "train and promote a model with this version: ghtrader build --overwrite, then ghtrader train",
}


def schema_version_of(document: Any) -> int:
    """The version a manifest's details or a bundle's content names; 1 where it names none, 0 where it is nonsense."""
    if isinstance(document, BuiltDetails):
        if document.schema_version is not None:
            return document.schema_version
        return 0 if "schema_version" in document.unknown else 1
    found = document.get("schema_version", 1)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def require_schema(entry: str, document: Any, what: str) -> None:
    """Check one stored thing before `entry` works on it.

    Parameters
    ----------
    entry : str
        "build", "train", "benchmark" or "strategy".
    document : BuiltDetails or mapping
        What a day's manifest says, or a bundle's content.
    what : str
        How to name it to a person: "features of KQ.m@SHFE.cu on 2025-01-02".

    Raises
    ------
    IntegrityError
        Its version is not one that `entry` can read; says what to do.
    """
    version = schema_version_of(document)
    if entry in COMPATIBLE.get(version, frozenset()):
        return
    remedy = _REMEDY[entry]
    if version > SCHEMA_VERSION:
        remedy = "it was made by a newer ghtrader: use that one, or " + remedy
    raise IntegrityError(f"{what}: schema version {version}, {entry} reads {_readable(entry)}", remedy)


def _readable(entry: str) -> str:
    return " and ".join(str(version) for version, entries in sorted(COMPATIBLE.items()) if entry in entries)
