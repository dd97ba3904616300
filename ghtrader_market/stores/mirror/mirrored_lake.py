"""Writes days to the lake and to QuestDB, and makes up for the writes that QuestDB missed.

The lake is written first and always; the write to QuestDB is noted as pending before that and cleared after it has the
day. A server that is down leaves a pending write and does not stop the run (unless GHTRADER_PIPELINE_ENFORCE_HEALTH
says so); a schema that is not what it must be stops everything before the first write.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ghtrader_base.errors import FailedError, GhtraderError, UnreachableError
from ghtrader_base.failpoints import failpoint
from ghtrader_market.reference.roll_schedule import load_schedule, schedule_path
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest
from ghtrader_market.stores.mirror.compare import compare_day
from ghtrader_market.stores.mirror.pending_writes import (
    DIFFERS,
    OWED,
    REFILL,
    PendingWrite,
    PendingWriteFile,
    PendingWrites,
)
from ghtrader_market.stores.questdb.builds import TABLES
from ghtrader_market.stores.questdb.schema import BUILDS, MAIN_SCHEDULE, RAW_TICKS
from ghtrader_market.stores.questdb.store import QuestDbStore

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings

SCHEDULE = "schedule"
_RETRY_S = 30.0
_CHOOSE = "the stores differ; `ghtrader db serve-sync --from lake` or `--from questdb` chooses"
_Say = Callable[[str], object]


def mirrored_datasets(settings: Settings) -> tuple[str, ...]:
    """Datasets that go to QuestDB, in the order in which they are made."""
    return ("ticks", "main_l5", "features", "labels") if settings.questdb_features else ("ticks", "main_l5")


def debt_ledger(settings: Settings) -> PendingWrites:
    """The pending writes of this home to QuestDB."""
    return PendingWrites(settings.home / "questdb_debt")


def open_lake(settings: Settings) -> Lake:
    """The lake of a home: one whose days also go to QuestDB where GHTRADER_QUESTDB_HOST is set."""
    return MirroredLake(settings) if settings.questdb_host else Lake(settings.data)


class MirroredLake(Lake):
    """A lake that writes each of its days to QuestDB too.

    Parameters
    ----------
    settings : Settings
        With `questdb_host`.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.data)
        self.questdb = QuestDbStore(settings)
        self.debts = debt_ledger(settings)
        self._datasets = mirrored_datasets(settings)
        self._enforce = settings.pipeline_enforce_health
        self._lock = threading.Lock()
        self._checked = False
        self._down_until = 0.0

    def write_day(self, dataset: str, key: str, day: date, table: pa.Table, **options: Any) -> DayManifest:
        """As `Lake.write_day`, then QuestDB.

        Raises
        ------
        SchemaError
            A table in QuestDB is not what it must be; nothing was written.
        UnreachableError
            QuestDB is down and GHTRADER_PIPELINE_ENFORCE_HEALTH is set; the lake has the day, the write is pending.
        """
        if dataset not in self._datasets:
            return super().write_day(dataset, key, day, table, **options)
        self.check()
        with self.debts.owing(dataset, key, day, "not yet written to QuestDB") as note:
            failpoint("mirror.owed->lake")
            try:
                manifest = super().write_day(dataset, key, day, table, **options)
            except GhtraderError:
                if not self.has_day(dataset, key, day):  # refused, and nothing was there: nothing is pending
                    note.paid()
                raise
            failpoint("mirror.lake->questdb")
            self._deliver(note, lambda: _store_day(self.questdb, dataset, key, day, manifest, table))
        return manifest

    @contextlib.contextmanager
    def writing_schedule(self, variety: str, run_id: str = "") -> Iterator[None]:
        """Around the keeping of a roll schedule: QuestDB gets it when the block is done."""
        self.check()
        with self.debts.owing(SCHEDULE, variety, None, "not yet written to QuestDB") as note:
            failpoint("mirror.owed->lake")
            yield
            failpoint("mirror.lake->questdb")
            self._deliver(note, lambda: self._store_schedule(variety, run_id))

    def _store_schedule(self, variety: str, run_id: str) -> bool:
        self.questdb.write_schedule(load_schedule(self.root, variety), run_id)
        return True

    def check(self) -> bool:
        """Whether QuestDB can be written to; asked once, and again some time after it was down."""
        with self._lock:
            if self._checked or time.monotonic() < self._down_until:
                return self._checked
            try:
                self.questdb.init()
                self._checked = True
            except UnreachableError:
                self._lost()
                if self._enforce:
                    raise
            return self._checked

    def _lost(self) -> None:
        log.warning("QuestDB cannot be reached: what it lacks is kept as pending writes; asked again in %g s", _RETRY_S)
        self._checked, self._down_until = False, time.monotonic() + _RETRY_S

    def _deliver(self, note: PendingWriteFile, store: Callable[[], bool]) -> None:
        if not self._checked:
            note.write(OWED, "QuestDB was not reachable")
            return
        try:
            agrees = store()
        except UnreachableError as exc:
            with self._lock:
                self._lost()
            note.write(OWED, exc.message)
            if self._enforce:
                raise
            return
        failpoint("mirror.questdb->paid")
        _settle(note, agrees)


