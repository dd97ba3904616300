"""Talks to the gateway for a strategy: joins, takes the day so far and missed ticks, sends targets.

Its factors begin here, for a contract and a model, and are journalled; what it makes of a message is decided in
`strategy`.

Failpoints: ``strategy.decided->sent``, ``strategy.sent->kept``.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from ghtrader_base.errors import FailedError, RefusedError, UnreachableError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.settings import Settings
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.bundle import Bundle
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.backoff import Backoff
from ghtrader_runtime.bus.link_state import HEARTBEAT_S, Link, LinkChange
from ghtrader_runtime.bus.pending_requests import Outbox
from ghtrader_runtime.bus.sockets import ClientBus
from ghtrader_runtime.config import StrategyOptions
from ghtrader_runtime.runlog.journal import FactorJournal, Journal
from ghtrader_runtime.strategy.champion_watcher import Succession
from ghtrader_runtime.strategy.shutdown import Departure
from ghtrader_runtime.strategy.signal_engine import Decision, Signal

_HISTORY_WAIT_S = 60.0
_HURRIED_WAIT_S = 5.0
"""The same for one that was told to stop."""


class StrategyLink:
    """A strategy's client of its gateway, and what it remembers of the day."""

    settings: Settings
    options: StrategyOptions
    bundle: Bundle
    calendar: TradingCalendar
    signal: Signal
    session: str
    bus: ClientBus
    link: Link
    outbox: Outbox
    answered: int
    ended: str
    contract: str
    _state_dir: Any
    _journal: Journal | None
    _factor_journal: FactorJournal | None
    _succession: Succession
    _pending: deque[msg.Tick]
    _welcome: msg.Welcome | None
    _welcomed_ns: int
    _gateway_session: str
    _first_contract: str
    _left: list[str]
    _revision: int
    _asked: int
    _models: int
    _seen: int
    _last_id: int
    _departure: Departure
    _stop: str
    _next_beat: float
    _late: bool

    def _head(self) -> dict[str, Any]:
        self._revision += 1
        return {"session": self.session, "revision": self._revision, "sent_ns": time.monotonic_ns()}

    def _receive(self, timeout_s: float) -> msg.AnyMessage | None:
        if self._late:
            self._keep_up(heard=True)
        message = self.bus.receive(timeout_s)
        self._late = isinstance(message, msg.Tick)  # it is answered before anything else is looked after
        if not self._late:
            self._keep_up(heard=message is not None)
        return message

    def _keep_up(self, heard: bool) -> None:
        now, now_ns = time.monotonic(), time.monotonic_ns()
        self._note(self.link.heard(now_ns) if heard else self.link.check(now_ns))
        for again in self.outbox.due(now_ns):  # under the revision it had: it counts once
            self.bus.send(again)
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_S
            self.bus.send(msg.Command(**self._head(), name="heartbeat"))

    def _note(self, change: LinkChange | None) -> None:
        if change is not None and self._journal is not None:
            self._journal.write("events", "link", {
                "link": change.name, "before": str(change.before), "after": str(change.after), "reason": change.reason,
            })  # fmt: skip

    def _tell(self, kind: str, fields: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write("events", kind, fields)

    def _hello(self) -> str:
        """Ask to join; returns the token it was asked with."""
        token = read_token(self._state_dir)  # a gateway that starts after us makes it
        head = self._head()
        self._asked = head["revision"]  # what answers an earlier hello is old
        self.bus.send(
            msg.Hello(**head, symbol=self.options.symbol, after_id=self._last_id, purpose="trade", token=token)
        )
        return token

    def _join(self) -> msg.Welcome | None:
        deadline = time.monotonic() + self.options.join_timeout_s
        backoff, next_hello, token = Backoff(1.0, 5.0), 0.0, ""
        while time.monotonic() < deadline and not self._stop:
            came = read_token(self._state_dir) != token  # the gateway is there by now, and knows only its own token
            if time.monotonic() >= next_hello or came:
                next_hello = time.monotonic() + backoff.next_s()
                token = self._hello()
            message = self._receive(0.2)
            if isinstance(message, msg.Welcome) and message.answers == self._asked:
                return self._check_welcome(message)
        if self._stop:
            self.ended = f"stopped by {self._stop}"
            return None
        raise UnreachableError(
            f"no gateway answers for account {self.options.account}",
            "start `ghtrader gateway run` with the same account and mode",
        )

    def _check_welcome(self, welcome: msg.Welcome) -> msg.Welcome:
        wanted, series = self.options.symbol, variety_of(welcome.symbol).continuous_symbol
        if wanted not in (welcome.symbol, series):
            raise RefusedError(
                f"the gateway trades {welcome.symbol}, not {wanted}", "start both with the same --symbol"
            )
        if self.bundle.policy.max_lots > welcome.max_position:
            raise RefusedError(
                f"the model wants up to {self.bundle.policy.max_lots} lots, the gateway allows {welcome.max_position}",
                "raise the gateway's --max-position",
            )
        self._welcomed_ns, self._gateway_session = welcome.sent_ns, welcome.session
        self._seen = welcome.tick_revision
        return welcome

    def _catch_up(self, answer: str) -> None:
        """Say hello again and take what is missing, the tick that told included; answered late where `answer` says."""
        backoff, next_hello = Backoff(1.0, 5.0), 0.0
        deadline = time.monotonic() + _HISTORY_WAIT_S
        hurried = False
        while time.monotonic() < deadline:
            if self._stop and not hurried:  # what is held cannot be given back by leaving at once
                hurried, deadline = True, min(deadline, time.monotonic() + _HURRIED_WAIT_S)
            if time.monotonic() >= next_hello:
                next_hello = time.monotonic() + backoff.next_s()
                self._hello()
            message = self._receive(0.2)
            if isinstance(message, msg.Tick):
                self._pending.append(message)
            elif isinstance(message, msg.Welcome) and message.answers == self._asked:
                self._welcomed_ns, self._gateway_session = message.sent_ns, message.session
                self._seen = max(self._seen, message.tick_revision)
                if message.symbol != self.contract:
                    self._change_contract(message)
                    if self.ended:
                        return
                    answer, next_hello = "none", 0.0  # its day so far, from the beginning
                    continue
                self._take_history(message.rows, answer)
                if not message.more:
                    return
                next_hello = 0.0
        self.ended = self.ended or "the gateway does not answer"

    def _begin(self, welcome: msg.Welcome, position: int) -> None:
        """Factors, model buffers and policy of a contract and a model begin here, and their journal."""
        o, journal = self.options, self._journal
        assert journal is not None
        if self._factor_journal is not None:
            self._factor_journal.flush()
        self._welcome, self.contract = welcome, welcome.symbol
        self.signal = Signal(
            self.bundle, self.calendar, self.contract, welcome.price_tick, welcome.multiplier,
            int(o.flat_before_end_s * 1e9), o.flat_from_ns, position, time.monotonic_ns,
        )  # fmt: skip
        self.signal.stop_trading = self._departure.begun
        name = "factors" if self.contract == self._first_contract else f"factors-{self.contract}"
        name += f"-{self._models}" if self._models > 1 else ""
        self._factor_journal = FactorJournal(journal, self.signal.width, name)

    def _hand_over(self, bundle: Bundle, welcome: msg.Welcome) -> None:
        """Swap the model for another one with buffers of its own; nothing is held."""
        before, self.bundle = self.bundle.bundle_id, bundle
        self._models += 1
        self._begin(welcome, 0)
        self._tell("champion-takes-over", {"before": before, "model": bundle.bundle_id})

    def _change_contract(self, welcome: msg.Welcome) -> None:
        """The gateway trades another contract now: nothing of the one before crosses."""
        before = self.contract
        self.outbox.clear()
        self._last_id = -1
        self._pending = deque(tick for tick in self._pending if tick.symbol == welcome.symbol)
        if successor := self._succession.due(new_day=True, flat=False):
            self._hand_over(successor, welcome)
        else:
            self._begin(welcome, 0)
        if not parse_symbol(self.options.symbol).continuous:
            self.ended = f"the gateway trades {self.contract} now, not {self.options.symbol}"
        self._left.append(before)
        self._tell("roll", {"before": before, "contract": self.contract})

    def _take_history(self, rows: int, answer: str) -> None:
        """Rows the gateway kept for us: the day so far (answered by `none`: it warms the engine), ticks we missed
        (`all`, late), or what happened while a gateway was being started again (the `last` alone)."""
        deadline = time.monotonic() + _HISTORY_WAIT_S
        while rows > 0:
            message = self._receive(0.5)
            if isinstance(message, msg.Tick):
                self._pending.append(message)
            if time.monotonic() > deadline:
                raise FailedError("the gateway stopped in the middle of the day's history", "start both again")
            if not isinstance(message, msg.History) or message.answers != self._asked:
                continue
            ids, times, values = msg.unpack_history(message)
            held = self.signal.target
            for place, (tick_id, moment, row) in enumerate(zip(ids.tolist(), times.tolist(), values, strict=True), 1):
                decision = self._take(tick_id, message.trading_day, moment, row)
                if answer == "all" or (answer == "last" and place == rows):
                    self._send_target(tick_id, moment, decision)
                self._keep(tick_id, message.trading_day, moment, decision, live=answer != "none")
            if answer == "none":
                self.signal.forget(held)
            rows -= len(ids)

    def _take(self, tick_id: int, day: str, moment: int, values: np.ndarray) -> Decision | None:
        self._last_id = tick_id
        return self.signal.on_tick(day, moment, values)

    def _keep(self, tick_id: int, day: str, moment: int, decision: Decision | None, live: bool) -> None:
        """Journal a decision, before the next tick and after its target has left."""
        if decision is not None and self._factor_journal is not None and self.options.journal_factors:
            self._factor_journal.add(
                tick_id, moment, day, decision.factors, decision.probabilities, decision.target, live
            )

    def _send_target(self, tick_id: int, moment: int, decision: Decision | None, got_ns: int = 0) -> None:
        if decision is None:
            self._want(self.signal.target, tick_id, moment, "outside the sessions")
        else:
            marks = (got_ns, *decision.marks_ns) if got_ns else ()
            opinion = tuple(decision.probabilities.tolist())
            self._want(self.signal.target, tick_id, moment, decision.reason, opinion, marks, decision.near)
        self.answered += 1

    def _want(
        self, volume: int, tick_id: int, moment: int, reason: str, opinion: tuple[float, ...] = (),
        marks_ns: tuple[int, ...] = (), near: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        """Send a target, and keep it until the gateway has acknowledged it or a newer one takes its place."""
        target = msg.Target(
            **self._head(), symbol=self.contract, volume=volume, tick_id=tick_id, tick_ns=moment, reason=reason,
            probabilities=opinion, marks_ns=marks_ns, near=near,
        )  # fmt: skip
        failpoint("strategy.decided->sent")
        self.bus.send(target)
        failpoint("strategy.sent->kept")
        self.outbox.sent(target, "target", time.monotonic_ns(), replaces=True)
