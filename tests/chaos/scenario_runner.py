"""Plays one scenario: starts the processes, lets things go wrong on time, waits for recovery, stops, tells."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from ghtrader_base.settings import load_settings
from ghtrader_exchange.client import Control
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.sockets import ClientBus, ask
from ghtrader_runtime.operator_views import kill_commands
from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions, run_folder
from tests.chaos.evidence import Evidence, journal_of, killed_at, net_at_exchange, read_ledger_rows, read_lives
from tests.chaos.invariants import Finding, audit
from tests.chaos.processes import start_exchange, supervise
from tests.chaos.scenario import Act, Plan
from tests.support.waiting import PATIENCE_S

SCENARIO = Scenario(start=date(2025, 4, 14), end=date(2025, 4, 15), snapshot_seconds=3.0, contracts=2)
LIVE_DAY = date(2025, 4, 16)
SYMBOL = "SHFE.cu2506"
ACCOUNT = "chaos"
READY_S, RECOVERY_S, END_S = 240.0, 150.0, 120.0
EXCHANGE_FAULTS = {
    "abort-md", "abort-td", "close-md", "close-td", "garbage-md", "garbage-td", "repeat-acks", "reject-next-order",
    "lose-next-order",
}  # fmt: skip
PERSONS = ("the kill switch is tripped", "by chaos", "were rejected")
"""Reasons to stand still that a person has given or must look at."""


class Late(Exception):
    """Something did not happen in its time."""


class Conductor:
    """One scenario in `folder`; `model` is a bundle of the plan's lots."""

    def __init__(self, plan: Plan, folder: Path, cache: Path, model: Path, fault: str = "") -> None:
        self.plan, self.folder = plan, folder
        self.notes: list[dict[str, Any]] = []
        self.kills: list[tuple[int, int]] = []
        self._killed_since = 0
        self._calm_ns = 0
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._stopped: list[int] = []
        folder.mkdir(parents=True)
        os.environ["GHTRADER_HOME"], os.environ["XDG_STATE_HOME"] = str(folder / "home"), str(folder / "state")
        self.exchange, environment = start_exchange(folder / "exchange", cache, SCENARIO)
        os.environ.update(environment)
        self.settings = load_settings(folder / "home")
        self.control = Control(environment["GHTRADER_EXCHANGE_CONTROL_URL"], 10.0)
        opened = self.control.clock().now_ns
        self.control.set_clock(at_ns=opened + int(plan.offset_s * 1e9))
        run_id = f"chaos-{plan.seed}"
        self.run_dir = run_folder(self.settings, run_id)
        self.state_dir = account_ref(self.settings, ACCOUNT, "sim").state_dir
        self.switch = KillSwitch(self.state_dir)
        names = {"account": ACCOUNT, "mode": "sim", "symbol": SYMBOL}
        self.options = (
            GatewayOptions(**names, run_id=run_id, **plan.gateway),
            StrategyOptions(**names, model=str(model), flatten_on_stop=plan.flatten_on_stop),
        )
        self.supervisor = supervise(plan, folder, *self.options, fault)
        self.last: msg.AccountState | None = None
        self.bus = ClientBus(endpoints(self.settings, self.state_dir))

    # Looking on ------------------------------------------------------------------------------------------------

    def note(self, text: str, **more: Any) -> None:
        """Say what the conductor did."""
        self.notes.append({"at_ns": time.monotonic_ns(), "text": text, **more})

    def watch(self, seconds: float) -> None:
        """Listen to the gateway for so long, and look at the switch."""
        deadline = time.monotonic() + seconds
        while True:
            self._look_at_the_switch()
            for at_s, work in [one for one in self._due if one[0] <= time.monotonic()]:
                self._due.remove((at_s, work))
                work()
            left = deadline - time.monotonic()
            message = self.bus.receive(max(0.0, min(left, 0.02)))
            if isinstance(message, msg.AccountState):
                self.last = message
            if left <= 0:
                return

    def _look_at_the_switch(self) -> None:
        tripped = self.switch.read().tripped
        if tripped and not self._killed_since:
            self._killed_since = time.monotonic_ns()
            self.note(f"the switch is seen tripped: {self.switch.read().reason}")

    def _until(self, what: str, seconds: float, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise Late(f"{what} within {seconds:g} s; the last state was {self._last_told()}")
            self.watch(0.05)

    def _last_told(self) -> str:
        s = self.last
        if s is None:
            return "nothing"
        lots = f"held {s.positions}, wanted {s.targets}, working {s.working}"
        return f"{s.trading_state} {s.reasons}, links {s.links}, {lots}, ready {s.ready}, ended {s.ended!r}"

    def pid(self, kind: str) -> int:
        """The newest process of a kind; 0 where it is gone."""
        lives = [one for one in read_lives(self.folder / "lives.txt") if one["kind"] == kind]
        pid = lives[-1]["pid"] if lives else 0
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return pid
        return 0

    # Doing -----------------------------------------------------------------------------------------------------

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something while watching."""
        self._due.append((time.monotonic() + seconds, work))

    def do(self, act: Act) -> None:
        """Let one thing go wrong."""
        self.note(act.kind, **act.details)
        d = act.details
        what, _, who = act.kind.partition("-")
        if act.kind in EXCHANGE_FAULTS:
            self.control.fault(act.kind, **d)
        elif what == "kill":
            self._signal(self.pid(who), signal.SIGKILL)
        elif what == "stop":
            pid = self.exchange.pid if who == "exchange" else self.pid(who)
            if self._signal(pid, signal.SIGSTOP):
                self._stopped.append(pid)
                held: list[tuple[float, Callable[[], None]]] = []
                if who == "exchange":  # who stands still cannot be asked: what is due waits
                    held, self._due = self._due, []
                self.later(d["seconds"], lambda: self._signal(pid, signal.SIGCONT))
                if who == "exchange":
                    self.watch(d["seconds"] + 0.05)
                    self._due += held
        elif act.kind == "delay-acks":
            self.control.fault("delay-acks", seconds=d["seconds"])
            self.later(d["for_s"], lambda: self.control.fault("delay-acks", seconds=0.0))
        elif act.kind == "refuse-login":
            self.control.fault("refuse-login", seconds=d["seconds"])
            if d["kill"]:
                self._signal(self.pid("gateway"), signal.SIGKILL)
        elif act.kind == "freeze-clock":
            self.control.set_clock(frozen=True)
            self.later(d["seconds"], lambda: self.control.set_clock(frozen=False))
        elif act.kind == "jump":
            self.control.set_clock(at_ns=self.control.clock().now_ns + int(d["minutes"] * 60e9))
        elif act.kind == "session-break":
            now = self.control.clock().now_ns
            ends = [end for _, end in bundled_calendar().sessions(variety_of(SYMBOL), LIVE_DAY)[:-1]]
            end = next((end for end in ends if end - 40 * 10**9 > now), None)
            if end is not None:
                self.control.set_clock(at_ns=end - 40 * 10**9)
        elif act.kind == "trip":
            self._trip(d)
        elif act.kind == "set-state":
            self._state(d["state"])
            if d["back_s"]:
                self.later(d["back_s"], lambda: self._state("ACTIVE"))

    def _signal(self, pid: int, number: int) -> bool:
        with contextlib.suppress(ProcessLookupError):
            if pid:
                os.kill(pid, number)
                return True
        return False

    def _trip(self, details: dict[str, Any]) -> None:
        if details["way"] == "command":
            kill_commands.trip(self.settings, ACCOUNT, "by chaos", "sim")
        else:
            self.switch.trip("by chaos")
        self._look_at_the_switch()
        if details["reset_s"]:
            self.later(details["reset_s"], self._reset)

    def _reset(self) -> None:
        if self._killed_since:
            self.kills.append((self._killed_since, time.monotonic_ns()))
            self.note("the switch is reset")
            kill_commands.reset(self.settings, ACCOUNT, "chaos is over", "sim")
            self._killed_since = 0

    def _state(self, value: str) -> None:
        def build(session: str) -> msg.Command:
            head = {"session": session, "revision": 1, "sent_ns": time.monotonic_ns()}
            return msg.Command(**head, name="state", value=value, reason="by chaos")

        answer = ask(endpoints(self.settings, self.state_dir), build, 1.5, read_token(self.state_dir))
        self.note(f"state {value}: {getattr(answer, 'status', 'no answer')}")

    # The scenario ----------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        if self.supervisor.poll() is not None:
            raise Late(f"a start: {(self.folder / 'supervisor.log').read_text()[-800:]}")
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads((self.run_dir / "gateway.json").read_text())["ready"])
        return False

    def _ended(self) -> bool:
        return self.supervisor.poll() is not None

    def play(self) -> None:
        """From the start to the end of the run."""
        self._until("it was not ready", READY_S, self._ready)
        self.watch(0.3)  # the supervisor has seen it too
        self.control.set_clock(frozen=False, speed=self.plan.speed)
        self.note("flow")
        began = time.monotonic()
        for act in self.plan.acts:
            self.watch(max(0.0, began + act.at_s - time.monotonic()))
            if self._ended():
                break
            self.do(act)
        self.watch(max(0.0, began + self.plan.flow_s - time.monotonic()))
        while self._due:
            self.watch(0.1)
        self.control.fault("clear")
        self.control.set_clock(frozen=False, speed=60.0)
        self.note("calm")
        self._calm_ns = time.monotonic_ns() + 500_000_000
        if not self._ended():
            self._until("no recovery", RECOVERY_S, self._recovered)
        self.note("recovered")

    def _recovered(self) -> bool:
        """Whether all is well again, or stands still for a reason that a person gave or must look at."""
        if self._ended():
            return True
        s = self.last
        if s is None or s.sent_ns < self._calm_ns or not (s.ready and s.data_age_s < 2.0) or s.ended:
            return False
        newest = next((name for name in s.ready if f"-{self.pid('strategy')}-" in name), "")
        if s.links.get("broker") != "LIVE" or s.links.get(newest) != "LIVE":
            return False
        held, wanted = s.positions.get(SYMBOL, 0), s.targets.get(SYMBOL, 0)
        if s.trading_state != "ACTIVE":
            persons = all(any(word in reason for word in PERSONS) for reason in s.reasons)
            flattened = not (s.killed and self.plan.gateway["on_kill"] == "flatten") or held == 0
            return persons and flattened and s.working == 0 and s.killed == bool(self._killed_since)
        return held == wanted and s.working == 0 and not self._killed_since

    def end(self) -> None:
        """Stop the run in order; what does not stop is a finding."""
        if not self._ended():
            self._signal(self.supervisor.pid, signal.SIGTERM)
            self.note("stop")
            self._until("it did not stop", END_S, self._ended)
            if "was killed by signal 9" in json.loads((self.folder / "result.json").read_text()).get("message", ""):
                self._once_more()

    def _once_more(self) -> None:
        """A failpoint hit during the stop, when nothing is started again: the next start makes it good."""
        self.note("killed while it stopped: once more")
        self._reset()  # nothing is started behind a tripped switch
        self.last, self._calm_ns = None, time.monotonic_ns()
        self.supervisor = supervise(replace(self.plan, points=()), self.folder, *self.options, "")
        self._until("no recovery", RECOVERY_S, self._recovered)
        self._signal(self.supervisor.pid, signal.SIGTERM)
        self._until("it did not stop", END_S, self._ended)

    def evidence(self) -> Evidence:
        """What it left."""
        self.control.set_clock(frozen=True)
        if self._killed_since:
            self.kills.append((self._killed_since, 1 << 62))
        intents, closed = read_ledger_rows(self.state_dir)
        fills, events = journal_of(self.run_dir)
        result = self.folder / "result.json"
        lives = read_lives(self.folder / "lives.txt")
        return Evidence(
            self.control.received(), self.control.record(), self.control.fills(), self.control.orders(),
            net_at_exchange(self.control.positions(), SYMBOL), intents, closed, fills, events, self.kills,
            time.time_ns() - time.monotonic_ns(),
            json.loads(result.read_text()) if result.exists() else {"error": "no result"},
            lives, killed_at(self.plan, lives, self.folder / "points.txt"), self.notes,
        )  # fmt: skip

    def close(self) -> None:
        """End every process that is still there; by its own pid."""
        for pid in self._stopped:
            self._signal(pid, signal.SIGCONT)
        self.bus.close()
        lives = [one["pid"] for one in read_lives(self.folder / "lives.txt")]
        for process in (self.supervisor, self.exchange):
            process.kill()
            with contextlib.suppress(Exception):
                process.wait(PATIENCE_S)
        for pid in lives:  # they die with the supervisor
            deadline = time.monotonic() + 5
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        for path in endpoints(self.settings, self.state_dir).__dict__.values():
            if isinstance(path, str):
                Path(path.removeprefix("ipc://")).unlink(missing_ok=True)


def conduct(plan: Plan, folder: Path, cache: Path, model: Path, fault: str = "") -> tuple[list[Finding], Evidence]:
    """Play a scenario and judge it."""
    late: list[Finding] = []
    conductor = Conductor(plan, folder, cache, model, fault)
    try:
        for phase in (conductor.play, conductor.end):
            try:
                phase()
            except Late as exc:
                conductor.note(f"LATE: {exc}")
                late.append(Finding("in_time", str(exc)))
        found = conductor.evidence()
    finally:
        conductor.close()
    return [*late, *audit(plan, found)], found
