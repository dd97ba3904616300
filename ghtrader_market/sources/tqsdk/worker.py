"""Runs TqSdk in a child process and answers its parent's requests.

`python -m ghtrader_market.sources.tqsdk.worker`, started by `worker_client`.

It runs under a HOME of its own (TqSdk keeps a cache of ticks there, fixed when it is imported: a shared one would mix
simulated and real days), answers requests from stdin with frames on the pipe that was stdout, and turns what TqSdk
prints to stderr. When the parent is gone, stdin ends and so does this process. Importing this module imports no TqSdk.
"""

from __future__ import annotations

import contextlib
import queue
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import (
    ConfigError,
    FailedError,
    GhtraderError,
    LoginRefusedError,
    NotListedError,
    TimedOutError,
    UnreachableError,
)
from ghtrader_base.logs import loggers_kept
from ghtrader_base.private_files import keep_private
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.sources.base import canonical_table, empty_ticks
from ghtrader_market.sources.tqsdk.worker_pipe import Out, run_worker

SHANGHAI = timezone(timedelta(hours=8))
_POLL_S = 0.5
_NO_LICENCE = "仅限专业版"
_LOGIN_REFUSED = re.compile(r"用户权限认证失败 \((\d+)")
_MAINTENANCE = "日常运维时间"


