"""Audits the index of days against the manifests, as its file is: a look through the index would mend it first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from ghtrader_base.errors import GhtraderError
from ghtrader_market.audit.report import Section
from ghtrader_market.stores.lake.day_index import INDEX_NAME, DayRow, StoredIndex, row_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest

_ANEW = "`ghtrader data coverage --rebuild` reads every manifest anew"
_OF_FILES = ("bytes", "written_ns")
"""What a row says of the file system, where a copied lake differs."""
Place = tuple[str, str, str]
"""Dataset, key, day text."""


@dataclass(frozen=True)
class SeenDay:
    """A day as the audit found it: its manifest, and whether anything of it was wrong."""

    manifest: DayManifest | None
    wrong: bool


def stored_index(lake: Lake) -> StoredIndex | GhtraderError | None:
    """What the index's file says now; None where there is none, the error where it cannot be read."""
    try:
        return lake.index.as_stored()
    except GhtraderError as error:
        return error


def audit_index(
    lake: Lake, stored: StoredIndex | GhtraderError | None, seen: Mapping[Place, SeenDay], *, whole: bool
) -> Section:
    """Hold the index against the days that were looked at.

    A key whose folder changed since the index looked is passed over: the next look reads it again. So is a day that
    something else is wrong with, which has a finding of its own.

    Parameters
    ----------
    stored : StoredIndex, GhtraderError or None
        Of `stored_index`, before anything looked through the index.
    seen : mapping
        Days that were looked at.
    whole : bool
        Those are all days of the lake.
    """
    section = Section(name="index")
    if stored is None:
        section.notes.append("there is none; the next look makes it")
        return section
    if isinstance(stored, GhtraderError):
        section.found("index_differs", INDEX_NAME, stored.message)
        return section
    section.looked_at = len(stored.rows)
    for dataset, key in sorted(stored.changed):
        if whole or any(place[:2] == (dataset, key) for place in seen):
            detail = f"rows of {dataset} {key}; the next look reads them again"
            section.found("index_changed", INDEX_NAME, detail, key=key)
    suspects = _differing(stored, seen, whole)
    if suspects:  # a writer may have been at work meanwhile
        later, now = stored_index(lake), {place: _now(lake, place) for place in suspects}
        if isinstance(later, StoredIndex):
            suspects = _differing(later, now, whole=True, among=suspects)
    for place in sorted(suspects):
        kind, detail = suspects[place]
        section.found(kind, INDEX_NAME, f"{place[0]} {place[1]}: {detail}; {_ANEW}", key=place[1], day=place[2])
    return section


def _differing(
    stored: StoredIndex, seen: Mapping[Place, SeenDay], whole: bool, among: Mapping[Place, object] | None = None
) -> dict[Place, tuple[str, str]]:
    """Days of which the index says something else than their manifests: kind of finding, and what."""
    rows = {(row.dataset, row.key, row.day): row for row in stored.rows}
    places = seen.keys() | (rows.keys() if whole else set()) if among is None else set(among)
    found = {}
    for place in places:
        day, row = seen.get(place), rows.get(place)
        if place[:2] not in stored.in_step or place in stored.marked or (day is not None and day.wrong):
            continue
        if day is None or day.manifest is None:
            if row is not None:
                found[place] = ("index_extra", "the day is not here")
        elif row is None:
            found[place] = ("index_missing", "the day is here")
        elif wrong := _differences(row, day.manifest):
            found[place] = ("index_differs", f"it has another {', '.join(wrong)}")
    return found


def _differences(row: DayRow, manifest: DayManifest) -> list[str]:
    expected = row_of((row.dataset, row.key, row.day), manifest, row.bytes, row.written_ns)
    return [
        name
        for name, has, wanted in zip(DayRow._fields, row, expected, strict=True)
        if has != wanted and name not in _OF_FILES and (name != "levels" or wanted is not None)
    ]


def _now(lake: Lake, place: Place) -> SeenDay:
    try:
        return SeenDay(lake.manifest(place[0], place[1], date.fromisoformat(place[2])), False)
    except (GhtraderError, OSError, ValueError):
        return SeenDay(None, True)
