"""The signal process: tick -> factors -> model -> policy -> target, for every tick.

The same runner for replay, paper, sim and live; only what feeds the gateway differs. It starts cold with each trading
day, is warmed with the day so far when it joins late, and answers every tick, also with "as before".
"""

from __future__ import annotations

import contextlib
import gc
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.errors import FailedError, RefusedError, UnreachableError
from ghtrader_base.settings import Settings
from ghtrader_market.calendar import load_calendar
from ghtrader_market.varieties import variety_of
from ghtrader_models.bundle import Bundle
from ghtrader_runtime import messages as msg
from ghtrader_runtime.accounts import AccountRef
from ghtrader_runtime.addresses import endpoints
from ghtrader_runtime.bus import ClientBus, new_session
from ghtrader_runtime.journal import FactorJournal, Journal
from ghtrader_runtime.links import HEARTBEAT_S, Backoff, Link, LinkChange
from ghtrader_runtime.options import StrategyOptions
from ghtrader_runtime.outbox import Outbox
from ghtrader_runtime.peers import read_token
from ghtrader_runtime.signals import Decision, Signal
from ghtrader_runtime.succession import Succession

_STOP_WAIT_S = 15.0
_HISTORY_WAIT_S = 60.0
_GATEWAY_LOST_S = 120.0
"""Silence after which a strategy leaves; a supervised gateway that crashed is back, and logged in, well before."""


