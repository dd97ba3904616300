"""Starts an exchange as a child process, calls its control API, stops it: what a test or the demo imports.

Light: the exchange itself, and its compiled engine, live in the child.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec

from ghtrader_base.child_processes import python_module
from ghtrader_base.errors import FailedError, UnreachableError, UsageError, error_from_name
from ghtrader_base.files import parse_json
from ghtrader_base.private_files import make_folder, private_opener
from ghtrader_exchange.control_messages import (
    AccountRecord,
    ClockReply,
    FaultReply,
    FillRecord,
    InjectFault,
    OrderRecord,
    Refusal,
    SetClock,
)
from ghtrader_exchange.faults.fault_kinds import FaultKind
from ghtrader_exchange.venue.event_log import OrderEvent, ReceivedMessage
from ghtrader_exchange.world.scenario import Scenario

READY_WITHIN_S = 300.0
ERROR_MARK = "# error "
LAST_EXPORT = "GHTRADER_EXCHANGE_CONTROL_URL"
_Reply = TypeVar("_Reply")


class Control:
    """The exchange's `/control`, from another process.

    Every method raises UnreachableError where nobody answers and UsageError where the exchange refuses.
    """

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout_s
        # Loopback only: a proxy from the environment has no business here.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def clock(self) -> ClockReply:
        """Market time, trading day, speed, and whether the clock stands."""
        return self._ask("clock", ClockReply)

    def set_clock(
        self,
        speed: float | None = None,
        frozen: bool | None = None,
        at_ns: int | None = None,
        skip_closed: bool | None = None,
    ) -> ClockReply:
        """Change what is given; returns the clock. Time cannot be set back."""
        change = SetClock(speed=speed, frozen=frozen, at_ns=at_ns, skip_closed=skip_closed)
        return self._ask("clock", ClockReply, change)

    def fills(self, account: str | None = None) -> list[FillRecord]:
        """Every fill the exchange recorded, oldest first."""
        return self._ask("fills" + _query(account), list[FillRecord])

    def orders(self, account: str | None = None) -> list[OrderRecord]:
        """Every order, refused ones too, oldest first."""
        return self._ask("orders" + _query(account), list[OrderRecord])

    def positions(self, account: str | None = None) -> dict[str, AccountRecord]:
        """Account to its money and positions."""
        return self._ask("positions" + _query(account), dict[str, AccountRecord])

    def received(self) -> list[ReceivedMessage]:
        """Every message that came over a trading socket, obeyed or not, oldest first."""
        return self._ask("received", list[ReceivedMessage])

    def record(self) -> list[OrderEvent]:
        """What became of orders, oldest first."""
        return self._ask("record", list[OrderEvent])

    def fault(
        self,
        kind: FaultKind,
        *,
        seconds: float = 0.0,
        count: int = 1,
        reason: str = "",
        symbol: str = "",
        day: date | None = None,
    ) -> FaultReply:
        """Let something go wrong; what a kind takes is said in `faults.fault_kinds`."""
        fault = InjectFault(kind=kind, seconds=seconds, count=count, reason=reason, symbol=symbol, day=day)
        return self._ask("fault", FaultReply, fault)

    def _ask(self, path: str, reply: type[_Reply], body: SetClock | InjectFault | None = None) -> _Reply:
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return msgspec.json.decode(response.read(), type=reply)
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            with contextlib.suppress(msgspec.DecodeError):
                text = msgspec.json.decode(text, type=Refusal).error
            raise UsageError(f"the exchange refused {path}: {text}") from error
        except (urllib.error.URLError, OSError) as error:
            raise UnreachableError(
                f"no exchange answers at {self.url}: {error}", "start one with `ghtrader exchange serve`"
            ) from error


class ExchangeProcess:
    """A simulated exchange in a child process; a context manager.

    The child ends with the thread that started it (Linux tells a child of its parent thread's death), so start it
    from the main thread or one that lives as long.

    Parameters
    ----------
    scenario : Scenario
    state_dir : Path
        History cache, truth, log; keep it to start faster the next time.
    port : int
        0 takes a free one.
    speed, frozen, skip_closed
        Of the clock, see `server.ServerOptions`.

    Attributes
    ----------
    env : dict of str to str
        Environment that points TqSdk and ghtrader at it; filled when it is ready.
    control : Control
    truth_dir : Path
        For `oracle.Oracle`: evaluation alone.

    Examples
    --------
    >>> with ExchangeProcess(Scenario(), Path("var/exchange")) as exchange:   # doctest: +SKIP
    ...     subprocess.run(["ghtrader", "download", ...], env=os.environ | exchange.env)
    """

    def __init__(
        self,
        scenario: Scenario,
        state_dir: Path,
        port: int = 0,
        speed: float = 20.0,
        frozen: bool = True,
        skip_closed: bool = True,
        ready_within_s: float = READY_WITHIN_S,
    ) -> None:
        self.scenario = scenario
        self.state_dir = Path(state_dir)
        self.truth_dir = self.state_dir / "truth"
        self.log_path = self.state_dir / "exchange.log"
        self.env: dict[str, str] = {}
        self._arguments = ["--port", str(port), "--speed", str(speed)]
        self._arguments += [] if frozen else ["--run"]
        self._arguments += [] if skip_closed else ["--live-through-closed-hours"]
        self._ready_within = ready_within_s
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None

    @property
    def control(self) -> Control:
        """Its control API; FailedError before `start`."""
        if self._control is None:
            raise FailedError("the exchange is not started", "use it in a with statement")
        return self._control

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def start(self) -> ExchangeProcess:
        """Start it and wait until it is ready.

        Raises
        ------
        GhtraderError
            What the child said, by its own class: PortInUseError, ConfigError; FailedError where it died without a
            word or was not ready in time.
        """
        make_folder(self.state_dir)
        scenario_path = self.state_dir / "scenario.toml"
        self.scenario.write(scenario_path)
        command = python_module("ghtrader_exchange", "--parent", str(os.getpid()))
        command += ["--scenario", str(scenario_path), "--state-dir", str(self.state_dir), *self._arguments]
        with open(self.log_path, "ab", opener=private_opener) as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        try:
            self.env = self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self._control = Control(self.env[LAST_EXPORT])
        return self

    def stop(self, grace_s: float = 5.0) -> None:
        """End it: politely, then by force; by its own process id alone."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> ExchangeProcess:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> dict[str, str]:
        assert self._process is not None and self._process.stdout is not None
        deadline = time.monotonic() + self._ready_within
        stdout, text = self._process.stdout.fileno(), b""
        while time.monotonic() < deadline:
            readable, _, _ = select.select([stdout], [], [], 0.5)
            if not readable:
                continue
            chunk = os.read(stdout, 65536)
            if not chunk:
                break
            text += chunk
            complete = text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()
            for line in complete:
                if line.startswith(ERROR_MARK):
                    raise error_from_name(**parse_json(line[len(ERROR_MARK) :]))
            environment = parse_exports(complete)
            if LAST_EXPORT in environment:
                return environment
        tail = self.log_path.read_text("utf-8", "replace").strip().splitlines()[-3:]
        gone = self._process.poll()
        what = f"ended with {gone}" if gone is not None else f"was not ready within {self._ready_within:g} s"
        raise FailedError(f"the exchange {what}: {' | '.join(tail)}", f"its log is {self.log_path}")


def parse_exports(lines: list[str]) -> dict[str, str]:
    """Read `export NAME=value` lines, as a shell would; other lines are passed over."""
    found = {}
    for line in lines:
        if line.startswith("export ") and "=" in line:
            name, _, value = line[len("export ") :].partition("=")
            found[name] = "".join(shlex.split(value))
    return found


def _query(account: str | None) -> str:
    return "" if account is None else "?" + urllib.parse.urlencode({"account": account})
