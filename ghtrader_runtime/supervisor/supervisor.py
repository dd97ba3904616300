"""Starts gateway and strategy as two processes, watches both, restarts what crashed, and stops both in the right order.

When something is started again and when not is decided in `restart_policy`; here are processes, files and signals.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.child_processes import python_module
from ghtrader_base.disk_errors import disk_error
from ghtrader_base.disk_space import room_at
from ghtrader_base.errors import FailedError, GhtraderError, KillSwitchError, error_from_name
from ghtrader_base.files import ensure_dir, read_json
from ghtrader_base.private_files import private_opener
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions, run_folder
from ghtrader_runtime.runlog.gateway_state import read_gateway_state
from ghtrader_runtime.runlog.summary import RestartNote, RunSummary, read_summary
from ghtrader_runtime.supervisor.restart_policy import Restart, RestartLog, RestartPolicy, Silence

_STOP_S = 25.0
_POLL_S = 0.1
GATEWAY_SILENT_S = 120.0
"""A gateway that has not told its state for so long hangs; logging in anew may take a minute."""
STRATEGY_SILENT_S = 20.0
"""A strategy whose link the gateway has called down for so long hangs."""
READY_S = 300.0
"""Seconds until both are ready to trade, log-in and the day so far included."""


def new_run_id(kind: str = "trade") -> str:
    """A run's name: kind, time, and something that tells two of the same second apart."""
    return f"{kind}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class Child:
    """One child process of a run.

    It has its own process group (a Ctrl-C reaches the supervisor alone, which stops both in order) and dies with its
    parent.
    """

    def __init__(self, settings: Settings, kind: str, folder: Path, options: msgspec.Struct) -> None:
        self.kind, self._folder = kind, ensure_dir(folder)
        self.started_s = time.monotonic()
        self._exit_file = folder / f"{kind}.exit.json"
        self._exit_file.unlink(missing_ok=True)
        self._told_to_stop = False
        self._log = open(folder / f"{kind}.log", "ab", opener=private_opener)  # noqa: SIM115 (closed by `stop`)
        text = msgspec.json.encode(options).decode()
        module = "ghtrader_runtime.supervisor.child_main"
        command = python_module(module, kind, str(settings.home), str(folder), text, str(os.getpid()))
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
        )

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self, wait_s: float = _STOP_S) -> None:
        """SIGTERM, and SIGKILL where that does not help in time."""
        if self.running:
            self._told_to_stop = True
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(wait_s)
        if self.running:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def kill(self) -> None:
        """SIGKILL: it hangs."""
        if self.running:
            self.process.kill()
            self.process.wait()

    def error(self) -> GhtraderError | None:
        """Why it failed, or None where it ended well."""
        if self.process.returncode == 0:
            return None
        if self._told_to_stop and self.process.returncode == -signal.SIGTERM:
            return None  # it had not come as far as to listen
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, GhtraderError):
            found = read_json(self._exit_file)
        if "error" in found:
            return error_from_name(found["error"], found["message"], found["hint"])
        code = self.process.returncode
        if (room := room_at(self._folder)) is not None and room.none:  # where it would have said more
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if (refused := disk_error(full, self._folder, doing=f"the {self.kind} ended with {code}")) is not None:
                return refused
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        return FailedError(f"the {self.kind} {how}", f"see {self._folder / (self.kind + '.log')}")


