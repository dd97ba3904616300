"""Synchronises lake and QuestDB for `db serve-sync`: does pending writes, compares day by day, repairs one store.

A day that only one store has is brought to the other. A day that both have and that differs is repaired only in the
direction a person chose; without one it is listed. Nothing is deleted in either store's history: QuestDB keeps the
rows it sets aside, the lake keeps nothing but what its manifest names, as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_base.lock_keys import build_key, main_l5_key, main_schedule_key, ticks_key
from ghtrader_market.reference.roll_schedule import RollSchedule, load_schedule, save_schedule, schedule_path
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.mirror.compare import Difference, compare_day
from ghtrader_market.stores.mirror.mirrored_lake import SCHEDULE, MirroredLake, pay, repair_lake, repair_questdb
from ghtrader_market.stores.mirror.pending_writes import DIFFERS, REFILL, PendingWrite

LAKE, QUESTDB = "lake", "questdb"
_LOCKS = {"ticks": ticks_key, "main_l5": main_l5_key, "features": build_key, "labels": build_key}
Lock = Callable[[str, str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Day:
    """One day of one dataset; `day` is None for a roll schedule."""

    dataset: str
    key: str
    day: date | None
    differences: tuple[Difference, ...] = ()


@dataclass
class SyncReport:
    """What a sync found and did.

    Attributes
    ----------
    compared : int
        Days (and schedules) looked at.
    to_questdb, to_lake : list of Day
        Written into that store from the other.
    differing : list of Day
        Left as they are: a person must choose a direction (or another one).
    debts : list of PendingWrite
        Still noted afterwards.
    """

    compared: int = 0
    to_questdb: list[Day] = field(default_factory=list)
    to_lake: list[Day] = field(default_factory=list)
    differing: list[Day] = field(default_factory=list)
    debts: list[PendingWrite] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def sync(
    lake: MirroredLake,
    datasets: Iterable[str],
    *,
    variety: str = "",
    start: date | None = None,
    end: date | None = None,
    source: str = "",
    run_id: str = "",
    lock: Lock,
    say: Callable[[str], object],
) -> SyncReport:
    """Bring both stores to the same days.

    Parameters
    ----------
    lake : MirroredLake
    datasets : iterable of str
        As `mirrored_datasets`; roll schedules are always looked at.
    variety : str
        Only this one; empty: all.
    start, end : date, optional
        Only days inside.
    source : str
        `lake` or `questdb`: whose days win where both have one and they differ, and whose days are brought to the
        other; empty: days that one lacks are brought to it, from either side, and differing ones are listed.
    lock : callable
        `lock(key, purpose)` -> a context that holds the resource.

    Raises
    ------
    UnreachableError, SchemaError, ConfigError
        As `QuestDbStore`.
    """
    questdb, report = lake.questdb, SyncReport()
    questdb.init()
    pay(lake, questdb, lake.debts, say=say, only=lambda debt: _wanted(debt.key, debt.day, variety, start, end))
    for key in _schedule_keys(lake, variety):
        with lock(main_schedule_key(key), "serve-sync"):
            _sync_schedule(lake, key, source, run_id, report)
    for dataset in datasets:
        for key in sorted({*lake.keys(dataset), *questdb.keys(dataset)}):
            if variety and _variety(key) != variety:
                continue
            days = sorted({*lake.days(dataset, key), *questdb.days(dataset, key)})
            days = [day for day in days if (start is None or day >= start) and (end is None or day <= end)]
            if days:
                with lock(_LOCKS[dataset](key), "serve-sync"):
                    for day in days:
                        _sync_day(lake, dataset, key, day, source, run_id, report)
                say(f"{dataset} {key}: {len(days)} days compared")
    report.debts = lake.debts.debts()
    return report


def _variety(key: str) -> str:
    return variety_of(key).key


def _wanted(key: str, day: date | None, variety: str, start: date | None, end: date | None) -> bool:
    if variety and key != variety and ("." not in key or _variety(key) != variety):
        return False
    return day is None or ((start is None or day >= start) and (end is None or day <= end))


def _sync_day(
    lake: MirroredLake, dataset: str, key: str, day: date, source: str, run_id: str, report: SyncReport
) -> None:
    questdb = lake.questdb
    report.compared += 1
    found = _differences(lake, dataset, key, day)
    here = Day(dataset, key, day, tuple(found))
    whole = {difference.kind for difference in found if difference.detail == "the whole day"}
    kinds = {difference.kind for difference in found}
    if (
        found
        and (source == LAKE or (not source and "only-in-lake" in whole))
        and lake.has_day(dataset, key, day)
        and "lake-damaged" not in kinds
    ):
        with lake.debts.owing(dataset, key, day, "being repaired from the lake", REFILL) as note:
            repair_questdb(lake, questdb, dataset, key, day)
            note.paid()
        report.to_questdb.append(here)
    elif (
        found
        and (source == QUESTDB or (not source and "only-in-questdb" in whole))
        and "damaged" not in kinds
        and "only-in-lake" not in whole
    ):
        repair_lake(lake, questdb, dataset, key, day, run_id)
        _clear(lake, dataset, key, day)
        report.to_lake.append(here)
    elif found:
        with lake.debts.owing(dataset, key, day, "", DIFFERS) as note:
            note.write(DIFFERS, "; ".join(_words(difference) for difference in found))
        report.differing.append(here)
    else:
        _clear(lake, dataset, key, day)


def _differences(lake: MirroredLake, dataset: str, key: str, day: date) -> list[Difference]:
    damage = []
    if lake.has_day(dataset, key, day):
        try:
            lake.verify_day(dataset, key, day)
        except IntegrityError as exc:
            damage = [Difference("lake-damaged", 0, detail=exc.message)]
    try:
        return [*damage, *compare_day(lake, lake.questdb, key, day, dataset)]
    except IntegrityError:  # the lake's file cannot be read at all, which `damage` says
        return damage


def _words(difference: Difference) -> str:
    column = f" in {difference.column}" if difference.column else ""
    return f"{difference.kind}{column} ({difference.rows} rows)"


def _clear(lake: MirroredLake, dataset: str, key: str, day: date | None) -> None:
    with lake.debts.taken(PendingWrite(dataset=dataset, key=key, day=day)) as note:
        if note is not None:
            note.paid()


# ---- roll schedules -------------------------------------------------------------------------------------------------


def _schedule_keys(lake: MirroredLake, variety: str) -> list[str]:
    ours = {path.stem for path in schedule_path(lake.root, "x").parent.glob("*.json")}
    return sorted(key for key in ours | set(lake.questdb.keys(SCHEDULE)) if not variety or key == variety)


def _sync_schedule(lake: MirroredLake, variety: str, source: str, run_id: str, report: SyncReport) -> None:
    report.compared += 1
    here = Day(SCHEDULE, variety, None)
    ours, theirs = _lake_schedule(lake, variety), _questdb_schedule(lake, variety)
    if ours == theirs:
        _clear(lake, SCHEDULE, variety, None)
    elif ours is not None and (source == LAKE or (not source and theirs is None)):
        with lake.debts.owing(SCHEDULE, variety, None, "being repaired from the lake") as note:
            lake.questdb.write_schedule(ours, run_id, anew=True)
            note.paid()
        report.to_questdb.append(here)
    elif theirs is not None and (source == QUESTDB or (not source and ours is None)):
        save_schedule(lake.root, theirs)
        _clear(lake, SCHEDULE, variety, None)
        report.to_lake.append(here)
    else:
        with lake.debts.owing(SCHEDULE, variety, None, "the schedules differ", DIFFERS):
            pass
        report.differing.append(here)


def _lake_schedule(lake: MirroredLake, variety: str) -> RollSchedule | None:
    try:
        return load_schedule(lake.root, variety)
    except (FailedError, IntegrityError):
        return None


def _questdb_schedule(lake: MirroredLake, variety: str) -> RollSchedule | None:
    try:
        return lake.questdb.read_schedule(variety)
    except FailedError:
        return None
