"""Records live ticks to the lake: keeps a feed alive, writes its rows, and knows when silence is a fault.

What kills or silence leave out is at most what was not flushed, and the next start or the next download brings it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ghtrader_base.errors import (
    BeyondCalendarError,
    FailedError,
    GhtraderError,
    RefusedError,
    UnwritableError,
    UsageError,
)
from ghtrader_base.files import atomic_write_bytes
from ghtrader_base.settings import Settings
from ghtrader_market.recorder.day_writer import RecordedDay, RecordedDays, Tell
from ghtrader_market.recorder.feed import Feed
from ghtrader_market.recorder.silence import SilenceWatch, Step
from ghtrader_market.reference.tick_origin import TickOrigin
from ghtrader_market.reference.trading_calendar import TradingCalendar, lives_by_our_clock
from ghtrader_market.reference.varieties import Variety, get_variety, variety_of
from ghtrader_market.sources.tqsdk.service_origin import origin_of_service
from ghtrader_market.stores.lake.unfinished_days import NEAR_CLOSE_NS

_LONGEST_WAIT_S = 300.0
_DISK_RETRY_S = 5.0
"""Seconds between two tries of a disk that refused."""
MOST_WAITING = 200_000
"""Rows that wait in memory for a disk that refuses, some 60 MB; with more, the service is asked again later."""
_PROOF_BYTES = 1 << 20


def ticks_expected(calendar: TradingCalendar, variety: Variety, market_ns: int, now_ns: int, silent_s: float) -> bool:
    """Whether a silence of `silent_s` may be a fault of the connection: the market is in no break.

    Parameters
    ----------
    market_ns : int
        Time of the newest tick, UTC epoch ns; -1 where none came yet.
    now_ns : int
        This machine's time. Where the market's is far from it (a simulated exchange), only the newest tick tells.

    Returns
    -------
    bool
        False also where the holiday list does not reach this machine's time: nobody knows whether the market is open.
    """
    if market_ns >= 0 and not lives_by_our_clock(calendar, market_ns, now_ns):
        day = calendar.trading_day_of(market_ns)
        return not any(abs(end - market_ns) <= NEAR_CLOSE_NS for _, end in calendar.sessions(variety, day))
    try:
        day = calendar.trading_day_of(now_ns)
    except BeyondCalendarError:
        return False
    return any(start + silent_s * 1e9 <= now_ns < end for start, end in calendar.sessions(variety, day))


@dataclass(frozen=True, kw_only=True)
class RecordReport:
    """What a recording did; `days` say what became of each contract-day, `problems` which are not in the lake."""

    symbols: tuple[str, ...]
    rows: int
    duplicates: int
    disordered: int
    missed: int
    restarts: int
    days: tuple[RecordedDay, ...]
    problems: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        days = [day.to_json() for day in self.days]
        return {**self.__dict__, "symbols": [*self.symbols], "days": days, "problems": [*self.problems]}


class Recorder:
    """Records some symbols until told to stop.

    Parameters
    ----------
    settings : Settings
    symbols : iterable of str
    varieties : iterable of str
        Varieties whose listed contracts are recorded too; listed anew with every trading day.
    flush_s, flush_rows : float, int
        Rows wait no longer than this, nor in greater number, before they are on disk.
    stale_s : float
        Silence after which the service is asked, where the market should be speaking, whether it has newer ticks. If
        it has, or says nothing, the client is started again: TqSdk reconnects by itself after the server closed the
        line, subscribes nothing, and receives no more.
    series_rows : int
        Rows a restart can fetch without asking for history; 0: all TqSdk allows.
    run_id : str
        Kept in the manifests.
    tell : callable
        Takes a line of progress.
    """

    def __init__(
        self,
        settings: Settings,
        symbols: Iterable[str] = (),
        varieties: Iterable[str] = (),
        *,
        flush_s: float = 5.0,
        flush_rows: int = 5_000,
        stale_s: float = 30.0,
        series_rows: int = 0,
        run_id: str = "",
        tell: Tell = lambda line: None,
    ) -> None:
        self._settings = settings
        self._named, self._varieties = sorted(set(symbols)), [get_variety(key) for key in varieties]
        self._flush_s, self._flush_rows, self._stale_s, self._series_rows = flush_s, flush_rows, stale_s, series_rows
        self._days = RecordedDays(settings, run_id, tell)
        self._tell = tell
        self._feed: Feed | None = None
        self._restarts = 0
        self._silence = SilenceWatch(stale_s)
        self._wait_s = 0.0
        self._disk_refuses = ""
        self._disk_again = 0.0

    def run(self, stop: threading.Event, for_s: float | None = None) -> RecordReport:
        """Record until `stop` is set or `for_s` seconds are over; everything received is in the lake when this returns.

        Raises
        ------
        ConfigError, UnreachableError, RefusedError, UsageError
            The service cannot be asked at all, or not for these symbols; later faults of it are waited out.
        LockHeldError
            Somebody else writes ticks of one of the symbols.
        """
        with self._days:
            try:
                self._connect()
                started = time.monotonic()
                while not stop.is_set() and (for_s is None or time.monotonic() - started < for_s):
                    self._turn(stop)
            finally:
                try:
                    self._drop_feed()
                finally:
                    self._days.seal_all()
            return self._report(time.monotonic() - started)

    def _report(self, seconds: float) -> RecordReport:
        logs = self._days.logs.values()
        return RecordReport(
            symbols=tuple(self._days.logs),
            rows=sum(log.rows for log in logs),
            duplicates=sum(log.duplicates for log in logs),
            disordered=sum(log.disordered for log in logs),
            missed=sum(log.missed for log in logs),
            restarts=self._restarts,
            days=tuple(self._days.sealed[key] for key in sorted(self._days.sealed)),
            problems=tuple(self._days.problems),
            seconds=round(seconds, 3),
        )

    def _turn(self, stop: threading.Event) -> None:
        if self._disk_refuses and self._feed is None and not self._disk_takes_writes():
            stop.wait(0.1)  # what comes meanwhile would have nowhere to go; afterwards the service is asked for it
            return
        try:
            if self._feed is None:
                self._connect()
                self._restarts += 1
            assert self._feed is not None
            arrived = self._feed.poll(0.1)
        except GhtraderError as exc:  # a refused login too: it was accepted before, and maintenance ends
            self._drop_feed()
            self._flush()
            self._wait_s = min(max(self._wait_s * 2, 1.0), _LONGEST_WAIT_S)
            self._tell(f"{exc.message}; trying again in {self._wait_s:.0f} s")
            stop.wait(self._wait_s)
            return
        if self._days.take(arrived):
            self._wait_s = 0.0
        now, waiting = time.monotonic(), self._days.oldest_waiting
        if waiting is not None and (now - waiting >= self._flush_s or self._days.waiting_rows >= self._flush_rows):
            self._flush()
        if self._seal_what_is_over(now) and self._varieties:
            self._drop_feed()  # a new day may list new contracts
            return
        step = self._silence.step(now, self._days.heard, self._days.newest_ns, self._should_hear, self._feed.newest)
        if step is Step.ASK:
            with contextlib.suppress(GhtraderError):  # it ended: `poll` says so
                self._feed.ask_newest()
        elif step is not Step.NOTHING:
            self._tell(self._silence.why)
            if step is Step.RESTART:
                self._drop_feed()

    def _flush(self) -> None:
        """Rows onto disk; while that refuses they wait in memory, up to a number, and the recording goes on."""
        if self._disk_refuses and time.monotonic() < self._disk_again:
            return
        try:
            self._days.flush()
        except UnwritableError as exc:
            self._refused(exc)
            if self._days.waiting_rows >= MOST_WAITING:
                self._drop_feed()
                spans = "; ".join(self._days.forget_waiting())
                self._tell(f"too many rows wait for the disk: {spans} is asked for again once there is room")
            return
        self._took()

    def _seal_what_is_over(self, now: float) -> bool:
        if self._disk_refuses and now < self._disk_again:
            return False
        try:
            return self._days.seal_what_is_over(now)
        except UnwritableError as exc:
            self._refused(exc)
            return False

    def _disk_takes_writes(self) -> bool:
        """Try a disk that refused, now and then."""
        if time.monotonic() < self._disk_again:
            return False
        proof = self._settings.data / "recording" / ".proof"
        try:
            atomic_write_bytes(proof, bytes(_PROOF_BYTES))
            proof.unlink(missing_ok=True)
        except UnwritableError as exc:
            self._refused(exc)
            return False
        self._took()
        return True

    def _refused(self, exc: UnwritableError) -> None:
        self._disk_again = time.monotonic() + _DISK_RETRY_S
        if not self._disk_refuses:
            self._disk_refuses = exc.message
            self._tell(f"{exc.message}; ticks are kept in memory, and written once there is room")

    def _took(self) -> None:
        if self._disk_refuses:
            self._tell("the disk takes writes again")
        self._disk_refuses = ""

    def _should_hear(self) -> bool:
        varieties = {log.variety.key: log.variety for log in self._days.logs.values()}.values()
        newest, now_ns, calendar = self._days.newest_ns, time.time_ns(), self._days.calendar
        return any(ticks_expected(calendar, variety, newest, now_ns, self._stale_s) for variety in varieties)

    def _connect(self) -> None:
        feed = Feed(self._settings)
        try:
            self._same_market(origin_of_service(self._settings))
            wanted = self._listed(feed)
            for symbol in wanted:
                if symbol not in self._days.logs:
                    self._days.begin(symbol)
            feed.watch({symbol: self._days.logs[symbol].last_id for symbol in wanted}, self._series_rows)
        except BaseException:
            feed.close(0.0)
            raise
        self._feed = feed
        self._silence.connected(time.monotonic())
        self._tell(f"recording {', '.join(wanted)}")

    def _same_market(self, origin: TickOrigin) -> None:
        """Note where the rows come from; RefusedError where they came from elsewhere before this connection."""
        before = self._days.origin
        if self._days.logs and before.market != origin.market:
            raise RefusedError(
                f"the service is {origin.words} now, and was {before.words}",
                "start the recording again to go on with it",
            )
        self._days.origin = origin

    def _listed(self, feed: Feed) -> list[str]:
        """Symbols to record that trade now; at the first start one that does not is an error."""
        varieties = {v.key: v for v in [*self._varieties, *map(variety_of, self._named)]}
        listed = {key: feed.listed(v.exchange, v.product) for key, v in varieties.items()}
        for symbol in self._named:
            if not self._days.logs and symbol not in listed[variety_of(symbol).key]:
                known = ", ".join(listed[variety_of(symbol).key]) or "none of that product"
                raise UsageError(f"{symbol} is not listed", f"listed now: {known}")
        wanted = [symbol for symbol in self._named if symbol in listed[variety_of(symbol).key]]
        wanted += [symbol for variety in self._varieties for symbol in listed[variety.key]]
        if not wanted:
            raise FailedError("none of the contracts to be recorded trades now", "name others, or wait")
        return sorted(set(wanted))

    def _drop_feed(self) -> None:
        """End the client; rows it still sent are kept."""
        feed, self._feed = self._feed, None
        if feed is not None:
            self._days.take(feed.close(2.0))
