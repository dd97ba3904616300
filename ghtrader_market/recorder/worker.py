"""Runs TqSdk for a recorder in a child process; `feed` starts it as `python -m`.

Like `sources.tqsdk.worker` it has a HOME of its own, takes requests on stdin and answers with frames on the pipe that
was stdout; once told to watch, it sends every new row of every symbol. It keeps nothing: what was sent and what not is
the parent's to know, which says after which row each symbol goes on. When the parent is gone, this process ends.
"""

from __future__ import annotations

import queue
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_base.logs import loggers_kept
from ghtrader_base.private_files import keep_private
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.sources.base import canonical_table
from ghtrader_market.sources.tqsdk.frames import FrameError
from ghtrader_market.sources.tqsdk.newest_bar import NewestBars
from ghtrader_market.sources.tqsdk.past_ticks import past_ticks
from ghtrader_market.sources.tqsdk.worker import as_error
from ghtrader_market.sources.tqsdk.worker_pipe import Out, run_worker

SERIES_ROWS = 10_000
"""Rows TqSdk keeps of a series at most: what a restart can fetch without asking for history."""
_GATHER_S = 0.2
_BEAT_S = 1.0
_TICKS_FOLLOW_S = 1.0
"""How much later than its bar a tick may come."""


class LiveSeries:
    """One symbol's tick series, and how far of it has been sent.

    Parameters
    ----------
    api : tqsdk.TqApi
    symbol : str
    after : int
        Id of the last row the parent has; -1: none, which asks for the trading day of the newest tick from its start.
    rows : int
        Length of the series.
    calendar : TradingCalendar
    """

    def __init__(self, api: Any, symbol: str, after: int, rows: int, calendar: Any) -> None:
        self.symbol = symbol
        self._api, self._rows, self._calendar = api, rows, calendar
        self._sent = after
        self._begun = after >= 0
        self._frame = api.get_tick_serial(symbol, rows)

    @property
    def changed(self) -> bool:
        """Whether the last update touched it."""
        return bool(self._api.is_changing(self._frame))

    def new_rows(self) -> pa.Table | None:
        """Every row not sent yet, as `RAW_TICK_SCHEMA`; what the series no longer holds is fetched as history."""
        last = self._frame["id"].iloc[-1]
        if not last > self._sent:
            return None
        behind = len(self._frame) if self._sent < 0 else min(len(self._frame), int(last) - self._sent)
        # A copy in earnest: TqSdk moves the rows of the series in place, also while history is fetched below.
        there = self._frame.iloc[-behind:].copy(deep=True)
        there = there[there["datetime"] > 0]
        ids = there["id"].to_numpy(np.int64)
        if not len(ids):
            return None
        first, time_ns = int(ids[0]), int(there["datetime"].iloc[0])
        newest = self._calendar.trading_day_of(int(there["datetime"].iloc[-1]))
        day_start = self._calendar.bounds(newest)[0]
        parts = []
        # A series that is not full begins with the contract's first tick, and days that are over can be downloaded.
        if len(there) >= self._rows and first > self._sent + 1 and time_ns > day_start:
            history = self._history(day_start, time_ns, first)
            if history is not None:
                parts.append(history)
        table = _table(there)
        if not self._begun:  # the days before are not asked for
            table = table.filter(pa.array(table["datetime_ns"].to_numpy() >= day_start))
        parts.append(table)
        self._sent, self._begun = int(ids[-1]), True
        found = pa.concat_tables(parts)
        return found if found.num_rows else None

    def _history(self, start_ns: int, end_ns: int, before: int) -> pa.Table | None:
        """Rows from `start_ns` between the last one sent and `before`; None where the account may not ask for them."""
        # What was kept of an earlier gap would only be merged with this one.
        shutil.rmtree(Path.home() / ".tqsdk" / "data_series_1", ignore_errors=True)
        found = past_ticks(self._api, self.symbol, start_ns, end_ns, self._sent, before)
        if found.frame is None:  # the parent sees the gap
            print(f"no history of {self.symbol}: {found.why_not}", file=sys.stderr, flush=True)
            return None
        return _table(found.frame)


