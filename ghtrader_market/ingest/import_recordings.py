"""Imports recordings: reads and checks all files first, then writes them into the store day by day.

A recording of one contract says no more than that contract: it declares the day's main contract, since there is no
other whose open interest could be compared. Files are parsed in `sources.recordings`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ghtrader_base.errors import BadRecordingError, RefusedError, UsageError
from ghtrader_base.files import atomic_write_json, read_json
from ghtrader_market.ingest.report import IngestReport
from ghtrader_market.ingest.run_manifest import RunManifest
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, table_hash
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.recordings.reader import Recorded, read_recording

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

TICKS = "ticks"


def _declared_path(data_dir: Path, variety: str) -> Path:
    return data_dir / "declared" / f"{variety}.json"


def load_declared(data_dir: Path, variety: str) -> dict[date, str]:
    """Day -> contract, as recordings declared it; empty where none did."""
    path = _declared_path(Path(data_dir), variety)
    if not path.exists():
        return {}
    return {date.fromisoformat(day): str(contract) for day, contract in read_json(path).items()}


def import_recordings(
    paths: Iterable[Path | str],
    lake: Lake,
    calendar: TradingCalendar,
    variety: str | None = None,
    symbol: str | None = None,
    run_id: str = "",
    lock: Callable[[list[str]], AbstractContextManager[Any]] | None = None,
) -> IngestReport:
    """Store recordings; every file is read and checked before the first day is written.

    Where the lake then holds one contract of a variety on a day, that contract is declared the day's main contract;
    where it holds several, the open-interest rule decides.

    Parameters
    ----------
    lock : callable, optional
        Contracts -> what to hold while their days are looked at and written.

    Raises
    ------
    BadRecordingError
        A file is garbled, or two files hold the same contract-day differently.
    RefusedError
        A day is stored already with other content. Nothing is written.
    """
    started = time.monotonic()
    paths = [Path(path) for path in paths]
    if not paths:
        raise UsageError("no file to import", "name one or more CSV, CSV.gz or Parquet files")
    found: dict[tuple[str, date], tuple[str, pa.Table]] = {}
    for path in paths:
        for item in read_recording(path, variety, symbol, calendar):
            _collect(found, str(path), item)
    with lock(sorted({contract for contract, _ in found})) if lock else contextlib.nullcontext():
        return _write(lake, found, run_id, started)


def _write(
    lake: Lake, found: dict[tuple[str, date], tuple[str, pa.Table]], run_id: str, started: float
) -> IngestReport:
    declared, shared = _declarations(lake, found)
    new = {key: named for key, named in found.items() if not _is_here(lake, key, named)}
    rows, manifest = 0, None
    if new:
        asked: dict[tuple[str, str], list[date]] = {}
        for contract, day in sorted(new):
            asked.setdefault((TICKS, contract), []).append(day)
        sources = ", ".join(sorted({Path(name).name for name, _ in new.values()}))
        manifest = RunManifest(lake, run_id, "import", f"recording:{sources}", asked)
    for (contract, day), (name, table) in sorted(new.items()):
        source = f"recording:{Path(name).name}"
        lake.write_day(TICKS, contract, day, table, schema=RAW_TICK_SCHEMA, source=source, run_id=run_id)
        rows += table.num_rows
    for key in sorted({*declared, *shared}):
        before = load_declared(lake.root, key)
        merged = {day: name for day, name in before.items() if day not in shared.get(key, ())} | declared.get(key, {})
        if merged == before:
            continue
        atomic_write_json(_declared_path(lake.root, key), {str(day): merged[day] for day in sorted(merged)})
    report = IngestReport(
        written=tuple(sorted(new)),
        present=len(found) - len(new),
        declared=declared,
        rows=rows,
        seconds=time.monotonic() - started,
    )
    if manifest is not None:
        manifest.close(report)
    return report


def _collect(found: dict[tuple[str, date], tuple[str, pa.Table]], name: str, item: Recorded) -> None:
    contract, day, table = item
    known = found.setdefault((contract, day), (name, table))
    if known[1] is not table and table_hash(known[1]) != table_hash(table):
        raise BadRecordingError(
            f"{name} and {known[0]} both hold {contract} on {day}, and differ", "import one of them, or join them first"
        )


def _is_here(lake: Lake, key: tuple[str, date], named: tuple[str, pa.Table]) -> bool:
    if not lake.has_day(TICKS, *key):
        return False
    if table_hash(lake.read_day(TICKS, *key)) == table_hash(named[1]):
        return True
    manifest = lake.manifest(TICKS, *key)
    origin = f" (from {manifest.source})" if manifest is not None else ""
    folder = lake.root / TICKS / f"symbol={key[0]}" / f"date={key[1]}"
    raise RefusedError(
        f"{key[0]} on {key[1]} is here already with other ticks{origin} than in {named[0]}",
        f"stored ticks are never replaced; to use the file, remove {folder} first",
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
