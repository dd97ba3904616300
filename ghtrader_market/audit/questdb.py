"""Compares the lake with QuestDB: days and rows that only one of them has, values that differ, rows in conflict.

The comparison of one day is `stores.mirror.compare`'s; here is what is compared, and how it becomes findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date

from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_market.audit.report import Finding
from ghtrader_market.quality.anomalies import shanghai_time
from ghtrader_market.reference.roll_schedule import RollSchedule, load_schedule, schedule_path
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.mirror.compare import Difference, compare_day
from ghtrader_market.stores.mirror.mirrored_lake import mirrored_datasets
from ghtrader_market.stores.questdb.builds import TABLES
from ghtrader_market.stores.questdb.schema import MAIN_SCHEDULE, RAW_TICKS
from ghtrader_market.stores.questdb.store import QuestDbStore

_KINDS = {"only-in-lake": "questdb_missing", "only-in-questdb": "questdb_extra"}
SCHEDULE = "schedule"


def audit_questdb(
    settings: Settings,
    lake: Lake,
    datasets: Iterable[str],
    varieties: Iterable[str] = (),
    start: date | None = None,
    end: date | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> list[Finding]:
    """Compare the days of these datasets that QuestDB is meant to hold.

    Parameters
    ----------
    varieties, start, end
        Only these; all where empty.
    tell : callable
        Takes a line for each key that was compared.

    Raises
    ------
    UnreachableError, SchemaError
        The server is not there, or its tables are not what they must be.
    """
    store, only = QuestDbStore(settings), set(varieties)
    store.require()
    found: list[Finding] = []
    asked = [name for name in mirrored_datasets(settings) if name in set(datasets)]
    for dataset in asked:
        for key in sorted({*lake.keys(dataset), *store.keys(dataset)}):
            if only and _variety(key) not in only:
                continue
            days = sorted({*lake.days(dataset, key), *store.days(dataset, key)})
            days = [day for day in days if (start is None or day >= start) and (end is None or day <= end)]
            for day in days:
                found += _day(lake, store, dataset, key, day)
            tell(f"QuestDB: {dataset} {key}, {len(days)} days compared")
    if "ticks" in asked:
        for (symbol, day), rows in store.conflict_days().items():
            inside = (start is None or day >= start) and (end is None or day <= end)
            if inside and (not only or _variety(symbol) in only):
                detail = f"{rows} rows came later with a time that was stored already; readers get the first"
                found.append(
                    Finding(
                        kind="questdb_conflict",
                        dataset="ticks",
                        key=symbol,
                        day=day.isoformat(),
                        file=RAW_TICKS,
                        detail=detail,
                    )
                )
    if "main_l5" in asked:
        found += _schedules(lake, store, only)
    return found


def _variety(key: str) -> str:
    try:
        return variety_of(key).key
    except UsageError:
        return key


def _day(lake: Lake, store: QuestDbStore, dataset: str, key: str, day: date) -> Iterator[Finding]:
    table = RAW_TICKS if dataset == "ticks" else TABLES[dataset]
    try:
        differences = compare_day(lake, store, key, day, dataset)
    except IntegrityError:
        return  # the lake's file cannot be read, which the audit of the lake says
    for difference in differences:
        kind = _KINDS.get(difference.kind, "questdb_differs")
        yield Finding(kind=kind, dataset=dataset, key=key, day=day.isoformat(), file=table, detail=_words(difference))


def _words(difference: Difference) -> str:
    parts = [f"{difference.rows} rows" if difference.rows else difference.kind]
    parts += [f"column {difference.column}"] if difference.column else []
    parts += [f"first at {shanghai_time(difference.first)}"] if difference.first else []
    parts += [difference.detail] if difference.detail else []
    return f"{difference.kind}: {', '.join(parts)}"


def _schedules(lake: Lake, store: QuestDbStore, only: set[str]) -> Iterator[Finding]:
    ours = {path.stem for path in schedule_path(lake.root, "x").parent.glob("*.json")}
    for variety in sorted(ours | set(store.keys(SCHEDULE))):
        if only and variety not in only:
            continue
        here, there = (
            _schedule(read, variety) for read in (lambda v: load_schedule(lake.root, v), store.read_schedule)
        )
        if here is None or there is None:
            if here is not there:
                kind = "questdb_missing" if there is None else "questdb_extra"
                yield Finding(
                    kind=kind,
                    dataset=SCHEDULE,
                    key=variety,
                    day="",
                    file=MAIN_SCHEDULE,
                    detail="the whole roll schedule",
                )
        elif here != there:
            days = {day.day for day in {*here.days} ^ {*there.days}}
            first = min(days).isoformat() if days else ""
            detail = f"{len(days)} days of the roll schedule differ" if days else "another contract is next"
            yield Finding(
                kind="questdb_differs", dataset=SCHEDULE, key=variety, day=first, file=MAIN_SCHEDULE, detail=detail
            )


def _schedule(read: Callable[[str], RollSchedule], variety: str) -> RollSchedule | None:
    try:
        return read(variety)
    except (FailedError, IntegrityError):
        return None
