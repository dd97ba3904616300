"""Audits a lake: every file against its manifest, every dataset against what it was made from.

Which days there are, in which order they are looked at and by how many threads, belongs here. The checks themselves
are in `files`, `ticks` and `datasets`, those of what is no day in `schedules`, `ledgers` and `index`. Reading, hashing
and decompressing run outside Python's lock, so threads of one process are enough. Nothing is ever mended or written
here but the report.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa

from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_market.audit.datasets import audit_against_source, audit_labels, source_of
from ghtrader_market.audit.files import AuditedDay, audit_folder
from ghtrader_market.audit.index import SeenDay, audit_index, stored_index
from ghtrader_market.audit.ledgers import audit_declared, audit_ledgers
from ghtrader_market.audit.report import AuditReport, Finding
from ghtrader_market.audit.schedules import audit_schedules
from ghtrader_market.audit.ticks import audit_against_raw, audit_provenance, audit_rows, inside_sessions, trades
from ghtrader_market.main_series.main_l5 import schedule_copy_path
from ghtrader_market.reference.roll_schedule import RollSchedule, load_schedule, read_schedule
from ghtrader_market.reference.trading_calendar import SHANGHAI, TradingCalendar
from ghtrader_market.reference.varieties import Variety, get_variety, variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import PARTITION_NAME

DATASETS = ("ticks", "main_l5", "features", "labels")
ALL = "all"
_LOOKED_AT = {
    "ticks": ("ticks", "ticks_l1"),
    "main_l5": ("main_l5",),
    "features": ("features",),
    "labels": ("labels",),
    ALL: ("ticks", "ticks_l1", "main_l5", "features", "labels", "daily_bars"),
}
MAX_WORKERS = 8
_DAY = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_TICKS = ("ticks", "ticks_l1", "main_l5")
Progress = Callable[[int, int, int], None]
"""(days looked at, days in all, rows so far)"""
Recompute = Callable[[Lake, AuditedDay], Iterable[str]]
"""What differs where a features or labels day is computed again, in words."""


def audit_lake(
    lake: Lake,
    calendar: TradingCalendar,
    *,
    dataset: str = ALL,
    varieties: Iterable[str] = (),
    start: date | None = None,
    end: date | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    recompute: Recompute | None = None,
) -> AuditReport:
    """Look at every day of a lake.

    Parameters
    ----------
    lake, calendar
        What is looked at, and when it trades.
    dataset : str
        One of `DATASETS` or ``all``, which adds the daily bars and what is no day: schedules, declared contracts, lists
        of missing days, the index. What a dataset was made from is read where it is
        needed, and not judged.
    varieties : iterable of str
        Only these; all where empty.
    start, end : date, optional
        Only days from `start` to `end`.
    workers : int
        Days at once; 0 for one a core.
    progress : callable, optional
        Called from this thread after each day.
    recompute : callable, optional
        Computes a features or labels day again.

    Raises
    ------
    UsageError
        No such dataset or variety.
    """
    if dataset not in _LOOKED_AT:
        raise UsageError(f"no dataset {dataset!r} to audit", f"there are {', '.join(_LOOKED_AT)}")
    wanted = {get_variety(key).key for key in varieties}
    began = time.perf_counter()
    report = AuditReport(datasets=_LOOKED_AT[dataset], started=datetime.now(UTC), recomputed=recompute is not None)
    days, stray = _days_on_disk(lake, _LOOKED_AT[dataset])
    report.findings += [finding for finding in stray if not wanted]
    every = dataset == ALL
    stored = stored_index(lake) if every else None
    groups: dict[tuple[str, date], list[tuple[str, str]]] = {}
    for name, key, day in days:
        group = _group(name, key)
        if (not wanted or group in wanted) and (start is None or day >= start) and (end is None or day <= end):
            groups.setdefault((group, day), []).append((name, key))
    schedules = {group: _Schedules.of(lake, group) for group in {group for group, _ in groups}}
    seen: dict[tuple[str, str, str], SeenDay] = {}
    look = partial(_audit_day, lake, calendar, schedules, recompute)
    done, total = 0, sum(len(items) for items in groups.values())
    with ThreadPoolExecutor(max_workers=workers or min(MAX_WORKERS, os.cpu_count() or 1)) as pool:
        for audited in pool.map(look, [(group, day, items) for (group, day), items in sorted(groups.items())]):
            done += len(audited)
            for item in audited:
                report.findings += item.findings
                report.rows += item.table.num_rows if item.table is not None else 0
                report.bytes += item.bytes
                if every:
                    seen[item.dataset, item.key, item.day.isoformat()] = SeenDay(item.manifest, bool(item.findings))
                if item.manifest is not None:
                    report.without_checksum += not item.has_checksum
                    report.origins[item.dataset, item.key, item.manifest.details.stated_origin.words] += 1
                item.table = None
            if progress is not None:
                progress(done, total, report.rows)
    report.days = total
    report.sort()
    if every:
        only = wanted or None
        report.add(
            audit_schedules(lake, calendar, only),
            audit_declared(lake, only),
            audit_ledgers(lake, report.started.astimezone(SHANGHAI).date(), only),
            audit_index(lake, stored, seen, whole=not wanted and start is None and end is None),
        )
    report.seconds = time.perf_counter() - began
    return report


def _days_on_disk(lake: Lake, datasets: Iterable[str]) -> tuple[list[tuple[str, str, date]], list[Finding]]:
    """Day folders by dataset and key, and what else lies between them."""
    days: list[tuple[str, str, date]] = []
    stray: list[Finding] = []

    def found(kind: str, dataset: str, key: str, day: date | None, path: str, detail: str) -> None:
        name = os.path.relpath(path, lake.root)
        stray.append(
            Finding(kind=kind, dataset=dataset, key=key, day=str(day) if day else "", file=name, detail=detail)
        )

    def extra(dataset: str, key: str, entry: os.DirEntry[str]) -> None:
        found("extra_file", dataset, key, None, entry.path, "it is no part of the lake")

    def listed(dataset: str, key: str, path: str | Path) -> list[os.DirEntry[str]]:
        try:
            return list(_entries(path))
        except OSError as error:
            found("unreadable_folder", dataset, key, None, str(path), error.strerror or str(error))
            return []

    for dataset in datasets:
        prefix = PARTITION_NAME[dataset] + "="
        for folder in listed(dataset, "", lake.root / dataset):
            if folder.is_symlink():
                found("symlink", dataset, "", None, folder.path, f"it leads to {os.readlink(folder)}")
            if not folder.is_dir() or not folder.name.startswith(prefix):
                if not folder.is_symlink():
                    extra(dataset, "", folder)
                continue
            key = folder.name.removeprefix(prefix)
            for entry in listed(dataset, key, folder.path):
                day = _day_of(entry.name)
                if entry.is_symlink():
                    found("symlink", dataset, key, day, entry.path, f"it leads to {os.readlink(entry)}")
                    if not entry.is_dir():
                        continue
                if day is not None and entry.is_dir():
                    days.append((dataset, key, day))
                elif entry.is_dir() or not entry.name.endswith(".json"):
                    extra(dataset, key, entry)  # ledgers and summaries of a key are JSON beside its days
    return days, stray


def _entries(path: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, by name, without hidden files; nothing where there is no folder."""
    if os.path.isdir(path):
        with os.scandir(path) as found:
            yield from sorted((e for e in found if not e.name.startswith(".")), key=lambda entry: entry.name)