def require_second_store(lake: Lake) -> None:
    """Where a lake's days also go to QuestDB: say now what would stop the first write (as `MirroredLake.check`)."""
    if isinstance(lake, MirroredLake):
        lake.check()


@contextlib.contextmanager
def writing_schedule(lake: Lake, variety: str, run_id: str = "") -> Iterator[None]:
    """Around the keeping of a roll schedule beside `lake`; only a mirrored lake does anything about it."""
    with lake.writing_schedule(variety, run_id) if isinstance(lake, MirroredLake) else contextlib.nullcontext():
        yield


def _settle(note: PendingWriteFile, agrees: bool) -> None:
    if agrees:
        note.paid()
    else:
        note.write(DIFFERS, _CHOOSE)


def _store_day(
    questdb: QuestDbStore, dataset: str, key: str, day: date, manifest: DayManifest, table: pa.Table
) -> bool:
    source, run_id, details = manifest.source, manifest.run_id, manifest.details
    if questdb.write_day(dataset, key, day, table, source=source, run_id=run_id, details=details):
        return True
    if not (isinstance(details, TickDetails) and details.was_replaced):
        return False
    # A download takes the place of what we recorded ourselves, here as in the lake: never a mixture of both.
    questdb.repair_day(dataset, key, day, table, source=source, run_id=run_id, details=details)
    return True


# ---- doing the pending writes ---------------------------------------------------------------------------------------


def pay(
    lake: Lake,
    questdb: QuestDbStore,
    ledger: PendingWrites,
    limit: int | None = None,
    say: _Say = lambda _: None,
    only: Callable[[PendingWrite], bool] = lambda _: True,
) -> list[PendingWrite]:
    """Do the pending writes; returns those still pending afterwards.

    A day that both hold differently is not decided here: it stays as `differs`. A write whose writer is at work, or
    was a moment ago, is left to it.
    """
    waiting = [debt for debt in ledger.debts() if debt.state != DIFFERS and only(debt)]
    for debt in waiting[:limit]:
        with ledger.taken(debt) as note:
            if note is not None:
                _settle(note, _pay_one(lake, questdb, debt))
                say(f"QuestDB: {debt.dataset} of {debt.key}" + (f" on {debt.day}" if debt.day else "") + " written")
    return ledger.debts()


def _pay_one(lake: Lake, questdb: QuestDbStore, debt: PendingWrite) -> bool:
    if debt.day is None:
        if schedule_path(lake.root, debt.key).exists():
            questdb.write_schedule(load_schedule(lake.root, debt.key), anew=debt.state == REFILL)
        return True
    manifest = lake.manifest(debt.dataset, debt.key, debt.day)
    if manifest is None:  # killed before the lake had it: the next download asks for the day again
        return True
    table = lake.read_day(debt.dataset, debt.key, debt.day)
    if debt.state == REFILL:
        if compare_day(lake, questdb, debt.key, debt.day, debt.dataset):
            repair_questdb(lake, questdb, debt.dataset, debt.key, debt.day)
        return True
    return _store_day(questdb, debt.dataset, debt.key, debt.day, manifest, table)


def repair_questdb(lake: Lake, questdb: QuestDbStore, dataset: str, key: str, day: date) -> None:
    """Make QuestDB's readers get what the lake has; what was there is kept and set aside."""
    manifest = lake.verify_day(dataset, key, day)
    table = lake.read_day(dataset, key, day)
    questdb.repair_day(
        dataset, key, day, table, source=manifest.source, run_id=manifest.run_id, details=manifest.details
    )


def repair_lake(lake: Lake, questdb: QuestDbStore, dataset: str, key: str, day: date, run_id: str = "") -> None:
    """Put what QuestDB's readers get into the lake, in place of what it has."""
    table = questdb.read_day(dataset, key, day)
    build = questdb.provenance(dataset, key, day)
    if not table.num_rows:
        raise FailedError(f"QuestDB has no {dataset} of {key} on {day}", "there is nothing to repair the lake from")
    Lake.write_day(
        lake, dataset, key, day, table, source=(build.source if build and build.source else "questdb"),
        run_id=run_id or (build.run_id if build else ""), details=build.details if build else None,
    )  # fmt: skip


def owe_refill(settings: Settings, tables: Iterable[str]) -> list[PendingWrite]:
    """Note every day of the lake whose rows in these tables of QuestDB lost values; returns the notes."""
    ledger, lake, wanted = debt_ledger(settings), Lake(settings.data), set(tables)
    for dataset in mirrored_datasets(settings):
        if {_TABLES[dataset], BUILDS} & wanted:
            for key in lake.keys(dataset):
                for day in lake.days(dataset, key):
                    with ledger.owing(dataset, key, day, "QuestDB's table was mended", REFILL):
                        pass
    if {MAIN_SCHEDULE, BUILDS} & wanted:
        for path in schedule_path(lake.root, "x").parent.glob("*.json"):
            with ledger.owing(SCHEDULE, path.stem, None, "QuestDB's table was mended", REFILL):
                pass
    return ledger.debts()


_TABLES = {"ticks": RAW_TICKS, **TABLES}
