"""Runs the exchange process: sockets, signals, and the tick loop that advances the market.

Messages are read and answered in `connections`. Binds 127.0.0.1 only. Says it is ready by printing the settings that
point TqSdk at it as `export NAME=value` lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shlex
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import WSMsgType, web

from ghtrader_base.errors import ConfigError, PortInUseError
from ghtrader_base.private_files import make_folder
from ghtrader_exchange.connections.http_api import Credentials, HttpDesk
from ghtrader_exchange.connections.market_data import MdSession
from ghtrader_exchange.connections.market_feed import MarketFeed
from ghtrader_exchange.connections.socket import DiffSocket
from ghtrader_exchange.connections.trading import TdSession
from ghtrader_exchange.faults.data_faults import DataFaults
from ghtrader_exchange.faults.fault_kinds import FaultKind
from ghtrader_exchange.faults.order_faults import OrderFaults
from ghtrader_exchange.server.control_api import ControlDesk
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_exchange.venue.venue import Venue
from ghtrader_exchange.world.scenario import Scenario

HOST = "127.0.0.1"
BEAT_S = 0.01
MARK_EVERY = 50
LAST_EXPORT = "GHTRADER_EXCHANGE_CONTROL_URL"
log = logging.getLogger("ghtrader.exchange")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How an exchange is run.

    Attributes
    ----------
    scenario : Scenario
    state_dir : Path
        Cache of the history and `truth/`, the hidden drivers for evaluation; created where absent.
    port : int
        0 takes a free one.
    speed : float
        Market seconds for each second.
    frozen : bool
        Stand at the live day's open until told to run over `/control/clock`.
    skip_closed : bool
        Jump over closed hours.
    """

    scenario: Scenario
    state_dir: Path
    port: int = 0
    speed: float = 20.0
    frozen: bool = True
    skip_closed: bool = True
    credentials: Credentials = field(default_factory=Credentials)


