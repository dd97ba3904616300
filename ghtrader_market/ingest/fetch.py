"""Fetches one contract's missing days into the lake, by range, and in ever smaller requests when the source fails.

A source may break on one day, be slow, turn everybody away for an hour, or give half a range without a word. A range
that does not come is asked for in shorter ones, the day at fault alone, and after some tries that day goes to the skip
ledger and the rest goes on. A service that is away for everybody is left alone by the circuit breaker; once it has been
away for too long, what is left goes to the ledger too. Which days are wanted is decided in `download`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from ghtrader_base.errors import (
    BadRecordingError,
    FailedError,
    GhtraderError,
    IntegrityError,
    LoginRefusedError,
    NotListedError,
    TimedOutError,
    UnreachableError,
)
from ghtrader_base.failpoints import failpoint
from ghtrader_market.ingest.report import Progress, ProgressLine
from ghtrader_market.ingest.validation import examine
from ghtrader_market.reference.tick_origin import UNKNOWN, OriginKind, TickOrigin
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.base import TickSource, origin_of_source
from ghtrader_market.sources.circuit_breaker import OPEN, CircuitBreaker, Policy
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.missing_days import add_no_data, add_skips, clear_skips

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

Days = list[date]
_CAREFUL_DAYS = 4
"""Days asked for at once after a range did not come; after that one by one."""
_CALM_DAYS = 12
"""Days that must come before whole ranges are asked for again."""
_DAMAGED_TRIES = 2
"""Times a day whose rows contradict themselves or their bar is asked for: the second time alone."""
_POLL_S = 0.1
NOT_LISTED, DAMAGED = "not-listed", "damaged"
"""Why a contract's days are not here where the service does not list it, or what the lake has of it does not read; in
no ledger, since asking again mends neither."""
_OF_THE_SERVICE = (UnreachableError, LoginRefusedError)


@dataclass(frozen=True)
class FetchPolicy:
    """The retry policy of a download.

    Attributes
    ----------
    attempts : int
        Times a day may fail to come before it is skipped.
    outage_s : float
        Seconds a service may be away for everything before what is left is skipped.
    breaker : Policy
        Pauses in between.
    """

    attempts: int = 3
    outage_s: float = 180.0
    breaker: Policy = field(default_factory=Policy)


def reason_of(exc: Exception) -> str:
    """The skip reason an error of a source stands for."""
    if isinstance(exc, LoginRefusedError):
        return "login-refused"
    if isinstance(exc, TimedOutError):
        return "timed-out"
    return "unreachable" if isinstance(exc, UnreachableError) else "source-error"


class Tally:
    """Numbers that several threads add to, and the progress they make."""

    def __init__(self, wanted: int, progress: Progress | None) -> None:
        self.lock = threading.RLock()
        self.started = time.monotonic()
        self.written: list[tuple[str, date]] = []
        self.empty: list[tuple[str, date]] = []
        self.skipped: list[tuple[str, date, str, str]] = []
        self.stored = 0
        self._on_first: Callable[[], object] | None = None
        self._coming: dict[str, int] = {}
        self._wanted = wanted
        self._progress = progress

    def on_first(self, call: Callable[[], object]) -> None:
        """Call once, with the first thing the source gives or fails to give for a day."""
        self._on_first = call

    def begin(self) -> None:
        """Something is about to be stored."""
        with self.lock:
            self._first()

    def _first(self) -> None:
        call, self._on_first = self._on_first, None
        if call is not None:
            call()

    def coming(self, key: str, rows: int) -> None:
        """Rows received by one request, stored or not."""
        with self.lock:
            self._first()
            self._coming[key] = rows
            self._tell()

    def heard(self) -> bool:
        """Whether the source has given anything at all."""
        with self.lock:
            return bool(self.written or self.empty or any(self._coming.values()))

    def stores(self, symbol: str, day: date, rows: int) -> None:
        """A day was stored."""
        with self.lock:
            self._first()
            self.written.append((symbol, day))
            self.stored += rows
            self._tell()

    def lacks(self, symbol: str, day: date) -> None:
        """A day turned out to be empty."""
        with self.lock:
            self._first()
            self.empty.append((symbol, day))
            self._tell()

    def skips(self, symbol: str, day: date, reason: str, detail: str) -> None:
        """A day was given up."""
        with self.lock:
            self._first()
            self.skipped.append((symbol, day, reason, detail))
            self._tell()

    def refuses(self, symbol: str, days: Days, reason: str, detail: str) -> None:
        """Days that nobody was asked for: their contract is not listed, or what is here of it is damaged."""
        with self.lock:
            self.skipped += [(symbol, day, reason, detail) for day in days]

    def _tell(self) -> None:
        if self._progress is not None:
            rows = max(self.stored, sum(self._coming.values()))
            done = len(self.written) + len(self.empty) + len(self.skipped)
            self._progress(ProgressLine(rows, done, self._wanted, time.monotonic() - self.started))


@dataclass(kw_only=True)
class _Left:
    """What is left of one contract and how carefully it is asked for."""

    symbol: str
    dataset: str
    days: Days
    replaces: frozenset[date]
    at_once: int | None = None
    tries: int = 0
    calm: int = 0
    volumes: Mapping[date, int] | None = None
    empty: Days = field(default_factory=list)

    def ask_next(self, calendar: TradingCalendar) -> Days:
        """The next days without a gap between them, at most `at_once`."""
        asked = [self.days[0]]
        for day in self.days[1:]:
            if calendar.previous_day(day) != asked[-1] or len(asked) == self.at_once:
                break
            asked.append(day)
        return asked if self.at_once is None else asked[: self.at_once]

    def came(self, day: date) -> None:
        """A day is dealt with, well."""
        self.days.remove(day)
        self.tries = 0
        self.calm += 1
        if self.calm >= _CALM_DAYS:
            self.at_once = None

    def failed(self) -> bool:
        """The range did not come: the next is shorter. Whether its first day was asked for alone."""
        alone = self.at_once == 1
        self.tries += 1
        self.calm = 0
        self.at_once = _CAREFUL_DAYS if self.at_once is None else 1
        return alone


class Fetcher:
    """What the threads of one download share.

    Parameters
    ----------
    run_id : str
        Written into the days.
    volumes : mapping, optional
        Symbol -> day -> lots of its daily bar. A symbol that is not in it is asked of the source.
    """

    def __init__(
        self,
        source: TickSource,
        lake: Lake,
        calendar: TradingCalendar,
        tally: Tally,
        policy: FetchPolicy,
        run_id: str = "",
        volumes: Mapping[str, Mapping[date, int]] | None = None,
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._source, self._lake, self._calendar = source, lake, calendar
        self._tally, self._policy, self._run_id = tally, policy, run_id
        self._volumes, self._tell = volumes or {}, tell
        self._breaker = CircuitBreaker(policy.breaker)
        self._contiguous = getattr(source, "contiguous_ids", False)
        self._lock = threading.Lock()
        self._lost_in_a_row = 0
        self.stop = threading.Event()
        self.outage: GhtraderError | None = None
        """Why the rest was given up, once it was."""
        self.unlisted: list[NotListedError] = []
        """Of each contract that the service does not list, what it said."""

    def contract(self, symbol: str, dataset: str, days: Days, replaces: frozenset[date] = frozenset()) -> None:
        """Fetch days of one symbol, ascending; returns early once `stop` is set.

        Days the source does not give because they are not over there are simply left.
        """
        left = _Left(
            symbol=symbol, dataset=dataset, days=list(days), replaces=replaces, volumes=self._volumes.get(symbol)
        )
        try:
            while left.days and not self.stop.is_set():
                if not self._admitted():
                    self._give_up_rest(left)
                elif not self._range(left):
                    return
        except NotListedError as exc:  # of this contract alone, and no asking again mends it
            self.unlisted.append(exc)
            self._tally.refuses(symbol, left.days, NOT_LISTED, exc.message)
        except (BadRecordingError, IntegrityError) as exc:  # what is here of this contract does not read, or its rows
            self._tally.refuses(symbol, left.days, DAMAGED, exc.message)
        finally:
            self._flush_empty(left)

    # ---- one range ----
    def _range(self, left: _Left) -> bool:
        """Ask for the next range and keep what comes; whether the source may have more."""
        asked = left.ask_next(self._calendar)
        key = f"{left.symbol} {asked[0]}"
        try:
            if left.volumes is None:
                left.volumes = self._bars(left)
            arriving = self._source.ticks(left.symbol, asked[0], asked[-1], lambda rows: self._tally.coming(key, rows))
            with contextlib.closing(_Closable(arriving)) as days:
                given = self._keep_all(left, asked, days)
        except _SourceError as trouble:
            self._flush_empty(left)
            self._trouble(left, trouble.error)
            return True
        self._flush_empty(left)
        return given

    def _bars(self, left: _Left) -> Mapping[date, int]:
        """Lots of each day's bar, as the source has them now."""
        try:
            bars = self._source.daily_bars([left.symbol], left.days[0], left.days[-1])
        except (UnreachableError, FailedError) as exc:
            if isinstance(exc, LoginRefusedError):
                self.outage = exc  # the source has waited for it as long as one waits
            raise _SourceError(exc) from exc
        return dict(zip(bars["trading_day"].to_pylist(), bars["volume"].to_pylist(), strict=True))

    def _keep_all(self, left: _Left, asked: Days, arriving: Iterator[tuple[date, pa.Table]]) -> bool:
        """Store the days of a range as they come; False where the source has no later ones yet."""
        given = 0
        while True:
            try:
                day, table = next(arriving)
                origin = origin_of_source(self._source)
            except StopIteration:
                self._breaker.succeeded()
                return given == len(asked)
            except (UnreachableError, FailedError) as exc:
                raise _SourceError(exc) from exc
            self._breaker.succeeded()
            given += 1
            if self.stop.is_set():
                return False
            if not self._keep(left, day, table, origin, alone=len(asked) == 1):
                return True  # asked for again, alone

    def _keep(self, left: _Left, day: date, table: pa.Table, origin: TickOrigin, alone: bool) -> bool:
        """Store one day, or say why not; False where it should be asked for once more."""
        self._tally.begin()
        failpoint("ingest.fetch->write")
        sessions = self._calendar.sessions(variety_of(left.symbol), day)
        examined = examine(table, (left.volumes or {}).get(day), self._contiguous, sessions)
        if examined.reason:
            left.tries += 1
            left.calm, left.at_once = 0, 1
            if alone and left.tries >= _DAMAGED_TRIES:
                self._skip(left, day, examined.reason, examined.detail)
                return True
            return False
        if foreign := self._recorded_elsewhere(left, day, origin):
            self._skip(left, day, "other-origin", foreign)
            return True
        if examined.table.num_rows:
            self._flush_empty(left)
            for note in examined.notes:
                self._tell(f"{left.symbol} {day}: {note}")
            self._store(left, day, examined.table, replace(examined.details, origin=origin.if_known))
        else:
            left.empty.append(day)
            self._tally.lacks(left.symbol, day)
        left.came(day)
        with self._lock:
            self._lost_in_a_row = 0
        return True

    def _recorded_elsewhere(self, left: _Left, day: date, origin: TickOrigin) -> str:
        """Why a day that our recorder wrote is not replaced by this one; empty where it may be."""
        before = self._lake.manifest(left.dataset, left.symbol, day) if day in left.replaces else None
        recorded = before.details.stated_origin if before is not None else UNKNOWN
        if recorded.kind == OriginKind.UNKNOWN or recorded.market == origin.market:
            return ""
        return f"recorded of {recorded.words}, and this is {origin.words}; what was recorded stays"

    def _store(self, left: _Left, day: date, table: pa.Table, details: TickDetails) -> None:
        name, symbol = self._source.name, left.symbol
        if day in left.replaces:
            details = replace(details, replaced="a day recorded live")
        self._lake.write_day(left.dataset, symbol, day, table, source=name, run_id=self._run_id, details=details)
        failpoint("ingest.manifest->ledger")
        clear_skips(self._lake, symbol, [day], left.dataset)
        self._tally.stores(symbol, day, table.num_rows)

    def _flush_empty(self, left: _Left) -> None:
        if left.empty:
            add_no_data(self._lake, left.symbol, left.empty, left.dataset)
            clear_skips(self._lake, left.symbol, left.empty, left.dataset)
            left.empty = []

    # ---- trouble ----
    def _trouble(self, left: _Left, exc: UnreachableError | FailedError) -> None:
        """A range did not come: blame the service, or the day."""
        of_the_service = type(exc) in _OF_THE_SERVICE
        if type(exc) is UnreachableError and not self._tally.heard():
            raise exc  # nobody was ever there: that is said at once, and no day is blamed
        self._breaker.failed()
        self._tell(f"{left.symbol} {left.days[0]}: {exc.message}")
        self._judge(exc, of_the_service)
        if of_the_service:
            left.at_once = _CAREFUL_DAYS
            return
        if left.failed() and left.tries >= self._policy.attempts:
            self._skip(left, left.days[0], reason_of(exc), exc.message)
            with self._lock:
                self._lost_in_a_row += 1

    def _judge(self, exc: GhtraderError, of_the_service: bool) -> None:
        """Whether the service has been away for too long: for every day asked, not for one."""
        with self._lock:
            several = of_the_service or self._lost_in_a_row >= 2
            if several and self._breaker.away_s() >= self._policy.outage_s and self.outage is None:
                self.outage = exc

    def _admitted(self) -> bool:
        """Wait for the circuit; False once the service is given up."""
        told = False
        while self.outage is None and not self.stop.is_set():
            if self._breaker.admits():
                return True
            if not told and self._breaker.state.name == OPEN:
                told = True
                self._tell(f"the source is left alone for {self._breaker.wait_s():.1f} s")
            time.sleep(min(_POLL_S, max(0.01, self._breaker.wait_s())))
        return self.outage is None

    def _give_up_rest(self, left: _Left) -> None:
        if self.outage is None:
            return
        reason, detail = reason_of(self.outage), self.outage.message
        add_skips(self._lake, left.symbol, dict.fromkeys(left.days, (reason, detail)), left.dataset)
        for day in left.days:
            self._tally.skips(left.symbol, day, reason, detail)
        left.days.clear()

    def _skip(self, left: _Left, day: date, reason: str, detail: str) -> None:
        add_skips(self._lake, left.symbol, {day: (reason, detail)}, left.dataset)
        left.days.remove(day)
        left.tries, left.at_once = 0, _CAREFUL_DAYS
        self._tell(f"{left.symbol} {day} is skipped: {reason}: {detail}")
        self._tally.skips(left.symbol, day, reason, detail)


class _SourceError(Exception):
    """An error of the source, apart from those of the stores."""

    def __init__(self, error: UnreachableError | FailedError) -> None:
        super().__init__(str(error))
        self.error = error


class _Closable(Iterator[tuple[date, pa.Table]]):
    """An iterator of days that can be closed, whether it is a generator or not."""

    def __init__(self, days: Iterator[tuple[date, pa.Table]]) -> None:
        self._days = days

    def __next__(self) -> tuple[date, pa.Table]:
        return next(self._days)

    def close(self) -> None:
        close = getattr(self._days, "close", None)
        if close is not None:
            close()