class Session:
    """One logged-in TqApi and what can be asked of it. All methods run on the main thread: TqSdk demands it."""

    def __init__(self, user: str, password: str) -> None:
        with loggers_kept():
            import tqsdk

        self._api = tqsdk.TqApi(auth=tqsdk.TqAuth(user, password), disable_print=True)
        self._known: dict[tuple[str, str], list[str]] = {}
        self.rows = 0

    def close(self) -> None:
        """Log out."""
        self._api.close()

    def symbols(self, exchange: str, product: str) -> list[str]:
        """Every future of a product the service knows, expired ones too."""
        key = (exchange, product)
        if key not in self._known:
            found = self._api.query_quotes(ins_class="FUTURE", exchange_id=exchange, product_id=product)
            self._known[key] = sorted(found)
        return self._known[key]

    def contracts(self, exchange: str, product: str) -> list[dict[str, Any]]:
        """Symbol, last trading day (text) and whether it expired, of each future of a product."""
        symbols = self.symbols(exchange, product)
        if not symbols:
            return []
        info = self._api.query_symbol_info(symbols)
        rows = []
        for symbol, expires, expired in zip(
            info["instrument_id"], info["expire_datetime"], info["expired"], strict=True
        ):
            if expires == expires and expires > 0:
                day = datetime.fromtimestamp(float(expires), SHANGHAI).date()
                rows.append({"symbol": str(symbol), "expires": day.isoformat(), "expired": bool(expired)})
        return rows

    def market_ns(self, symbols: Iterable[str]) -> int:
        """Exchange time of the newest quote of `symbols`, UTC epoch ns; 0 where none has traded."""
        newest = 0
        for symbol in symbols:
            self.require_symbol(symbol)
            text = self._api.get_quote(symbol).datetime
            if text:
                moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=SHANGHAI)
                newest = max(newest, round(moment.timestamp() * 1e6) * 1000)
        return newest

    def require_symbol(self, symbol: str) -> None:
        """NotListedError where the service lists no such contract, or none of a main series' product.

        TqSdk itself waits 30 s for it and then cannot tell it from a service that is away.
        """
        head, _, series = symbol.partition("@")
        exchange, _, name = (series or head).partition(".")
        product = name.rstrip("0123456789")
        listed = self.symbols(exchange, product)
        if not listed:
            raise NotListedError(
                f"the service lists no contract of {exchange}.{product}"
                + ("" if series else f", so it does not know the contract {symbol}"),
                "choose another, or another service",
            )
        if not series and symbol not in listed:
            known = f"it lists {listed[0]} to {listed[-1]}"
            raise NotListedError(f"the service does not know the contract {symbol}", known)

    def daily_bars(self, symbol: str, start_ns: int, end_ns: int) -> pa.Table:
        """Daily bars whose time lies in [start_ns, end_ns), with `datetime_ns` as TqSdk gives it."""
        self.require_symbol(symbol)
        frame = self._series(self._api.get_kline_data_series, symbol, start_ns, end_ns, 86400)
        if frame.empty:
            return pa.table({"datetime_ns": pa.array([], pa.int64())})
        columns = {"datetime_ns": frame["datetime"].to_numpy(np.int64)}
        columns |= {name: frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close")}
        columns |= {name: _counts(frame[name].to_numpy(np.float64)) for name in ("volume", "close_oi")}
        return pa.table(columns)

    def ticks(self, symbol: str, start_ns: int, end_ns: int) -> pa.Table:
        """Ticks whose time lies in [start_ns, end_ns), as `RAW_TICK_SCHEMA`."""
        self.require_symbol(symbol)
        frame = self._series(self._api.get_tick_data_series, symbol, start_ns, end_ns)
        if frame.empty:
            return empty_ticks()
        present = {name: frame[name].to_numpy(np.float64) for name in VALUE_COLUMNS if name in frame}
        return canonical_table(frame["id"].to_numpy(np.int64), frame["datetime"].to_numpy(np.int64), present)

    def continuous(self, symbol: str, days: int) -> list[tuple[str, str]]:
        """The vendor's main contract of each of the last `days` trading days."""
        self.require_symbol(symbol)
        frame = self._api.query_his_cont_quotes([symbol], n=days)
        pairs = zip(frame["date"], frame[symbol], strict=True)
        return [(moment.date().isoformat(), str(contract)) for moment, contract in pairs if contract]

    def _series(self, call: Callable[..., Any], symbol: str, start_ns: int, end_ns: int, *duration: int) -> Any:
        # Whole microseconds: a datetime holds no more.
        start = datetime.fromtimestamp(start_ns // 10**9, SHANGHAI)
        end = datetime.fromtimestamp(end_ns // 10**9, SHANGHAI) - timedelta(microseconds=1)
        if duration:
            return call(symbol, *duration, start, end)
        return call(symbol, start, end)


def _counts(values: np.ndarray) -> np.ndarray:
    lots: np.ndarray = np.rint(np.nan_to_num(values, nan=0.0)).astype(np.int64)
    return lots


class _Cache:
    """TqSdk's tick cache of this process: emptied after each call, watched while one runs."""

    def __init__(self) -> None:
        self._folder = Path.home() / ".tqsdk" / "data_series_1"
        self._row_bytes = 8 * (2 + len(VALUE_COLUMNS))

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def rows(self) -> int:
        """Rows of the download in progress, from the size of its temporary file; a hint for people only."""
        with contextlib.suppress(OSError):
            return sum(file.stat().st_size for file in self._folder.glob("*.temp")) // self._row_bytes
        return 0


@contextlib.contextmanager
def _watched(out: Out, cache: _Cache) -> Any:
    """Tell the parent how many rows have come while a download runs."""
    done = threading.Event()

    def tell() -> None:
        told = 0
        while not done.wait(_POLL_S):
            if (rows := cache.rows()) > told:
                told = rows
                with contextlib.suppress(OSError):
                    out.send("progress", rows=rows)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        cache.clear()


def _answer(session: Session, request: dict[str, Any], out: Out, cache: _Cache) -> None:
    operation = request.pop("op")
    if operation == "ticks":
        with _watched(out, cache):
            table = session.ticks(**request)
        out.send("done", table)
    elif operation == "daily_bars":
        try:
            out.send("done", session.daily_bars(**request))
        finally:
            cache.clear()
    elif operation in ("contracts", "market_ns", "continuous"):
        out.send("done", value=getattr(session, operation)(**request))
    else:
        raise FailedError(f"the worker knows no request {operation!r}")


def as_error(exc: Exception) -> GhtraderError:
    """What TqSdk raised, as one of our errors."""
    if isinstance(exc, GhtraderError):
        return exc
    if (full := disk_error(exc, Path.home(), doing="TqSdk cannot write its cache")) is not None:
        return full
    import requests
    from tqsdk.exceptions import TqTimeoutError

    text = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
    if (refused := _LOGIN_REFUSED.search(text)) and refused[1].startswith("4") and refused[1] != "429":
        return ConfigError("the quote service refused user and password", "correct TQSDK_USER and TQSDK_PASSWORD")
    if refused:
        return LoginRefusedError(f"the login service turns clients away for now ({refused[1]})", "try later")
    if _MAINTENANCE in text:
        return LoginRefusedError("the quote service is in its daily maintenance, 19:00 to 19:30", "try later")
    if _NO_LICENCE in text:
        return ConfigError("this TqSdk account may not download history (tq_dl)", "use an account with that right")
    if isinstance(exc, requests.Timeout):
        return TimedOutError("the login service did not answer in time", "see that it runs, then run this again")
    if isinstance(exc, requests.RequestException | ConnectionError):
        return UnreachableError(f"the quote service does not answer: {type(exc).__name__}", "start it or try later")
    if isinstance(exc, TqTimeoutError):
        return TimedOutError("the quote service stopped answering TqSdk", "see that it runs, then run this again")
    return FailedError(f"TqSdk: {type(exc).__name__}: {text}", "run it again; what is finished stays")


def _serve(requests: queue.Queue[dict[str, Any]], out: Out) -> None:
    cache = _Cache()
    cache.clear()
    session: Session | None = None
    try:
        while (request := requests.get())["op"] != "close":
            try:
                if session is None:
                    session = Session(request["user"], request["password"])
                    out.send("done", value=None)
                else:
                    _answer(session, request, out, cache)
            except Exception as exc:
                error = as_error(exc)
                out.send("error", name=type(error).__name__, message=error.message, hint=error.hint)
    finally:
        if session is not None:
            session.close()


if __name__ == "__main__":
    keep_private()
    sys.exit(run_worker(_serve, "ghtrader download"))