def bind(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; PortInUseError where somebody has the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortInUseError(
                f"port {port} is not free: {error.strerror}", "stop who has it, choose another --port, or leave it out"
            ) from error
        raise
    except OverflowError as error:
        sock.close()
        raise ConfigError(f"{port} is no port number", "choose one from 1024 to 65535") from error
    return sock


def exports(market: MarketView, credentials: Credentials, port: int) -> dict[str, str]:
    """Environment that points an unmodified TqSdk, and ghtrader, at the exchange on `port`."""
    http, ws = f"http://{HOST}:{port}", f"ws://{HOST}:{port}"
    found = {
        "TQ_AUTH_URL": http,
        "TQ_MD_URL": f"{ws}/md",
        "TQ_TD_URL": f"{ws}/td",
        "TQ_CHINESE_HOLIDAY_URL": f"{http}/holidays.json",
        "TQ_CONT_TABLE_URL": f"{http}/continuous.json",
        "TQSDK_USER": credentials.user,
        "TQSDK_PASSWORD": credentials.password,
        "TQ_BROKER_ID": "simnow",
        "TQ_ACCOUNT_ID": credentials.account_id,
        "TQ_ACCOUNT_PASSWORD": credentials.account_password,
        "GHTRADER_EXCHANGE_FIRST_DAY": str(market.history.days[0]),
        "GHTRADER_EXCHANGE_LAST_DAY": str(market.history.days[-1]),
        "GHTRADER_EXCHANGE_LIVE_DAY": str(market.history.live_day),
    }
    if any(os.environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        kept = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        found["NO_PROXY"] = ",".join(part for part in (kept, HOST) if part)  # else TqSdk asks the proxy for us
    return found | {LAST_EXPORT: f"{http}/control"}


class Exchange:
    """One running exchange: its market, its venue and who is connected."""

    def __init__(self, market: MarketView, credentials: Credentials) -> None:
        self.market = market
        self.credentials = credentials
        self.venue = Venue(market, OrderFaults())
        self.data_faults = DataFaults()
        self.feed = MarketFeed(market, self.data_faults)
        self._md: set[MdSession] = set()
        self._td: set[TdSession] = set()

    def application(self) -> web.Application:
        """The aiohttp application with every route."""
        app = web.Application(client_max_size=1 << 20)
        app.add_routes(HttpDesk(self.market, self.credentials, self.data_faults).routes())
        app.add_routes(ControlDesk(self.market, self.venue, self.data_faults, self.cut_lines).routes())
        app.add_routes([web.get("/md", self._serve_md), web.get("/td", self._serve_td)])
        return app

    async def beat(self) -> None:
        """Run the tick loop: advance the market and tell every session, for ever."""
        count = 0
        while True:
            await asyncio.sleep(BEAT_S)
            count += 1
            self.venue.step()
            if count % MARK_EVERY == 0:
                self.venue.mark()
            sessions: list[MdSession | TdSession] = [*self._md, *self._td]
            for session in sessions:
                try:
                    await session.step()
                except Exception:  # one client's nonsense must not stop the others' market
                    log.exception("a connection failed and is dropped")
                    session.socket.abort()

    async def cut_lines(self, kind: FaultKind) -> int:
        """Carry out a connection fault such as ``abort-md``; returns how many connections it hit."""
        how, what = kind.split("-")
        sessions: list[MdSession | TdSession] = list(self._md if what == "md" else self._td)
        for session in sessions:
            if how == "abort":
                session.socket.abort()
            elif how == "garbage":
                await session.socket.send("{no JSON")
            else:
                await session.socket.close()
        return len(sessions)

    async def _serve_md(self, request: web.Request) -> web.WebSocketResponse:
        ws = await _websocket(request)
        session = MdSession(socket=DiffSocket(ws, request), feed=self.feed)
        self._md.add(session)
        try:
            await _read(ws, session.receive)
        finally:
            self._md.discard(session)
        return ws

    async def _serve_td(self, request: web.Request) -> web.WebSocketResponse:
        ws = await _websocket(request)
        session = TdSession(DiffSocket(ws, request), self.venue, self.credentials)
        await session.greet()
        self._td.add(session)
        try:
            await _read(ws, session.receive)
        finally:
            self._td.discard(session)
            session.close()
        return ws


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=False, max_msg_size=4 << 20, timeout=2.0)
    await ws.prepare(request)
    return ws


async def _read(ws: web.WebSocketResponse, receive: Callable[[str], Awaitable[None]]) -> None:
    """Hand each text of the client on."""
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await receive(message.data)


async def serve(options: ServerOptions, sock: socket.socket, on_ready: Callable[[dict[str, str]], None]) -> None:
    """Run an exchange on a listening socket until SIGTERM or SIGINT.

    Parameters
    ----------
    on_ready : callable
        Called once with the environment that points TqSdk here.
    """
    from ghtrader_exchange.world.tick_history import History  # compiles the engine

    history = History(options.scenario, cache_dir=options.state_dir / "cache")
    history.write_truth(options.state_dir / "truth")
    market = MarketView(history, options.speed, options.frozen, options.skip_closed)
    exchange = Exchange(market, options.credentials)
    runner = web.AppRunner(exchange.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    beat = asyncio.create_task(exchange.beat())
    try:
        await web.SockSite(runner, sock).start()
        on_ready(exports(market, options.credentials, sock.getsockname()[1]))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({beat, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if beat.done():
            beat.result()
    finally:
        beat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beat
        for kind in (FaultKind.ABORT_MD, FaultKind.ABORT_TD):
            await exchange.cut_lines(kind)
        await runner.cleanup()


def run(options: ServerOptions, on_ready: Callable[[dict[str, str]], None]) -> None:
    """Bind first, so that a port in use is said at once, then serve until told to stop."""
    sock = bind(options.port)
    try:
        make_folder(options.state_dir)
    except OSError as error:
        sock.close()
        hint = "choose a writable --home"
        raise ConfigError(f"cannot write to {options.state_dir}: {error.strerror}", hint) from error
    with contextlib.closing(sock):
        asyncio.run(serve(options, sock, on_ready))


def export_lines(environment: dict[str, str]) -> str:
    """`export NAME=value` lines: a shell can `eval` them."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())


def print_exports(environment: dict[str, str]) -> None:
    """`export_lines` on stdout, flushed."""
    print(export_lines(environment), flush=True)