class Pair:
    """A gateway and a strategy of one run.

    Parameters
    ----------
    settings, gateway, strategy
        What to start.
    policy : RestartPolicy
        How often a crash is forgiven.
    tell : callable, optional
        Called with a sentence for every restart.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: GatewayOptions,
        strategy: StrategyOptions,
        policy: RestartPolicy | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self._options: dict[str, msgspec.Struct] = {"gateway": gateway, "strategy": strategy}
        self.folder = run_folder(settings, gateway.run_id)
        ref = account_ref(settings, gateway.account, gateway.mode, gateway.sim)
        state = KillSwitch(ref.state_dir).read()
        if state.tripped:
            raise KillSwitchError(
                f"the kill switch of {gateway.account} is tripped since {state.since}: {state.reason}",
                f"`ghtrader kill reset --account {gateway.account} --reason ...` once it is safe",
            )
        # A recorded day cannot be gone on with: its paper account died with the gateway, and half of it was played.
        self._may_restart = gateway.replay is None
        self._logs = {kind: RestartLog(kind, policy or RestartPolicy()) for kind in self._options}
        self._tell = tell or (lambda _: None)
        self._was_ready = False
        self._answered = 0
        self._down_since: float | None = None
        self._told = Silence()
        self.stopping = ""
        self.gateway = self._start("gateway")
        self.strategy = self._start("strategy")

    def _start(self, kind: str) -> Child:
        return Child(self.settings, kind, self.folder, self._options[kind])

    @property
    def restarts(self) -> list[Restart]:
        """All restarts so far, oldest first."""
        return sorted((one for log in self._logs.values() for one in log.done), key=lambda one: one.at_s)

    def ready(self) -> bool:
        """Whether a strategy has told the gateway that it is ready."""
        told = read_gateway_state(self.folder)
        return told is not None and bool(told.ready)

    def request_stop(self, why: str) -> None:
        """End `wait` at its next look."""
        self.stopping = self.stopping or why

    def wait(self, seconds: float | None, on_ready: Callable[[], None] | None = None) -> str:
        """Until one of them ends for good or `seconds` after both are ready; returns why.

        Parameters
        ----------
        seconds : float, optional
            How long to trade; None until the market data ends.
        on_ready : callable, optional
            Called once when the strategy is warm: a simulated exchange may let its clock run now.

        Raises
        ------
        FailedError
            They live, and are not ready to trade after `READY_S`.
        """
        deadline: float | None = None
        ready_by = time.monotonic() + READY_S
        ready = False
        while not self.stopping:
            for kind in ("gateway", "strategy"):
                child: Child = getattr(self, kind)
                if not child.running and not self._again(kind, child):
                    return "ended"
            self._look_for_hangs()
            if not ready and self.ready():
                ready = self._was_ready = True
                deadline = time.monotonic() + seconds if seconds else None
                if on_ready is not None:
                    on_ready()
            elif not ready and time.monotonic() > ready_by:
                late = f"gateway and strategy were not ready to trade within {READY_S:.0f} s"
                raise FailedError(late, f"see the logs in {self.folder}")
            if deadline is not None and time.monotonic() >= deadline:
                return "the time is over"
            time.sleep(_POLL_S if ready else _POLL_S / 2)
        return self.stopping

    def _again(self, kind: str, child: Child) -> bool:
        """Start a child that died once more, if it may be; whether it was.

        What never came as far as to trade is not: who started it is there to read why.
        """
        error = child.error()
        if error is None or not (self._may_restart and self._was_ready):
            return False
        log = self._logs[kind]
        why_not = log.why_not(error, time.monotonic())
        if why_not:
            if log.done:
                self._tell(f"the {kind} is not started again: {why_not}")
            return False
        restart = log.next(error, time.monotonic())
        assert restart is not None
        self._tell(f"{restart.reason}; it starts again in {restart.delay_s:.1f} s")
        deadline = time.monotonic() + restart.delay_s
        while time.monotonic() < deadline and not self.stopping:
            time.sleep(_POLL_S)
        setattr(self, kind, self._start(kind))
        return True

    def _look_for_hangs(self) -> None:
        """A process that lives and does nothing is killed, so that it can be started again."""
        told = read_gateway_state(self.folder)
        if told is None or told.pid != self.gateway.process.pid or told.ended:
            return
        now = time.monotonic()
        silent_s = self._told.seconds(told.written_ns, now)
        if silent_s > GATEWAY_SILENT_S and now - self.gateway.started_s > GATEWAY_SILENT_S:
            self._tell(f"the gateway has told nothing for {silent_s:.0f} s and is killed")
            self.gateway.kill()
        if told.ready:
            self._answered = self.strategy.process.pid
        links = {name: state for name, state in told.links.items() if name.startswith("strategy-")}
        down = bool(links) and all(state == "DOWN" for state in links.values())
        hangs = down and self.strategy.running and self._answered == self.strategy.process.pid  # it has started
        self._down_since = (self._down_since or now) if hangs else None
        if self._down_since is not None and now - self._down_since > STRATEGY_SILENT_S:
            self._tell("the strategy does not answer and is killed")
            self._down_since = None
            self.strategy.kill()

    def stop(self) -> None:
        """Strategy first (it asks for a flat position), then the gateway (it cancels what works)."""
        self.strategy.stop()
        self.gateway.stop()

    def result(self) -> RunSummary:
        """The gateway's summary; raises what the gateway died of, or a strategy that never got ready.

        A strategy that fails later leaves a run that happened: its summary says so in `strategy_error`. `restarts`
        lists what was started again, and why.
        """
        error = self.gateway.error()
        strategy_error = self.strategy.error()
        if error is None and strategy_error is not None and not self.ready():
            error = strategy_error
        if error is not None and self.restarts:
            reasons = "; ".join(dict.fromkeys(one.reason for one in self.restarts))
            error = FailedError(f"{error.message} (after {len(self.restarts)} restarts: {reasons})", error.hint)
        if error is not None:
            raise error
        summary = read_summary(self.folder)
        if summary is None:
            raise FailedError("the run was stopped before it began", f"see {self.folder}")
        return msgspec.structs.replace(
            summary,
            strategy_error=None if strategy_error is None else strategy_error.message,
            restarts=tuple(RestartNote(kind=r.kind, reason=r.reason, delay_s=r.delay_s) for r in self.restarts),
        )


@contextlib.contextmanager
def _signals(pair: Pair) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the run in order; a second one does not wait."""

    def stop(number: int, _frame: Any) -> None:
        if pair.stopping:
            pair.strategy.kill()
            pair.gateway.kill()
        pair.request_stop(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def trade(
    settings: Settings,
    gateway: GatewayOptions,
    strategy: StrategyOptions,
    seconds: float | None = None,
    on_ready: Callable[[], None] | None = None,
    *,
    policy: RestartPolicy | None = None,
    tell: Callable[[str], None] | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> RunSummary:
    """Run gateway and strategy until the market data, the trading day, or `seconds` are over, or a signal comes.

    Returns
    -------
    RunSummary
        Of the run, with its `folder` and `restarts`.

    Raises
    ------
    GhtraderError
        What the first of them to fail for good died of; KillSwitchError where the switch is tripped.
    """
    with register(settings, "trade", f"{gateway.account} ({gateway.mode}) on {gateway.symbol}"):
        pair = Pair(settings, gateway, strategy, policy, tell)
        on_start()
        with _signals(pair):
            try:
                why = pair.wait(seconds, on_ready)
                if why == "ended":  # one that ended well told the other on the bus: let it finish
                    for child, other in ((pair.gateway, pair.strategy), (pair.strategy, pair.gateway)):
                        if child.process.returncode == 0:
                            with contextlib.suppress(subprocess.TimeoutExpired):
                                other.process.wait(_STOP_S)
            finally:
                pair.stop()
        result = pair.result()
        return result if why == "ended" else msgspec.structs.replace(result, ended=why)