def _table(frame: Any) -> pa.Table:
    present = {name: frame[name].to_numpy(np.float64) for name in VALUE_COLUMNS if name in frame}
    return canonical_table(frame["id"].to_numpy(np.int64), frame["datetime"].to_numpy(), present)


class SilenceLook:
    """Answers the parent's question whether the service has newer ticks than it sent (`Feed.ask_newest`).

    The answer leaves here after the ticks that came with it, so that who reads it has those.

    Parameters
    ----------
    api : tqsdk.TqApi
    symbols : iterable of str
    """

    def __init__(self, api: Any, symbols: Iterable[str]) -> None:
        self._api, self._symbols = api, list(symbols)
        self._bars: NewestBars | None = None
        self._times: dict[str, int] | None = None
        self._since = 0.0

    def begin(self) -> None:
        """Ask; a question before, which was not answered, is given up."""
        if self._bars is not None:
            self._bars.end()
        self._bars, self._times = NewestBars(self._api, self._symbols), None

    def answer(self, now: float) -> dict[str, int] | None:
        """When each contract last ticked, UTC epoch ns, once; None before. `now` in seconds of the monotonic clock."""
        if self._bars is None:
            return None
        if self._times is None:
            self._times, self._since = self._bars.times(), now
        if self._times is None or now - self._since < _TICKS_FOLLOW_S:
            return None
        self._bars.end()
        self._bars = None
        return self._times


def watch(api: Any, request: dict[str, Any], out: Out, requests: queue.Queue[dict[str, Any]]) -> dict[str, Any]:
    """Send new rows of every symbol of a request; returns the next request that is for somebody else."""
    from ghtrader_base.settings import load_settings

    calendar = load_calendar(load_settings(request["home"]))
    rows = int(request.get("rows") or SERIES_ROWS)
    series = [LiveSeries(api, symbol, after, rows, calendar) for symbol, after in request["after"].items()]
    out.send("watching", symbols=[each.symbol for each in series])
    look = SilenceLook(api, request["after"])
    pending, told = set(series), time.monotonic()
    while True:
        while not requests.empty():
            if (asked := requests.get())["op"] != "newest":
                return asked
            look.begin()
        for each in pending:
            if (table := each.new_rows()) is not None:
                out.send("ticks", table, symbol=each.symbol)
        now = time.monotonic()
        if (times := look.answer(now)) is not None:
            out.send("newest", times=times)
        if now - told >= _BEAT_S:
            out.send("beat")
            told = now
        pending, until = set(), time.monotonic() + _GATHER_S  # TqSdk's deadline is wall time, which may be set back
        while (left := until - time.monotonic()) > 0 and api.wait_update(deadline=time.time() + left):
            pending |= {each for each in series if each.changed}


def _serve(requests: queue.Queue[dict[str, Any]], out: Out) -> None:
    api: Any = None
    try:
        request = requests.get()
        while request["op"] != "close":
            following = None
            try:
                if request["op"] == "open":
                    with loggers_kept():
                        import tqsdk

                    auth = tqsdk.TqAuth(request["user"], request["password"])
                    api = tqsdk.TqApi(auth=auth, disable_print=True)
                    out.send("done", value=None)
                elif request["op"] == "listed":
                    wanted = {"exchange_id": request["exchange"], "product_id": request["product"]}
                    found = api.query_quotes(ins_class="FUTURE", expired=False, **wanted)
                    out.send("done", value=sorted(found))
                else:
                    following = watch(api, request, out, requests)
            except (BrokenPipeError, FrameError):
                return
            except Exception as exc:
                error = as_error(exc)
                out.send("error", name=type(error).__name__, message=error.message, hint=error.hint)
            request = following or requests.get()
    finally:
        if api is not None:
            api.close()


if __name__ == "__main__":
    keep_private()
    sys.exit(run_worker(_serve, "ghtrader record"))
