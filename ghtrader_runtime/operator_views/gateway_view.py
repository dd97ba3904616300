"""Follows a running gateway over the bus as a read-only state, for terminal and web alike; never trades.

It joins without the account's token, so nothing it could send would be obeyed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.errors import IntegrityError, UnreachableError, UsageError
from ghtrader_base.files import read_json
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.link_state import HEARTBEAT_S, Link, LinkChange
from ghtrader_runtime.bus.sockets import ClientBus, new_session
from ghtrader_runtime.runlog.gateway_state import GATEWAY_STATE, GatewayState, gateway_state
from ghtrader_runtime.runlog.latency import quantile_ms

_HELLO_S = 2.0


@dataclass(frozen=True, kw_only=True)
class RunningGateway:
    """A gateway that runs now: the state it wrote last, and the folder of its run."""

    told: GatewayState
    run_dir: Path

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.told.pid

    @property
    def account(self) -> str:
        """Name of the account."""
        return self.told.account

    @property
    def broker(self) -> str:
        """Who holds the account."""
        return self.told.broker

    @property
    def mode(self) -> str:
        """Run mode: paper, sim or live."""
        return self.told.mode

    @property
    def symbol(self) -> str:
        """The contract it trades."""
        return self.told.symbol

    @property
    def state_dir(self) -> Path:
        """The account's folder."""
        return Path(self.told.state_dir)


def running_gateways(settings: Settings) -> list[RunningGateway]:
    """Gateways of this home that run now, by the state files they keep.

    Raises
    ------
    IntegrityError
        A state file does not parse or lacks what every version writes, and it may be that of a gateway that runs.
    """
    alive = {process.pid for process in list_processes(settings) if process.kind == "gateway"}
    found: list[RunningGateway] = []
    unread: IntegrityError | None = None
    for path in sorted((settings.runs / "trading").glob(f"*/{GATEWAY_STATE}")):
        try:
            document = read_json(path)
            if isinstance(document, dict) and (document.get("pid") not in alive or document.get("ended")):
                continue
            found.append(RunningGateway(told=gateway_state(document, path), run_dir=path.parent))
        except IntegrityError as exc:
            unread = unread or exc
    # Every gateway that runs has told its state: the file that does not read is an ended run's and hides none of them.
    if unread is not None and len(found) < len(alive):
        raise unread
    return found


def choose_gateway(settings: Settings, account: str | None) -> RunningGateway:
    """The gateway of `account`, or the only one there is.

    Raises
    ------
    UnreachableError
        None runs (for that account).
    UsageError
        Several do, and no account was named.
    """
    found = [one for one in running_gateways(settings) if account in (None, one.account)]
    if not found:
        whose = f" for account {account}" if account else ""
        hint = "start one: ghtrader trade, or gateway run"
        raise UnreachableError(f"no gateway runs{whose} in {settings.home}", hint)
    if len(found) > 1:
        names = ", ".join(sorted({one.account for one in found}))
        raise UsageError(f"several gateways run: {names}", "choose one with --account")
    return found[0]


@dataclass
class Picture:
    """What is known now. `values` is the last tick, float64[27] (`VALUE_COLUMNS`)."""

    state: msg.AccountState | None = None
    tick: msg.Tick | None = None
    values: np.ndarray = field(default_factory=lambda: np.full(27, np.nan))
    ticks: int = 0
    changes: list[LinkChange] = field(default_factory=list)


class LiveView:
    """Follows one gateway.

    Parameters
    ----------
    settings : Settings
    state_dir : Path
        The account's.
    symbol : str
        What it trades.
    """

    def __init__(self, settings: Settings, state_dir: Path, symbol: str) -> None:
        self._bus = ClientBus(endpoints(settings, state_dir))
        self._session, self._revision = new_session("view"), 0
        self._symbol = symbol
        self._beat_at = self._hello_at = 0.0
        self.link = Link(name="gateway")
        self.picture = Picture()

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Take what came, waiting at most `timeout_s` for something; whether the picture changed."""
        now = time.monotonic()
        if self.picture.state is None and now >= self._hello_at:  # later states come by themselves
            self._hello_at = now + _HELLO_S
            self._bus.send(msg.Hello(**self._head(), symbol=self._symbol, after_id=2**62, purpose="watch"))
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            self._bus.send(msg.Command(**self._head(), name="heartbeat"))
        changed = False
        message = self._bus.receive(timeout_s)
        while message is not None:
            changed = self._take(message) or changed
            message = self._bus.receive(0.0)
        return self._note(self.link.check(time.monotonic_ns())) or changed

    def close(self) -> None:
        """Leave."""
        self._bus.send(msg.Goodbye(**self._head(), reason="looked enough"))
        self._bus.close()

    def _head(self) -> dict[str, Any]:
        self._revision += 1
        return {"session": self._session, "revision": self._revision, "sent_ns": time.monotonic_ns()}

    def _take(self, message: msg.AnyMessage) -> bool:
        self._note(self.link.heard(time.monotonic_ns()))
        match message:
            case msg.AccountState():
                self.picture.state = message
            case msg.Tick():
                self.picture.tick, self.picture.values = message, message.array()
                self.picture.ticks += 1
            case _:
                return False
        return True

    def _note(self, change: LinkChange | None) -> bool:
        if change is None:
            return False
        self.picture.changes = [*self.picture.changes[-9:], change]
        return True


@dataclass(frozen=True, kw_only=True)
class GatewayPicture:
    """How a gateway stands: the state it told last, the folder of its run, where Prometheus finds it."""

    state: msg.AccountState
    run_dir: Path
    metrics: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`: the state's fields, p50 and p99 of each stage in ms instead of its histogram."""
        state = self.state
        return {name: getattr(state, name) for name in state.__struct_fields__ if name not in ("stages", "orders")} | {
            "orders": [{name: getattr(order, name) for name in order.__struct_fields__} for order in state.orders],
            "stages_ms": {
                stage: {"p50": quantile_ms(plain, 0.5), "p99": quantile_ms(plain, 0.99)}
                for stage, plain in state.stages.items()
            },
            "run_dir": str(self.run_dir),
            "metrics": self.metrics,
        }


def one_picture(settings: Settings, gateway: RunningGateway, timeout_s: float = 3.0) -> GatewayPicture:
    """How a gateway stands now.

    Raises
    ------
    UnreachableError
        It runs and says nothing.
    """
    view = LiveView(settings, gateway.state_dir, gateway.symbol)
    deadline = time.monotonic() + timeout_s
    try:
        while view.picture.state is None and time.monotonic() < deadline:
            view.poll(0.2)
        if view.picture.state is None:
            who = f"the gateway of {gateway.account} (pid {gateway.pid})"
            raise UnreachableError(f"{who} runs and says nothing", "is it stopped, or stuck?")
        return GatewayPicture(state=view.picture.state, run_dir=gateway.run_dir, metrics=gateway.told.metrics)
    finally:
        view.close()
