"""Starts gateway and strategy as two processes, waits for whatever ends them, and stops both in the right order.

Thin: it restarts nothing; it tells why either ended.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import FailedError, GhtraderError, KillSwitchError, error_from_name
from ghtrader_base.files import ensure_dir, read_json
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings
from ghtrader_runtime.accounts import account_ref
from ghtrader_runtime.killswitch import KillSwitch
from ghtrader_runtime.options import GatewayOptions, StrategyOptions, run_folder

_STOP_S = 25.0
_POLL_S = 0.1


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
        self._exit_file = folder / f"{kind}.exit.json"
        self._exit_file.unlink(missing_ok=True)
        self._told_to_stop = False
        self._log = (folder / f"{kind}.log").open("ab")
        text = msgspec.json.encode(options).decode()
        command = [sys.executable, "-m", "ghtrader_runtime.entry", kind, str(settings.home), str(folder), text]
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
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        return FailedError(f"the {self.kind} {how}", f"see {self._folder / (self.kind + '.log')}")


class Pair:
    """A gateway and a strategy of one run.

    Parameters
    ----------
    settings, gateway, strategy
        What to start.
    """

    def __init__(self, settings: Settings, gateway: GatewayOptions, strategy: StrategyOptions) -> None:
        self.settings, self._options = settings, gateway
        self.folder = run_folder(settings, gateway.run_id)
        ref = account_ref(settings, gateway.account, gateway.mode, gateway.sim)
        state = KillSwitch(ref.state_dir).read()
        if state.tripped:
            raise KillSwitchError(
                f"the kill switch of {gateway.account} is tripped since {state.since}: {state.reason}",
                f"`ghtrader kill reset --account {gateway.account} --reason ...` once it is safe",
            )
        self.gateway = Child(settings, "gateway", self.folder, gateway)
        self.strategy = Child(settings, "strategy", self.folder, strategy)

    def ready(self) -> bool:
        """Whether a strategy has told the gateway that it is ready."""
        with contextlib.suppress(OSError, ValueError, GhtraderError):
            return bool(json.loads((self.folder / "gateway.json").read_text())["ready"])
        return False

    def wait(self, seconds: float | None, on_ready: Callable[[], None] | None = None) -> str:
        """Until one of them ends or `seconds` after both are ready; returns why.

        Parameters
        ----------
        seconds : float, optional
            How long to trade; None until the market data ends.
        on_ready : callable, optional
            Called once when the strategy is warm: a simulated exchange may let its clock run now.
        """
        deadline: float | None = None
        ready = False
        while self.gateway.running and self.strategy.running:
            if not ready and self.ready():
                ready = True
                deadline = time.monotonic() + seconds if seconds else None
                if on_ready is not None:
                    on_ready()
            if deadline is not None and time.monotonic() >= deadline:
                return "the time is over"
            time.sleep(_POLL_S if ready else _POLL_S / 2)
        return "ended"

    def stop(self) -> None:
        """Strategy first (it asks for a flat position), then the gateway (it cancels what works)."""
        self.strategy.stop()
        self.gateway.stop()

    def result(self) -> dict[str, Any]:
        """The gateway's summary; raises what the gateway died of, or a strategy that never got ready.

        A strategy that fails later leaves a run that happened: its summary says so in `strategy_error`.
        """
        error = self.gateway.error()
        strategy_error = self.strategy.error()
        if error is None and strategy_error is not None and not self.ready():
            error = strategy_error
        if error is not None:
            raise error
        if not (self.folder / "summary.json").exists():
            raise FailedError("the run was stopped before it began", f"see {self.folder}")
        summary = {**read_json(self.folder / "summary.json"), "folder": str(self.folder)}
        if strategy_error is not None:
            summary["strategy_error"] = strategy_error.message
        return summary


def trade(
    settings: Settings,
    gateway: GatewayOptions,
    strategy: StrategyOptions,
    seconds: float | None = None,
    on_ready: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Run gateway and strategy until the market data, the trading day, or `seconds` are over.

    Returns
    -------
    dict
        `summary.json` of the run, and its `folder`.

    Raises
    ------
    GhtraderError
        What the first of them to fail died of; KillSwitchError where the switch is tripped.
    """
    with register(settings, "trade", f"{gateway.account} ({gateway.mode}) on {gateway.symbol}"):
        pair = Pair(settings, gateway, strategy)
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
        return result if why == "ended" else {**result, "ended": why}
