"""Imports recordings: reads and checks all files first, then writes them into the store day by day.

A recording of one contract says no more than that contract: it declares the day's main contract, since there is no
other whose open interest could be compared. Files are parsed in `sources.recordings`, single rows judged in
`row_judgement`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError, EmptyRecordingError, RefusedError, UsageError
from ghtrader_market.ingest.joined_files import join_files
from ghtrader_market.ingest.report import IngestReport, Progress, ProgressLine
from ghtrader_market.ingest.run_manifest import RunManifest
from ghtrader_market.reference.row_judgement import RowFault, judge_rows
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, missing_columns, table_hash
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.recordings.contract_rows import ColumnMap, ReadOptions, RecordedDay, check_day
from ghtrader_market.sources.recordings.reader import read_days, require_options
from ghtrader_market.sources.recordings.recording_file import RecordingFile
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.day_rows import NOTE_OF, repeated_rows
from ghtrader_market.stores.lake.declared_days import load_declared, save_declared

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

TICKS = "ticks"
_KEPT_BYTES = 256 << 20
"""Of tables that stay in memory between reading and writing; what goes beyond is read again."""
_ENDINGS = frozenset({".csv", ".tsv", ".gz", ".parquet", ".pq", ".db", ".sqlite", ".sqlite3", ".dsb", ".npz", ".npy"})
"""Files of a folder that are taken for recordings; a file that is named is always read."""
_SECOND_NS = 1_000_000_000
_CLOCKS_DIFFER_NS = 3600 * 1_000_000_000
"""How far ahead of this machine's clock a recorder's may be."""


@dataclass(frozen=True, kw_only=True)
class _FoundDay:
    """One contract-day of a file, or of several that were joined, checked; its rows where memory had room for them."""

    name: str
    files: tuple[str, ...]
    digest: str
    rows: int
    part: RecordedDay | None = field(repr=False)
    notes: tuple[str, ...]
    details: TickDetails

    @property
    def nbytes(self) -> int:
        """Memory of its rows."""
        return 0 if self.part is None else int(self.part.table.nbytes) + self.part.rows.nbytes

    @property
    def sources(self) -> str:
        """Its files by their names."""
        return ", ".join(Path(each).name for each in self.files)


_Key = tuple[str, date]


def recording_files(paths: Iterable[Path | str]) -> tuple[list[Path], list[Path]]:
    """The files to read, folders opened, and those of the folders that are left out.

    Raises
    ------
    UsageError
        There is nothing to read.
    """
    files: list[Path] = []
    left_out: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        for each in sorted(path.rglob("*")):
            if each.name.startswith(".") or (each.is_dir() and not each.is_symlink()):
                continue
            # A link to a folder is not followed (it may lead back here), nor is a pipe read: they are named.
            taken = each.is_file() and each.suffix.lower() in _ENDINGS
            (files if taken else left_out).append(each)
    if not files:
        raise UsageError("no file to import", "name files of ticks, or a folder that holds some")
    return files, left_out


def import_recordings(
    paths: Iterable[Path | str],
    lake: Lake,
    calendar: TradingCalendar,
    variety: str | None = None,
    symbol: str | None = None,
    run_id: str = "",
    lock: Callable[[list[str]], AbstractContextManager[Any]] | None = None,
    *,
    layout: str | None = None,
    time_zone: str | None = None,
    columns: ColumnMap | None = None,
    progress: Progress | None = None,
    now_ns: int | None = None,
) -> IngestReport:
    """Store recordings; every file is read and checked before the first day is written.

    A day that lies in several of the files (night and day session apart, say) is joined of them. A file of a folder
    that holds no tick is left out.

    Where the lake then holds one contract of a variety on a day, that contract is declared the day's main contract;
    where it holds several, the open-interest rule decides.

    Parameters
    ----------
    paths : iterable of Path or str
        Files, and folders of files.
    lake, calendar
    variety, symbol : str, optional
        Which variety, which contract, where the files do not say or hold others too.
    run_id : str
        Kept in the manifests.
    lock : callable, optional
        Contracts -> what to hold while their days are looked at and written.
    layout : str, optional
        A layout of `layouts.registry` instead of the one that is recognised.
    time_zone : str, optional
        The zone of times that do not say theirs; Asia/Shanghai where the sessions allow it.
    columns : ColumnMap, optional
        Which column is what, for tables of no other layout.
    progress : callable, optional
        Called after each file.
    now_ns : int, optional
        UTC epoch ns of now: later ticks are refused.

    Raises
    ------
    BadRecordingError
        A file is garbled or holds ticks of the future, or two files contradict each other (`joined_files`).
    RefusedError
        A day is stored already with other content. Nothing is written.
    UsageError
        Nothing to import, or an unknown variety, symbol, layout or zone.
    """
    started = time.monotonic()
    paths = [Path(path) for path in paths]
    files, left_out = recording_files(paths)
    options = ReadOptions(calendar=calendar, variety=variety, symbol=symbol, time_zone=time_zone, columns=columns)
    require_options(options, layout)
    held: dict[_Key, list[_FoundDay]] = {}
    rows = kept = 0
    for number, path in enumerate(files, 1):
        for key, day in _days_of(path, options, layout, None if path in paths else left_out):
            assert day.part is not None, "a day that was just read has its rows"
            if now_ns is not None and day.part.table.column("datetime_ns")[-1].as_py() > now_ns + _CLOCKS_DIFFER_NS:
                raise BadRecordingError(
                    f"{path}: {key[0]} {key[1]}: ticks of the future, by this machine's clock",
                    "correct the file's dates, or the clock",
                )
            rows += day.rows
            of_day = held.setdefault(key, [])
            if any(day.digest == each.digest for each in of_day):
                continue  # the very same day, in another file
            of_day.append(day if (room := kept + day.nbytes <= _KEPT_BYTES) else replace(day, part=None))
            kept += day.nbytes if room else 0
        if progress is not None:
            progress(ProgressLine(rows, number, len(files), time.monotonic() - started, "files"))
    if not held:
        raise UsageError("no file holds a tick", "name files of ticks, or a folder that holds some")
    again = _Again(options, layout)
    found = {key: _whole(key, days, again) for key, days in held.items()}
    with lock(sorted({contract for contract, _ in found})) if lock else contextlib.nullcontext():
        return _write(lake, found, again, run_id, started, left_out)


@dataclass(frozen=True)
class _Again:
    """How to read a file a second time."""

    options: ReadOptions
    layout: str | None

    def tables(self, wanted: dict[_Key, _FoundDay]) -> Iterator[tuple[_Key, _FoundDay, pa.Table]]:
        """Days with their tables: those in memory first, then the others, a file at a time.

        Raises
        ------
        BadRecordingError
            A file is not what it was when it was checked.
        """
        for key, day in sorted(wanted.items(), key=lambda item: item[0]):
            if day.part is not None:
                yield key, day, day.part.table
        missing = {key: day for key, day in wanted.items() if day.part is None}
        for name in sorted({day.files[0] for day in missing.values() if len(day.files) == 1}):
            for key, day in _checked_days(Path(name), self.options, self.layout):
                if key in missing and missing[key].files == (name,):
                    assert day.part is not None
                    yield key, _require_same(missing[key], day), day.part.table
        for key, day in missing.items():
            if len(day.files) > 1:
                anew = _joined([self.part(key, name) for name in day.files], self.options)
                assert anew.part is not None
                yield key, _require_same(day, anew), anew.part.table

    def part(self, key: _Key, name: str) -> _FoundDay:
        """One day of a file, read a second time."""
        for found, day in _checked_days(Path(name), self.options, self.layout):
            if found == key:
                return day
        raise _changed(name)


def _require_same(before: _FoundDay, now: _FoundDay) -> _FoundDay:
    if before.digest != now.digest:
        raise _changed(before.name)
    return now


def _changed(name: str) -> BadRecordingError:
    return BadRecordingError(f"{name} changed while it was imported", "import it again")


def _days_of(
    path: Path, options: ReadOptions, layout: str | None, left_out: list[Path] | None
) -> Iterator[tuple[_Key, _FoundDay]]:
    """As `_checked_days`; a file without a tick goes to `left_out`, where there is such a list."""
    try:
        yield from _checked_days(path, options, layout)
    except EmptyRecordingError:
        if left_out is None:
            raise
        left_out.append(path)


def _checked_days(path: Path, options: ReadOptions, layout: str | None) -> Iterator[tuple[_Key, _FoundDay]]:
    """The contract-days of one file, their rows judged and the rest checked."""
    file = RecordingFile(str(path), path=path)
    for part in read_days(file, options, layout):
        judged, notes, details = _judged(part, options.calendar)
        if file.is_table and file.columns.torn and part.rows[-1] == file.columns.table.num_rows - 1:
            notes += (f"{path.name}: {file.place_word(file.columns.table.num_rows)} left out: it is cut off",)
        details = replace(details, origin=TickOrigin(kind=OriginKind.FILE, layout=part.layout))
        checked = replace(check_day(judged, options), file=file.unread())
        yield (part.contract, part.day), _found_day((str(path),), checked, notes, details)


def _found_day(files: tuple[str, ...], part: RecordedDay, notes: tuple[str, ...], details: TickDetails) -> _FoundDay:
    if missing := missing_columns(part.table):
        details = replace(details, missing_columns=missing, volume_missing="volume" in missing or None)
    return _FoundDay(
        name=" and ".join(files), files=files, digest=table_hash(part.table), rows=part.table.num_rows, part=part,
        notes=notes, details=details,
    )  # fmt: skip


def _whole(key: _Key, days: list[_FoundDay], again: _Again) -> _FoundDay:
    """The day of the files that hold it; its rows stay in memory only where those of all of them did."""
    if len(days) == 1:
        return days[0]
    joined = _joined([day if day.part is not None else again.part(key, day.name) for day in days], again.options)
    return joined if all(day.part is not None for day in days) else replace(joined, part=None)


def _joined(days: Sequence[_FoundDay], options: ReadOptions) -> _FoundDay:
    """One day of the parts that several files hold, its rows judged and checked once more as a whole."""
    parts = [day.part for day in days if day.part is not None]
    joined = join_files(parts)
    judged, notes, details = _judged(joined.day, options.calendar)
    checked = check_day(judged, options)
    layouts = sorted({part.layout for part in parts})
    counts = [day.details for day in days]
    details = replace(
        details,
        dropped_duplicates=_sum(each.dropped_duplicates for each in (details, *counts)),
        stale_rows=_sum(each.stale_rows for each in (details, *counts)),
        swapped_rows=_sum(each.swapped_rows for each in (details, *counts)),
        origin=TickOrigin(kind=OriginKind.FILE, layout=", ".join(layouts)),
    )
    files = tuple(sorted(day.name for day in days))
    notes = (*(note for day in days for note in day.notes), joined.note, *notes)
    return _found_day(files, checked, notes, details)


def _sum(counts: Iterable[int | None]) -> int | None:
    return sum(count or 0 for count in counts) or None


def _judged(part: RecordedDay, calendar: TradingCalendar) -> tuple[RecordedDay, tuple[str, ...], TickDetails]:
    """The day without rows that stand twice or are stale, its swapped rows in place; what was done, for people too."""
    if not calendar.speaks_for(part.day) or not calendar.is_trading_day(part.day):  # `check_day` says so
        return part, (), TickDetails()
    name = Path(part.file.name).name
    notes: tuple[str, ...] = ()
    details = TickDetails()
    if (repeated := _repeated(part.table)).any():
        first, count = int(np.flatnonzero(repeated)[0]), int(repeated.sum())
        notes = (
            f"{name}: {count} rows left out: they repeat the row before them, the first in {part.place_word(first)}",
        )
        details = TickDetails(dropped_duplicates=count)
        part = part.taken(np.flatnonzero(~repeated)).counted_anew()
    times, volume, amount = (
        part.table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
        for name in ("datetime_ns", "volume", "amount")
    )
    verdict = judge_rows(
        times, np.asarray(volume, np.float64), amount, calendar.sessions(variety_of(part.contract), part.day)
    )
    if not verdict.notes:
        return part, notes, details
    notes += tuple(
        f"{name}: {part.place_word(note.row)} {NOTE_OF[note.fault]}: {note.detail}" for note in verdict.notes
    )
    counts = Counter(note.fault for note in verdict.notes)
    details = replace(details, stale_rows=counts.get(RowFault.STALE), swapped_rows=counts.get(RowFault.SWAPPED))
    return part.taken(verdict.kept), notes, details


def _repeated(table: pa.Table) -> np.ndarray:
    """bool[n]: rows that repeat the one before them, as a download and our recorder leave them out.

    None where the clock shows whole seconds alone: two snapshots of one second may be alike there.
    """
    times = table.column("datetime_ns").to_numpy()
    return repeated_rows(table) if (times % _SECOND_NS).any() else np.zeros(len(times), bool)


def _write(
    lake: Lake,
    found: dict[_Key, _FoundDay],
    again: _Again,
    run_id: str,
    started: float,
    left_out: list[Path],
) -> IngestReport:
    declared, shared = _declarations(lake, found)
    new = {key: day for key, day in found.items() if not _is_here(lake, key, day)}
    rows, manifest = 0, None
    if new:
        asked: dict[tuple[str, str], list[date]] = {}
        for contract, day in sorted(new):
            asked.setdefault((TICKS, contract), []).append(day)
        sources = ", ".join(sorted({Path(name).name for each in new.values() for name in each.files}))
        manifest = RunManifest(lake, run_id, "import", f"recording:{sources}", asked)
    for (contract, day), each, table in again.tables(new):
        source = f"recording:{each.sources}"
        lake.write_day(
            TICKS, contract, day, table, schema=RAW_TICK_SCHEMA, source=source, run_id=run_id, details=each.details
        )
        rows += table.num_rows
    for key in sorted({*declared, *shared}):
        before = load_declared(lake.root, key)
        merged = {day: name for day, name in before.items() if day not in shared.get(key, ())} | declared.get(key, {})
        if merged == before:
            continue
        save_declared(lake.root, key, merged)
    report = IngestReport(
        written=tuple(sorted(new)),
        present=len(found) - len(new),
        declared=declared,
        rows=rows,
        seconds=time.monotonic() - started,
        row_notes=tuple(
            (*key, note) for key, day in sorted(found.items(), key=lambda each: each[0]) for note in day.notes
        ),
        left_out=tuple(map(str, left_out)),
    )
    if manifest is not None:
        manifest.close(report)
    return report


def _is_here(lake: Lake, key: _Key, day: _FoundDay) -> bool:
    if not lake.has_day(TICKS, *key):
        return False
    if table_hash(lake.read_day(TICKS, *key)) == day.digest:
        return True
    manifest = lake.manifest(TICKS, *key)
    origin = f" (from {manifest.source})" if manifest is not None else ""
    folder = lake.root / TICKS / f"symbol={key[0]}" / f"date={key[1]}"
    raise RefusedError(
        f"{key[0]} on {key[1]} is here already with other ticks{origin} than in {day.name}",
        f"stored ticks are never replaced; to use the file, remove {folder} first (and import all files of the day at "
        "once where it lies in several)",
    )


def _declarations(
    lake: Lake, found: Iterable[tuple[str, date]]
) -> tuple[dict[str, dict[date, str]], dict[str, set[date]]]:
    """Days whose one contract is declared, and days that now hold several, by variety.

    What counts is what the lake holds afterwards, so that the order of imports makes no difference.
    """
    touched: dict[tuple[str, date], set[str]] = {}
    for contract, day in found:
        touched.setdefault((variety_of(contract).key, day), set()).add(contract)
    stored = [(variety_of(symbol).key, symbol) for symbol in lake.keys(TICKS)]
    declared: dict[str, dict[date, str]] = {}
    shared: dict[str, set[date]] = {}
    for (key, day), contracts in sorted(touched.items()):
        contracts |= {symbol for owner, symbol in stored if owner == key and lake.has_day(TICKS, symbol, day)}
        if len(contracts) == 1:
            declared.setdefault(key, {})[day] = next(iter(contracts))
        else:
            shared.setdefault(key, set()).add(day)
    return declared, shared
