"""Defines the kinds of findings, a finding, and the report of an audit."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ghtrader_base.files import atomic_write_json

MEANING = {
    "manifest_missing": "a day's file is here without the manifest that says what it is",
    "manifest_broken": "the manifest does not parse, was edited, or is that of another day",
    "file_missing": "the file that the manifest names is not here",
    "sidecar_missing": "the file has no sha256 beside it",
    "sidecar_wrong": "the sidecar is not the file's sha256, while the manifest's is",
    "checksum": "the file's bytes are not those its manifest names",
    "unreadable_file": "the file is no whole Parquet file",
    "row_count": "the file has another number of rows than its manifest says",
    "schema": "columns or types are not those of the dataset and the manifest",
    "content_hash": "the rows are not those whose hash the manifest names",
    "time_range": "the first or last time is not what the manifest says",
    "levels": "the book has another number of levels than the manifest says",
    "extra_file": "a file that no manifest names",
    "symlink": "a link inside the lake: what it leads to is read, and may be changed or gone without a trace here",
    "unreadable_folder": "a folder of the lake cannot be listed",
    "no_trading_day": "the holiday list does not have the day as a trading day; nothing of it was deleted",
    "wrong_day": "rows belong to another trading day",
    "disordered_rows": "times fall, or ids do not rise",
    "negative_value": "a count or a price is below 0",
    "volume_backwards": "cumulative volume or amount falls",
    "crossed_book": "inside a session the best bid is above the best ask",
    "provenance_missing": "rows do not name contract, segment or schedule",
    "wrong_contract": "rows name another contract than the schedule",
    "wrong_segment_id": "rows name another segment than the schedule",
    "stale_schedule_hash": "the day was made under another schedule than there is now",
    "schedule_broken": "there is no schedule to hold main_l5 against, or its hashes are not those of its days",
    "schedule_copy": "the copy of the schedule beside the data does not name the days as they were built",
    "not_scheduled": "the schedule does not have the day",
    "source_missing": "the day that this one was made from is not here",
    "outdated": "the day that this one was made from has other content now",
    "wrong_origin": "the day says that its ticks come from elsewhere than those it was made from say",
    "differs_from_raw": "rows are not those of the scheduled contract's raw ticks inside the sessions",
    "differs_from_source": "times, mid or provenance are not those of the day it was made from",
    "label_value": "a label is no class, or looks beyond the day",
    "label_counts": "labels are not those that the manifest counted",
    "not_recomputed": "computing the day again from its source gives other values",
    "next_contract": "the schedule says that another contract trades next than the stored daily bars do",
    "declared_wrong": "a contract is declared main on a day whose ticks are of others, or the file was edited",
    "no_data_wrong": "a day is called empty that has ticks, has traded, or is not over",
    "ledger_broken": "a list of skipped or empty days does not parse",
    "reference_broken": "a list of holidays or contracts does not parse, or was edited",
    "index_changed": "rows of the index were changed by somebody else",
    "index_missing": "the index does not have a day that is here",
    "index_extra": "the index has a day that is not here",
    "index_differs": "the index says other things of a day than its manifest",
    "bundle_broken": "a model bundle is not what its manifest or its name says",
    "champion_broken": "a champion's pointer, history or bundle was edited, is damaged or gone",
    "champion_older": "a champion's pointer names an earlier promotion than the last of its history",
    "candidate_broken": "the note of a family's last bundle was edited, or the bundle is gone or another one",
    "report_broken": "a walk-forward report or a decision of the gate does not parse, or was edited",
    "registry_differs": "MLflow's registry and the champions or bundles of the home differ",
    "questdb_missing": "QuestDB does not have rows that the lake has",
    "questdb_extra": "QuestDB has rows that the lake does not have",
    "questdb_differs": "QuestDB has other values than the lake",
    "questdb_conflict": "QuestDB holds several different rows for one moment",
}
SECTIONS = (
    "reference", "schedules", "declared", "ledgers", "index", "bundles", "champions", "candidates", "reports",
    "registry",
)  # fmt: skip
"""What is audited besides days, in the order of the report."""
MAX_PRINTED = 1000
"""Findings in a report; the counts by kind are of all."""


def in_utf8(text: str) -> str:
    """Text with what UTF-8 has no bytes for as escapes: a file's name may be any bytes."""
    return text.encode(errors="backslashreplace").decode()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    kind : str
        One of `MEANING`.
    dataset, key : str
        ``main_l5``, ``KQ.m@SHFE.cu``; one of `SECTIONS` where it is about no dataset.
    day : str
        Trading day, YYYY-MM-DD; empty where it is about no single day.
    file : str
        Under the lake's folder, of models under the home; a table where it is QuestDB.
    detail : str
        What was found and what was expected.
    row : int, optional
        First row concerned.
    """

    kind: str
    dataset: str
    key: str
    day: str
    file: str
    detail: str
    row: int | None = None

    def __post_init__(self) -> None:
        """Keep what a report can hold."""
        for name in ("key", "file", "detail"):
            object.__setattr__(self, name, in_utf8(getattr(self, name)))

    def line(self) -> str:
        """For a terminal."""
        return f"{self.kind}: {self.dataset} {self.key} {self.day or '-'}: {self.detail} ({self.file})"


@dataclass(kw_only=True)
class Section:
    """What was looked at of one kind of thing that is no day.

    Attributes
    ----------
    name : str
        One of `SECTIONS`.
    looked_at : int
        Files or entries.
    notes : list of str
        What is worth knowing and no fault, such as a file of an older version that has no checksum.
    """

    name: str
    looked_at: int = 0
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def found(self, kind: str, file: str | Path, detail: str, *, key: str = "", day: str = "") -> None:
        """Note a finding of this section."""
        self.findings.append(Finding(kind=kind, dataset=self.name, key=key, day=day, file=str(file), detail=detail))

    def line(self) -> str:
        """For a terminal."""
        found = f"{len(self.findings)} findings" if self.findings else "nothing found"
        return "; ".join([f"{self.name}: {self.looked_at} looked at, {found}", *map(in_utf8, self.notes)])

    def to_json(self) -> dict[str, Any]:
        """The section; its findings are among the report's."""
        return {
            "name": self.name, "looked_at": self.looked_at, "findings": len(self.findings),
            "notes": [in_utf8(note) for note in self.notes],
        }  # fmt: skip