def _day_of(name: str) -> date | None:
    matched = _DAY.fullmatch(name)
    try:
        return date.fromisoformat(matched[1]) if matched else None
    except ValueError:
        return None


def _group(dataset: str, key: str) -> str:
    """The variety a key belongs to, so that a day's datasets are looked at together; else the key itself."""
    if dataset == "daily_bars":
        return key
    try:
        return variety_of(key).key
    except UsageError:
        return key


@dataclass(frozen=True)
class _Schedules:
    """A variety's roll schedule, and the copy beside its main series; an error where one cannot be read."""

    kept: RollSchedule | GhtraderError | None
    copy: RollSchedule | GhtraderError | None
    copy_path: Path

    @classmethod
    def of(cls, lake: Lake, group: str) -> _Schedules:
        try:
            path = schedule_copy_path(lake, get_variety(group).continuous_symbol)
        except UsageError:
            return cls(None, None, lake.root)
        kept, copy = _read(lambda: load_schedule(lake.root, group)), None
        if path.exists():
            copy = _read(lambda: read_schedule(path, group))
        return cls(kept, copy, path)


def _read(reading: Callable[[], RollSchedule]) -> RollSchedule | GhtraderError:
    try:
        return reading()
    except GhtraderError as error:
        return error


def _audit_day(
    lake: Lake,
    calendar: TradingCalendar,
    schedules: dict[str, _Schedules],
    recompute: Recompute | None,
    task: tuple[str, date, list[tuple[str, str]]],
) -> list[AuditedDay]:
    """All datasets of one variety and day, each file read once."""
    group, day, items = task
    try:
        variety = get_variety(group)
    except UsageError:
        variety = None
    audited = {item: audit_folder(lake.root, *item, day) for item in items}

    def source(dataset: str, key: str) -> AuditedDay | None:
        """A day that others are made from; read without judging it where it is not asked for."""
        known = audited.get((dataset, key))
        if known is None and (lake.day_path(dataset, key, day)).is_dir():
            known = sources.setdefault((dataset, key), audit_folder(lake.root, dataset, key, day))
        return known

    sources: dict[tuple[str, str], AuditedDay] = {}
    for (dataset, _), item in audited.items():
        if item.manifest is not None and not trades(calendar, day):
            why = "calls it a holiday" if calendar.speaks_for(day) else "ends before"
            item.found("no_trading_day", f"the holiday list {why}")
        if variety is None:
            item.found("extra_file", "no variety of the table has this key")
        elif dataset in _TICKS:
            audit_rows(item, calendar, variety)
            if dataset == "main_l5":
                _audit_main(item, source, schedules[group], calendar, variety)
        elif dataset in ("features", "labels") and item.manifest is not None:
            _audit_dataset(item, source, calendar, variety)
            if recompute is not None and item.table is not None and not item.findings:
                for text in recompute(lake, item):
                    item.found("not_recomputed", text)
    return list(audited.values())


