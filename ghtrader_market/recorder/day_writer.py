"""Writes a recorder's rows into days of the lake: every row once, in order, durable within a flush.

No service is talked to here. Rows go through `accept` into a journal of their trading day (`row_log`), and
from there, mended as a download's are (`stores.day_rows`), into the lake, marked `recorded`, so that a download of the
day is still wanted and replaces it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError, BeyondCalendarError, UnwritableError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.lock_keys import ticks_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import Settings
from ghtrader_market.recorder.row_log import RowLog, journal_days, journal_path
from ghtrader_market.reference.tick_origin import UNKNOWN, OriginKind, TickOrigin
from ghtrader_market.reference.trading_calendar import SHANGHAI, load_calendar
from ghtrader_market.reference.varieties import Variety, variety_of
from ghtrader_market.sources.base import split_days
from ghtrader_market.stores.base import RECORDED
from ghtrader_market.stores.day_details import Recording, TickDetails
from ghtrader_market.stores.day_rows import MendedRows, mend_rows
from ghtrader_market.stores.lake.manifests import DayManifest
from ghtrader_market.stores.lake.unfinished_days import NEAR_CLOSE_NS
from ghtrader_market.stores.mirror.mirrored_lake import open_lake, require_second_store

Tell = Callable[[str], object]
QUIET_S = 20.0
"""After the close, a day goes into the lake when nothing came for this long."""


@dataclass(frozen=True, kw_only=True)
class RecordedDay:
    """What became of a contract-day: its rows in the lake, ticks that did not come, and how it stands there."""

    symbol: str
    day: date
    rows: int
    missed: int
    state: str

    def to_json(self) -> dict[str, Any]:
        """For `--json` and tables."""
        return {**asdict(self), "day": str(self.day)}


@dataclass(frozen=True)
class Accepted:
    """Rows that are new, and what was wrong with the others."""

    rows: pa.Table
    duplicates: int = 0
    missed: int = 0


def may_join(one: TickOrigin, other: TickOrigin) -> bool:
    """Whether rows of two origins may stand in one day: of one market, or nobody knows of one of them."""
    return OriginKind.UNKNOWN in (one.kind, other.kind) or one.market == other.market


def accept(rows: pa.Table, last_id: int) -> Accepted:
    """What of some rows goes on from where a symbol stands.

    Parameters
    ----------
    rows : pyarrow.Table
        `RAW_TICK_SCHEMA`, as they came.
    last_id : int
        Of the last row kept; -1 where there is none.

    Returns
    -------
    Accepted
        Rows with higher ids; ids that were jumped over are counted as missed. Whether their times and volumes rise is
        judged once the day is whole.
    """
    if rows.num_rows == 0:
        return Accepted(rows)
    ids = rows["id"].to_numpy()
    fresh = ids > np.maximum.accumulate(np.concatenate([[last_id], ids[:-1]]))
    chain = np.concatenate([[last_id], ids[fresh]]) if last_id >= 0 else ids[fresh]
    return Accepted(rows.filter(pa.array(fresh)), duplicates=int((~fresh).sum()), missed=_gaps(chain))


def _gaps(ids: np.ndarray) -> int:
    """Ids that rising ids int64[n] jump over."""
    return int((np.diff(ids) - 1).sum()) if len(ids) > 1 else 0


@dataclass(frozen=True)
class OrderedRows:
    """The rows of a day that may be stored, what was done about the others, and how many ran backwards."""

    mended: MendedRows
    disordered: int


def ordered_rows(rows: pa.Table, sessions: Sequence[tuple[int, int]]) -> OrderedRows:
    """A day's rows, rising in id, as they may be stored: mended as a download's, and without those whose time is before
    that of a row kept before them."""
    mended = mend_rows(rows, sessions)
    times = mended.table["datetime_ns"].to_numpy()
    backwards = times < np.maximum.accumulate(np.concatenate([[-1], times[:-1]]))
    if backwards.any():
        mended = replace(mended, table=mended.table.filter(pa.array(~backwards)))
    return OrderedRows(mended, int(backwards.sum()))


@dataclass(kw_only=True)
class SymbolLog:
    """Where one symbol stands: its journals, what waits for the next flush, what was counted."""

    symbol: str
    variety: Variety
    last_id: int = -1
    last_ns: int = -1
    journals: dict[date, RowLog] = field(default_factory=dict)
    waiting: list[tuple[date, pa.Table]] = field(default_factory=list)
    rows: int = 0
    missed: int = 0
    duplicates: int = 0
    disordered: int = 0

    @property
    def open_days(self) -> list[date]:
        """Days with rows that are not in the lake yet."""
        return sorted({*self.journals, *(day for day, _ in self.waiting)})


class RecordedDays:
    """Rows of some symbols on their way into the lake; holds the ticks lock of each symbol while it is open.

    Parameters
    ----------
    settings : Settings
    run_id : str
        Kept in the manifests.
    tell : callable
        Takes a line of progress.

    Attributes
    ----------
    origin : TickOrigin
        Where the rows that are taken come from.
    logs : dict of str to SymbolLog
    sealed : dict
        (symbol, day) -> what became of it.
    problems : list of str
        Days that did not get into the lake; their journals stay.
    heard : float
        When the last new row came, `time.monotonic`.
    oldest_waiting : float, optional
        When the oldest row that is not on disk came.
    """

    def __init__(self, settings: Settings, run_id: str = "", tell: Tell = lambda line: None) -> None:
        self.settings = settings
        self.lake, self.calendar = open_lake(settings), load_calendar(settings)
        self.origin = UNKNOWN
        self.logs: dict[str, SymbolLog] = {}
        self.sealed: dict[tuple[str, date], RecordedDay] = {}
        self.problems: list[str] = []
        self.heard = time.monotonic()
        self.oldest_waiting: float | None = None
        self._run_id, self._tell = run_id, tell
        self._locks = contextlib.ExitStack()

    def __enter__(self) -> RecordedDays:
        require_second_store(self.lake)
        return self

    def __exit__(self, *_: object) -> None:
        for log in self.logs.values():
            for journal in log.journals.values():
                journal.close()
        self._locks.close()

    @property
    def newest_ns(self) -> int:
        """Time of the newest row of all; -1 where none came yet."""
        return max((log.last_ns for log in self.logs.values()), default=-1)

    @property
    def waiting_rows(self) -> int:
        """Rows a kill would lose now."""
        return sum(rows.num_rows for log in self.logs.values() for _, rows in log.waiting)

    def begin(self, symbol: str) -> SymbolLog:
        """Take the symbol's lock and find out where an earlier recording of it ended; LockHeldError names a holder."""
        data = self.settings.data
        log = SymbolLog(symbol=symbol, variety=variety_of(symbol))
        self._locks.enter_context(resource_lock(self.settings.locks, ticks_key(symbol), "record"))
        for day in journal_days(data, symbol):
            log.journals[day] = RowLog(journal_path(data, symbol, day))
        for day, journal in list(log.journals.items()):
            if not may_join(journal.origin, self.origin):  # of a recording of another market
                self.seal(log, day, ended=False)
        ends = [journal.read() for journal in log.journals.values()]
        if (recorded := self._recorded_last(symbol)) is not None:
            ends.append(self.lake.read_day("ticks", symbol, recorded, ["id", "datetime_ns"]))
        for rows in ends:
            if rows.num_rows:
                log.last_id = max(log.last_id, rows["id"][-1].as_py())
                log.last_ns = max(log.last_ns, rows["datetime_ns"][-1].as_py())
        self.logs[symbol] = log
        return log

    def _recorded_last(self, symbol: str) -> date | None:
        """The last day recorded of this market."""
        for day in sorted(self.lake.index.days_from("ticks", symbol, RECORDED), reverse=True):
            found = self.lake.manifest("ticks", symbol, day)
            if found is not None and may_join(found.details.stated_origin, self.origin):
                return day
        return None

    def take(self, arrived: Iterable[tuple[str, pa.Table]]) -> int:
        """Keep what is new of (symbol, rows); returns how many rows that were."""
        kept = 0
        for symbol, rows in arrived:
            log = self.logs[symbol]
            found = accept(rows, log.last_id)
            log.duplicates += found.duplicates
            if found.rows.num_rows == 0:
                continue
            days = split_days(found.rows, self._trading_days(found.rows["datetime_ns"].to_numpy()))
            if found.missed:
                log.missed += found.missed
                self._tell(f"{symbol} {max(days)}: {found.missed} ticks were missed; a download of the day has them")
            log.waiting += days.items()
            log.rows += found.rows.num_rows
            log.last_id = found.rows["id"][-1].as_py()
            log.last_ns = max(log.last_ns, found.rows["datetime_ns"][-1].as_py())
            kept += found.rows.num_rows
        if kept:
            self.heard = time.monotonic()
            self.oldest_waiting = self.oldest_waiting or self.heard
        return kept

    def _trading_days(self, ns: np.ndarray) -> np.ndarray:
        """Trading days of int64[n]; a list that was refreshed since this recording began is read anew."""
        try:
            return self.calendar.trading_day_of(ns)
        except BeyondCalendarError:
            self.calendar = load_calendar(self.settings)
            return self.calendar.trading_day_of(ns)

    def flush(self) -> None:
        """Everything kept so far onto disk, durable when this returns.

        Raises
        ------
        UnwritableError
            The disk refuses: what is not in a journal yet goes on waiting.
        """
        for log in self.logs.values():
            for day in dict.fromkeys(day for day, _ in log.waiting):
                if day not in log.journals:
                    log.journals[day] = RowLog(journal_path(self.settings.data, log.symbol, day), self.origin)
                log.journals[day].append(pa.concat_tables([rows for other, rows in log.waiting if other == day]))
                log.waiting = [(other, rows) for other, rows in log.waiting if other != day]
        self.oldest_waiting = None

    def forget_waiting(self) -> list[str]:
        """Let go of all rows that are not on disk, so that each symbol stands where its journals end.

        Returns which ticks those are, by symbol and time, for people.
        """
        spans = []
        for log in self.logs.values():
            if not log.waiting:
                continue
            first, last = log.waiting[0][1]["datetime_ns"][0].as_py(), log.waiting[-1][1]["datetime_ns"][-1].as_py()
            spans.append(f"{log.symbol} from {_clock(first)} to {_clock(last)}")
            log.rows -= sum(rows.num_rows for _, rows in log.waiting)
            log.last_id = log.waiting[0][1]["id"][0].as_py() - 1
            log.last_ns = min(log.last_ns, first)
            log.waiting = []
        self.oldest_waiting = None
        return spans

    def seal_what_is_over(self, now: float) -> bool:
        """Put days that have ended into the lake; returns whether the market has gone on to another day.

        Parameters
        ----------
        now : float
            `time.monotonic`.
        """
        if not any(log.open_days for log in self.logs.values()):
            return False
        today, rolled = self.calendar.trading_day_of(self.newest_ns), False
        quiet = now - self.heard >= QUIET_S
        for log in self.logs.values():
            for day in log.open_days:
                if day < today or (quiet and self._closed(log, day, self.newest_ns)):
                    self.flush()
                    self.seal(log, day, ended=True)
                    rolled = rolled or day < today
        return rolled

    def seal_all(self) -> None:
        """Put everything into the lake, also days that go on without us; what the disk refuses is in `problems`."""
        try:
            self.flush()
        except UnwritableError as exc:
            self._problem(f"{exc.message}; not recorded: {'; '.join(self.forget_waiting())}; a download has them")
        for log in self.logs.values():
            for day in log.open_days:
                try:
                    self.seal(log, day, ended=self._closed(log, day, log.last_ns))
                except UnwritableError as exc:
                    self._problem(f"{exc.message}; the rows stay in {log.journals[day].path}, for the next recording")

    def _problem(self, text: str) -> None:
        self.problems.append(text)
        self._tell(text)

    def _closed(self, log: SymbolLog, day: date, newest_ns: int) -> bool:
        return newest_ns >= self.calendar.sessions(log.variety, day)[-1][1] - NEAR_CLOSE_NS

    def seal(self, log: SymbolLog, day: date, ended: bool) -> None:
        """The journal's rows into the lake's day, then the journal goes; harmless to repeat after a kill in between.

        A day that is in the lake from elsewhere, whole, stays as it is: rows of two origins are never mixed.

        Raises
        ------
        UnwritableError
            The disk refuses; the journal stays.
        """
        journal = log.journals.pop(day)
        before = self.lake.manifest("ticks", log.symbol, day)
        origin = journal.origin
        if before is not None and before.source != RECORDED:
            kept, missed, state = before.rows, 0, f"kept as {before.source} has it"
        elif before is not None and not may_join(before.details.stated_origin, origin):
            self.problems.append(
                f"{log.symbol} {day}: recorded before of {before.details.stated_origin.words}, now of {origin.words}; "
                f"the rows are kept in {journal.set_aside()}"
            )
            self._tell(self.problems[-1])
            return
        else:
            rows, left_out = journal.read(), 0
            if before is not None:
                stored = self.lake.read_day("ticks", log.symbol, day)
                known = before.ticks.recorded
                left_out = _gaps(stored["id"].to_numpy()) - known.missed if known is not None else 0
                rows = pa.concat_tables([stored, rows])
                origin = origin if origin == before.details.stated_origin else UNKNOWN
            rows = accept(rows, -1).rows
            missed = _gaps(rows["id"].to_numpy()) - left_out
            found = ordered_rows(rows, self.calendar.sessions(log.variety, day))
            log.disordered += found.disordered
            for note in found.mended.notes:
                self._tell(f"{log.symbol} {day}: {note}")
            rows = found.mended.table
            told = Recording(missed=missed, ended=ended)
            details = _with_counts_of(replace(found.mended.details, recorded=told, origin=origin.if_known), before)
            try:
                self.lake.write_day(
                    "ticks", log.symbol, day, rows, source=RECORDED, run_id=self._run_id, details=details
                )
            except BadRecordingError as exc:
                self.problems.append(f"{exc.message}; its rows stay in {journal.path}")
                self._tell(self.problems[-1])
                journal.close()
                return
            except UnwritableError:
                log.journals[day] = journal
                raise
            kept, state = rows.num_rows, "ended" if ended else "unfinished"
        failpoint("recorder.lake->journal")
        journal.remove()
        self.sealed[log.symbol, day] = RecordedDay(symbol=log.symbol, day=day, rows=kept, missed=missed, state=state)
        self._tell(f"{log.symbol} {day}: {kept} rows in the lake ({state})")


def _clock(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, SHANGHAI):%Y-%m-%d %H:%M:%S}"


def _with_counts_of(details: TickDetails, before: DayManifest | None) -> TickDetails:
    """Counts of mended rows with those of an earlier part of the day, whose rows are in the lake mended already."""
    if before is None:
        return details
    known = before.ticks
    return replace(
        details,
        dropped_duplicates=(details.dropped_duplicates or 0) + (known.dropped_duplicates or 0) or None,
        stale_rows=(details.stale_rows or 0) + (known.stale_rows or 0) or None,
        swapped_rows=(details.swapped_rows or 0) + (known.swapped_rows or 0) or None,
    )