@dataclass(kw_only=True)
class AuditReport:
    """What was looked at and what was found.

    Attributes
    ----------
    days, rows, bytes : int
        Day folders, rows and bytes read.
    questdb : str
        Whether QuestDB was compared, and if not, why.
    origins : Counter
        (dataset, key, where its ticks come from in words) -> days.
    sections : list of Section
        What is no day; in `add`'s order.
    without_checksum : int
        Days whose manifest an older version wrote, without a checksum.
    """

    datasets: tuple[str, ...]
    started: datetime
    days: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    recomputed: bool = False
    questdb: str = "not configured"
    origins: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    without_checksum: int = 0

    def add(self, *sections: Section) -> None:
        """Take sections in, and their findings."""
        self.sections += sections
        self.findings += [finding for section in sections for finding in section.findings]
        self.sort()

    def sort(self) -> None:
        """Findings in order of dataset or section, key and day."""
        places = {name: place for place, name in enumerate([*self.datasets, *SECTIONS])}
        self.findings.sort(key=lambda f: (places.get(f.dataset, len(places)), f.key, f.day, f.file, f.kind))

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """The report, its findings in order of dataset, key and day."""
        return {
            "ok": self.ok,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "datasets": list(self.datasets),
            "days": self.days,
            "rows": self.rows,
            "bytes": self.bytes,
            "rows_per_s": round(self.rows / self.seconds) if self.seconds else 0,
            "recomputed": self.recomputed,
            "questdb": self.questdb,
            "origins": [
                {"dataset": dataset, "key": key, "origin": origin, "days": days}
                for (dataset, key, origin), days in sorted(self.origins.items())
            ],
            "without_checksum": self.without_checksum,
            "sections": [section.to_json() for section in self.sections],
            "by_kind": dict(sorted(Counter(finding.kind for finding in self.findings).items())),
            "meaning": {kind: MEANING[kind] for kind in sorted({finding.kind for finding in self.findings})},
            "findings": [asdict(finding) for finding in self.findings[:MAX_PRINTED]],
        }

    def origin_words(self) -> str:
        """Each origin with its days, of raw ticks where any were looked at."""
        ticks = any(dataset == "ticks" for dataset, _, _ in self.origins)
        counted: Counter[str] = Counter()
        for (dataset, _, origin), days in self.origins.items():
            counted[origin] += days if dataset == "ticks" or not ticks else 0
        return "; ".join(f"{origin} ({days} days)" for origin, days in counted.most_common() if days) or "none"

    def write(self, runs: Path) -> Path:
        """Keep it under `runs/audit/`; returns the path."""
        stamp = f"{self.started:%Y%m%d-%H%M%S-%f}"
        path = runs / "audit" / f"{stamp}.json"
        atomic_write_json(path, self.to_json())
        return path