Source = Callable[[str, str], AuditedDay | None]


def _audit_main(
    item: AuditedDay,
    source: Source,
    schedules: _Schedules,
    calendar: TradingCalendar,
    variety: Variety,
) -> None:
    schedule, copy = schedules.kept, schedules.copy
    audit_provenance(item, schedule)
    if item.manifest is None or not trades(calendar, item.day):
        return
    if copy is not None:
        copied = copy.get(item.day) if isinstance(copy, RollSchedule) else None
        if copied is None or copied.schedule_hash != item.manifest.main_l5.schedule_hash:
            item.found("schedule_copy", "the copy does not name this day as it was built", file=schedules.copy_path)
    scheduled = schedule.get(item.day) if isinstance(schedule, RollSchedule) else None
    contract = scheduled.contract if scheduled is not None else item.manifest.main_l5.contract or ""
    if contract and "/" not in contract:
        audit_against_raw(item, source("ticks", contract), contract, calendar, variety)


def _audit_dataset(item: AuditedDay, source: Source, calendar: TradingCalendar, variety: Variety) -> None:
    dataset, _ = source_of(item)
    if dataset not in ("main_l5", "ticks"):
        item.found("source_missing", f"the manifest names {dataset!r} as its source")
        return
    origin = source(dataset, item.key)
    rows: pa.Table | None = None
    if origin is not None and origin.table is not None and trades(calendar, item.day):
        rows = origin.table
        if dataset == "ticks" and "datetime_ns" in rows.column_names:
            assert item.manifest is not None
            rows = inside_sessions(rows, calendar, variety, item.day, item.manifest.built.session_rule)
    audit_against_source(item, origin, rows)
    if item.dataset == "labels":
        audit_labels(item)