class Strategy:
    """One run of a strategy. Hold the strategy's lock before building it."""

    def __init__(self, settings: Settings, options: StrategyOptions, ref: AccountRef, bundle: Bundle) -> None:
        self.settings, self.options, self.bundle = settings, options, bundle
        self.session = new_session("strategy")
        self.calendar = load_calendar(settings)
        self._state_dir = ref.state_dir
        self.bus = ClientBus(endpoints(settings, ref.state_dir))
        self.link = Link("gateway")
        self.outbox = Outbox()
        self._journal: Journal | None = None
        self.answered = 0
        self.refused: dict[str, int] = {}
        self.ended = ""
        self._revision = 0
        self._asked = 0
        self._models = 1
        self._seen = 0
        self._last_id = -1
        self.gaps = 0
        self._pending: deque[msg.Tick] = deque()
        self._leaving_since = 0
        self._leave_by = self._next_ask = 0.0
        self._welcome: msg.Welcome | None = None
        self._gateway_session = ""
        self._stop = ""
        self._next_beat = 0.0

    # Talking ---------------------------------------------------------------------------------------------------

    def _head(self) -> dict[str, Any]:
        self._revision += 1
        return {"session": self.session, "revision": self._revision, "sent_ns": time.monotonic_ns()}

    def _catch_signals(self) -> None:
        def stop(number: int, _frame: Any) -> None:
            self._stop = self._stop or signal.Signals(number).name

        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)

    def _receive(self, timeout_s: float) -> msg.AnyMessage | None:
        message = self.bus.receive(timeout_s)
        now, now_ns = time.monotonic(), time.monotonic_ns()
        self._note(self.link.heard(now_ns) if message is not None else self.link.check(now_ns))
        for again in self.outbox.due(now_ns):  # under the revision it had: it counts once
            self.bus.send(again)
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_S
            self.bus.send(msg.Command(**self._head(), name="heartbeat"))
        return message

    def _note(self, change: LinkChange | None) -> None:
        if change is not None and self._journal is not None:
            self._journal.write("events", "link", {
                "link": change.name, "before": str(change.before), "after": str(change.after), "reason": change.reason,
            })  # fmt: skip

    def _hello(self) -> None:
        token = read_token(self._state_dir)  # a gateway that starts after us makes it
        head = self._head()
        self._asked = head["revision"]  # what answers an earlier hello is old
        self.bus.send(
            msg.Hello(**head, symbol=self.options.symbol, after_id=self._last_id, purpose="trade", token=token)
        )

    # Life ------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Join, answer every tick until the gateway ends or we are told to stop."""
        self._catch_signals()
        try:
            welcome = self._join()
            if welcome is None:
                return self._result()
            journal = self._journal = Journal(Path(welcome.run_dir) / "strategy")
            self._prepare(welcome, journal)
            self._take_history(welcome.rows, answer="none")
            if welcome.more:
                self._catch_up(answer="none")
            gc.collect()
            gc.freeze()  # no full collection in the middle of a tick
            self._say_ready(welcome.rows)
            self._trade()
            journal.write("events", "end", {"reason": self.ended, "answered": self.answered, "refused": self.refused})
            self.bus.send(msg.Goodbye(**self._head(), reason=self.ended))
            return self._result()
        finally:
            if self._journal is not None:
                self._factor_journal.flush()
                self._journal.close()
            self.bus.close()

    def _say_ready(self, rows: int) -> None:
        head = self._head()
        self.bus.send(msg.Ready(**head, symbol=self.options.symbol, rows=rows, model=self.bundle.bundle_id))

    def _result(self) -> dict[str, Any]:
        return {"ended": self.ended, "answered": self.answered, "refused": self.refused, "model": self.bundle.bundle_id}

    def _join(self) -> msg.Welcome | None:
        deadline = time.monotonic() + self.options.join_timeout_s
        backoff, next_hello = Backoff(1.0, 5.0), 0.0
        while time.monotonic() < deadline and not self._stop:
            if time.monotonic() >= next_hello and self._welcome is None:
                next_hello = time.monotonic() + backoff.next_s()
                self._hello()
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
        if welcome.symbol != self.options.symbol:
            raise RefusedError(
                f"the gateway trades {welcome.symbol}, not {self.options.symbol}", "start both with the same --symbol"
            )
        if self.bundle.policy.max_lots > welcome.max_position:
            raise RefusedError(
                f"the model wants up to {self.bundle.policy.max_lots} lots, the gateway allows {welcome.max_position}",
                "raise the gateway's --max-position",
            )
        self._welcome, self._gateway_session = welcome, welcome.session
        self._seen = welcome.tick_revision
        return welcome

    def _prepare(self, welcome: msg.Welcome, journal: Journal) -> None:
        o = self.options
        self.signal = Signal(
            self.bundle, self.calendar, o.symbol, welcome.price_tick, welcome.multiplier,
            int(o.flat_before_end_s * 1e9), o.flat_from_ns, welcome.position, time.monotonic_ns,
        )  # fmt: skip
        self._factor_journal = FactorJournal(journal, self.signal.width)
        way = o.succession if o.model == "champion" else "keep"
        series = variety_of(o.symbol).continuous_symbol
        self._succession = Succession(
            self.settings.models, series, o.horizon, way, self.bundle.bundle_id, welcome.max_position
        )
        journal.write("events", "start", {
            "session": self.session, "model": self.bundle.bundle_id, "symbol": o.symbol, "position": welcome.position,
            "factor_spec": self.bundle.factor_spec_hash, "history": welcome.rows,
        })  # fmt: skip

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
                decision = self._take(tick_id, message.trading_day, moment, row, live=answer != "none")
                if answer == "all" or (answer == "last" and place == rows):
                    self._send_target(tick_id, moment, decision)
            if answer == "none":
                self.signal.target = held  # what history would have done was not done
            rows -= len(ids)

    def _take(self, tick_id: int, day: str, moment: int, values: np.ndarray, live: bool) -> Decision | None:
        self._last_id = tick_id
        decision = self.signal.on_tick(day, moment, values)
        if decision is not None and self.options.journal_factors:
            self._factor_journal.add(
                tick_id, moment, day, decision.factors, decision.probabilities, decision.target, live
            )
        return decision

    def _send_target(self, tick_id: int, moment: int, decision: Decision | None, got_ns: int = 0) -> None:
        if decision is None:
            self._want(self.signal.target, tick_id, moment, "outside the sessions")
        else:
            marks = (got_ns, *decision.marks_ns) if got_ns else ()
            opinion = tuple(decision.probabilities.tolist())
            self._want(self.signal.target, tick_id, moment, decision.reason, opinion, marks)
        self.answered += 1

    def _want(
        self, volume: int, tick_id: int, moment: int, reason: str, opinion: tuple[float, ...] = (),
        marks_ns: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        """Send a target, and keep it until the gateway has acknowledged it or a newer one takes its place."""
        target = msg.Target(
            **self._head(), symbol=self.options.symbol, volume=volume, tick_id=tick_id, tick_ns=moment, reason=reason,
            probabilities=opinion, marks_ns=marks_ns,
        )  # fmt: skip
        self.bus.send(target)
        self.outbox.sent(target, "target", time.monotonic_ns(), replaces=True)

    def _on_ack(self, ack: msg.Ack) -> None:
        self.outbox.answered(ack.answers)
        if ack.status == "refused":
            self.refused[ack.reason] = self.refused.get(ack.reason, 0) + 1
        elif ack.status == "unknown":
            self._rejoin("it does not know us")

    def _trade(self) -> None:
        while not self.ended:
            message = self._pending.popleft() if self._pending else self._receive(0.2)
            if isinstance(message, msg.Tick | msg.AccountState) and message.session != self._gateway_session:
                self._rejoin("a new gateway answers")  # what came is in what it tells us now
            elif isinstance(message, msg.Tick):
                self._on_tick(message)
            elif isinstance(message, msg.AccountState):
                self._on_state(message)
            elif isinstance(message, msg.Ack):
                self._on_ack(message)
            if self.link.silent_s(time.monotonic_ns()) > _GATEWAY_LOST_S:
                self.ended = "the gateway is silent"
            if self._stop:
                self._leave()

    def _on_tick(self, tick: msg.Tick) -> None:
        if tick.id <= self._last_id and tick.trading_day == self.signal.day:
            self._seen = max(self._seen, tick.revision)
            return
        if tick.revision > self._seen + 1:
            self._seen = tick.revision
            self._repair()
            return
        self._seen = tick.revision
        if tick.trading_day != self.signal.day and (successor := self._succession.due(new_day=True, flat=False)):
            self._hand_over(successor)  # nothing of the new day was seen yet: it starts cold, as every day does
        got_ns = time.monotonic_ns()
        decision = self._take(tick.id, tick.trading_day, tick.datetime_ns, tick.array(), live=True)
        self._send_target(tick.id, tick.datetime_ns, decision, got_ns)

    def _repair(self) -> None:
        """Ticks were lost on the way: degraded until they are here and answered."""
        self.gaps += 1
        self._note(self.link.trouble("gap", "ticks were lost on the way", time.monotonic_ns()))
        self._catch_up(answer="all")
        self._note(self.link.mended("gap", time.monotonic_ns()))

    def _rejoin(self, why: str) -> None:
        """Another gateway answers now, or ours forgot us: what was missed is made good, and the last tick answered."""
        self._note(self.link.trouble("rejoin", why, time.monotonic_ns()))
        self.outbox.clear()
        self._seen = 0
        self._catch_up(answer="last")
        if not self.ended:
            self._say_ready(0)
        self._note(self.link.mended("rejoin", time.monotonic_ns()))

    def _catch_up(self, answer: str) -> None:
        """Say hello again and take what is missing, the tick that told included; answered late where `answer` says."""
        backoff, next_hello = Backoff(1.0, 5.0), 0.0
        deadline = time.monotonic() + _HISTORY_WAIT_S
        while time.monotonic() < deadline and not self._stop:
            if time.monotonic() >= next_hello:
                next_hello = time.monotonic() + backoff.next_s()
                self._hello()
            message = self._receive(0.2)
            if isinstance(message, msg.Tick):
                self._pending.append(message)
            elif isinstance(message, msg.Welcome) and message.answers == self._asked:
                self._gateway_session = message.session
                self._seen = max(self._seen, message.tick_revision)
                self._take_history(message.rows, answer)
                if not message.more:
                    return
                next_hello = 0.0
        self.ended = self.ended or "the gateway does not answer"

    def _on_state(self, state: msg.AccountState) -> None:
        self._look_for_a_champion(state)
        if state.ended:
            self.ended = state.ended
        elif state.tick_revision > self._seen and not self._pending:  # the last ticks were lost, no later one tells
            self._seen = state.tick_revision
            self._repair()
        elif self._leaving_since and state.sent_ns > self._leaving_since:
            flat = state.positions.get(self.options.symbol, 0) == 0 and state.working == 0
            if flat or state.trading_state == "HALTED":
                self.ended = f"stopped by {self._stop}"

    def _look_for_a_champion(self, state: msg.AccountState) -> None:
        if self._succession.look(time.monotonic()):
            self._tell("champion-waits", {"model": self._succession.waiting.bundle_id})
        elif self._succession.refused:
            self._tell("champion-refused", {"reason": self._succession.refused})
            self._succession.refused = ""
        held = state.positions.get(self.options.symbol, 0) or state.targets.get(self.options.symbol, 0)
        flat = not (held or state.working or self.signal.target or self._pending or len(self.outbox))
        if not self._stop and (successor := self._succession.due(new_day=False, flat=flat)):
            self._hand_over(successor)
            self._last_id = -1  # the day so far warms it
            self._catch_up(answer="none")
            if not self.ended:
                self._say_ready(0)
                self._want(self.signal.target, self._last_id, 0, "taken over")  # for every tick it has not answered

    def _hand_over(self, bundle: Bundle) -> None:
        """Another model from now on, with buffers of its own; nothing is held."""
        o, welcome, before = self.options, self._welcome, self.bundle.bundle_id
        assert welcome is not None and self._journal is not None
        self.bundle = bundle
        self.signal = Signal(
            bundle, self.calendar, o.symbol, welcome.price_tick, welcome.multiplier, int(o.flat_before_end_s * 1e9),
            o.flat_from_ns, 0, time.monotonic_ns,
        )  # fmt: skip
        self._factor_journal.flush()
        self._models += 1
        self._factor_journal = FactorJournal(self._journal, self.signal.width, f"factors-{self._models}")
        self._tell("champion-takes-over", {"before": before, "model": bundle.bundle_id})

    def _tell(self, kind: str, fields: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write("events", kind, fields)

    def _leave(self) -> None:
        """Told to stop: want a flat position, go on answering ticks, and go once the gateway says it is flat."""
        now = time.monotonic()
        if not self._leaving_since:
            self._leaving_since, self._leave_by = time.monotonic_ns(), now + _STOP_WAIT_S
            self.signal.stop_trading = True
            if not self.options.flatten_on_stop:
                self.ended = f"stopped by {self._stop}"
                return
        if now >= self._leave_by:
            self.ended = f"stopped by {self._stop}, the position was not flat in time"
        elif now >= self._next_ask:
            self._next_ask = now + 1.0
            self._want(0, -1, 0, "leaving")
