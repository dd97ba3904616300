"""Talks to the gateway for a strategy: joins, asks for the day so far and for missed ticks, sends targets.

It owns the sockets, the link, the revisions and what is not acknowledged yet; it knows no model and no factor. What is
made of a message is decided in `strategy`.

Failpoints: ``strategy.decided->sent``, ``strategy.sent->kept``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ghtrader_base.errors import FailedError, RefusedError, UnreachableError
from ghtrader_base.failpoints import failpoint
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.backoff import Backoff
from ghtrader_runtime.bus.endpoints import Endpoints
from ghtrader_runtime.bus.link_state import HEARTBEAT_S, Link, LinkChange
from ghtrader_runtime.bus.message_seal import ClientCredentials
from ghtrader_runtime.bus.pending_requests import PendingRequests
from ghtrader_runtime.bus.sockets import ClientBus, new_session
from ghtrader_runtime.core.actions import AnswerStatus
from ghtrader_runtime.runlog.journal import Journal

_HISTORY_WAIT_S = 60.0
_HURRIED_WAIT_S = 5.0
"""The same for one that was told to stop."""
_UNCOUNTED_NS = 2_000_000_000
"""What a gateway tells so long after we said that we are ready counts us, or has lost us."""


class GatewayClient:
    """A strategy's end of the bus.

    Parameters
    ----------
    addresses : Endpoints
        The gateway's.
    account : AccountRef
        Whose token it proves to know.
    symbol : str
        The contract or main series to trade.
    stop_requested : callable
        Whether the strategy was told to stop: nothing is waited for at length any more.

    Attributes
    ----------
    session : str
        Of this strategy on the bus.
    link : Link
        To the gateway.
    outbox : PendingRequests
        Targets that are not acknowledged yet.
    pending : deque of Tick
        Ticks that came while something else was waited for, oldest first.
    gateway_session : str
        Of the gateway whose welcome came last.
    welcomed_ns : int
        When that welcome was sent (CLOCK_MONOTONIC).
    journal : Journal or None
        Where changes of the link are told; None until the run's folder is known.
    """

    def __init__(
        self, addresses: Endpoints, account: AccountRef, symbol: str, stop_requested: Callable[[], bool]
    ) -> None:
        self._account, self._symbol, self._stop_requested = account, symbol, stop_requested
        self.session = new_session("strategy")
        self.link = Link(name="gateway")
        self.outbox = PendingRequests()
        self.pending: deque[msg.Tick] = deque()
        self.gateway_session = ""
        self.welcomed_ns = 0
        self.journal: Journal | None = None
        self._bus, self._credentials = ClientBus(addresses), ClientCredentials(self.session)
        self._revision = 0
        self._asked = 0
        self._tick_revision = 0
        self._next_beat = 0.0
        self._late = False
        self._ready_ns: int | None = None

    def close(self) -> None:
        """Close the sockets; what was sent gets a moment to leave."""
        self._bus.close()

    def next_message(self, timeout_s: float) -> msg.AnyMessage | None:
        """A tick that is pending, or what arrives within `timeout_s`."""
        return self.pending.popleft() if self.pending else self._receive(timeout_s)

    def silent_s(self) -> float:
        """Seconds since the gateway last sent something; infinite where it never did."""
        return self.link.silent_s(time.monotonic_ns())

    def _receive(self, timeout_s: float) -> msg.AnyMessage | None:
        if self._late:
            self._keep_up(heard=True)
        message = self._bus.receive(timeout_s)
        self._late = isinstance(message, msg.Tick)  # it is answered before anything else is looked after
        if not self._late:
            self._keep_up(heard=message is not None)
        return message

    def _keep_up(self, heard: bool) -> None:
        now, now_ns = time.monotonic(), time.monotonic_ns()
        self._note(self.link.heard(now_ns) if heard else self.link.check(now_ns))
        for again in self.outbox.due(now_ns):  # under the revision it had: it counts once
            self._send(again)
        if now >= self._next_beat and self._credentials.sealer.has_key:
            self._beat()

    def _beat(self) -> None:
        self._next_beat = time.monotonic() + HEARTBEAT_S
        self._send(msg.Command(**self._head(), name="heartbeat"))

    def _send(self, message: msg.Message) -> None:
        self._bus.send(message, self._credentials.sealer)

    def lost_before(self, revision: int) -> bool:
        """Whether ticks were lost between the last one known and this one, which is the last one known from now on."""
        lost = revision > self._tick_revision + 1
        self._tick_revision = revision
        return lost

    def is_news(self, revision: int) -> bool:
        """Whether a tick was published after the last one known."""
        return revision > self._tick_revision

    def skip_to(self, revision: int) -> None:
        """Ticks up to this one are known, or about to be asked for."""
        self._tick_revision = max(self._tick_revision, revision)

    def join(self, timeout_s: float) -> msg.Welcome | None:
        """Say hello until the gateway welcomes us; None where we were told to stop before.

        Raises
        ------
        UnreachableError
            Nobody answered within `timeout_s`.
        RefusedError
            The gateway lets it not in: another version, another token.
        """
        deadline = time.monotonic() + timeout_s
        backoff, next_hello, token = Backoff(1.0, 5.0), 0.0, ""
        while time.monotonic() < deadline and not self._stop_requested():
            came = read_token(self._account.state_dir) != token  # the gateway is there by now, and knows only its own
            if time.monotonic() >= next_hello or came:
                next_hello = time.monotonic() + backoff.next_s()
                token = self._hello(-1)
            message = self._receive(0.2)
            if isinstance(message, msg.Welcome) and message.answers == self._asked:
                return self._welcomed(message)
            if isinstance(message, msg.Ack) and message.answers == self._asked and self._is_final(message, token):
                raise RefusedError(
                    f"the gateway of account {self._account.name} lets this strategy not in: {message.reason}",
                    "start both from the same version of ghtrader, as the same user",
                )
        if self._stop_requested():
            return None
        raise UnreachableError(
            f"no gateway answers for account {self._account.name}",
            "start `ghtrader gateway run` with the same account and mode",
        )

    def _is_final(self, ack: msg.Ack, token: str) -> bool:
        """Whether it is the gateway's word on a hello that showed the token as it still is."""
        return ack.status is AnswerStatus.REFUSED and token == read_token(self._account.state_dir) != ""

    def welcomes(self, last_id: Callable[[], int]) -> Iterator[msg.Welcome]:
        """Say hello again, and once more for each further welcome that is asked for; ends when nobody answers in time.

        What a welcome announces is to be taken with `history` before the next one is asked for. Ticks that come
        meanwhile are pending.

        Parameters
        ----------
        last_id : callable
            Id of the last tick that is not missing, looked at for each hello; -1 for the whole day.
        """
        backoff, next_hello = Backoff(1.0, 5.0), 0.0
        deadline = time.monotonic() + _HISTORY_WAIT_S
        hurried = False
        while time.monotonic() < deadline:
            if self._stop_requested() and not hurried:  # what is held cannot be given back by leaving at once
                hurried, deadline = True, min(deadline, time.monotonic() + _HURRIED_WAIT_S)
            if time.monotonic() >= next_hello:
                next_hello = time.monotonic() + backoff.next_s()
                self._hello(last_id())
            message = self._receive(0.2)
            if isinstance(message, msg.Tick):
                self.pending.append(message)
            elif isinstance(message, msg.Welcome) and message.answers == self._asked:
                yield self._welcomed(message)
                next_hello = 0.0

    def history(self, rows: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        """The rows that a welcome announced, in chunks: trading day, ids int64[n], times int64[n] (UTC epoch ns),
        values float64[n, 27]. Ticks that come meanwhile are pending.

        Raises
        ------
        FailedError
            The gateway stopped in the middle of it.
        """
        deadline = time.monotonic() + _HISTORY_WAIT_S
        while rows > 0:
            message = self._receive(0.5)
            if isinstance(message, msg.Tick):
                self.pending.append(message)
            if time.monotonic() > deadline:
                raise FailedError("the gateway stopped in the middle of the day's history", "start both again")
            if not isinstance(message, msg.History) or message.answers != self._asked:
                continue
            ids, times, values = msg.unpack_history(message)
            yield message.trading_day, ids, times, values
            rows -= len(ids)

    def start_over(self) -> None:
        """Another gateway answers, or ours forgot us: what we asked for and what we know of its ticks is void."""
        self.outbox.clear()
        self._tick_revision = 0
        self._credentials.sealer.use(None)

    def change_contract(self, symbol: str) -> None:
        """Another contract is traded: targets of the one before are void, and so are its ticks."""
        self.outbox.clear()
        self.pending = deque(tick for tick in self.pending if tick.symbol == symbol)

    def _hello(self, after_id: int) -> str:
        """Ask to join; returns the token it was asked with."""
        token = read_token(self._account.state_dir)  # a gateway that starts after us makes it
        head = self._head()
        self._asked = head["revision"]  # what answers an earlier hello is old
        proof = self._credentials.proof(token)
        self._bus.send(msg.Hello(**head, symbol=self._symbol, after_id=after_id, purpose="trade", proof=proof))
        return token

    def _welcomed(self, welcome: msg.Welcome) -> msg.Welcome:
        self.welcomed_ns, self.gateway_session = welcome.sent_ns, welcome.session
        self.skip_to(welcome.tick_revision)
        self._credentials.welcomed(welcome.nonce)
        self._beat()  # sealed: from now on the gateway knows this connection as ours
        return welcome

    def say_ready(self, symbol: str, rows: int, model: str) -> None:
        """From now on every tick of `symbol` is answered; `rows` of history warmed the model."""
        head = self._head()
        self._ready_ns = head["sent_ns"]
        self._send(msg.Ready(**head, symbol=symbol, rows=rows, model=model))

    def is_forgotten(self, state: msg.AccountState) -> bool:
        """Whether the gateway does not count us as ready although we said so a while before this state.

        It forgets who was silent for long, and a message may be lost. Where no tick comes any more, whose target it
        would refuse, nothing else tells.
        """
        said_ns = self._ready_ns
        return said_ns is not None and state.sent_ns - said_ns > _UNCOUNTED_NS and self.session not in state.ready

    def say_goodbye(self, reason: str) -> None:
        """Nothing follows."""
        self._send(msg.Goodbye(**self._head(), reason=reason))

    def send_target(
        self, symbol: str, volume: int, tick_id: int, moment: int, reason: str, opinion: tuple[float, ...] = (),
        marks_ns: tuple[int, ...] = (), near: tuple[int, ...] = (),
    ) -> int:  # fmt: skip
        """Send a target, and keep it until the gateway has acknowledged it or a newer one takes its place.

        Parameters are those of `msg.Target`; returns the revision it was sent under.
        """
        target = msg.Target(
            **self._head(), symbol=symbol, volume=volume, tick_id=tick_id, tick_ns=moment, reason=reason,
            probabilities=opinion, marks_ns=marks_ns, near=near,
        )  # fmt: skip
        failpoint("strategy.decided->sent")
        self._send(target)
        failpoint("strategy.sent->kept")
        self.outbox.sent(target, "target", time.monotonic_ns(), replaces=True)
        return target.revision

    def acknowledged(self, ack: msg.Ack) -> None:
        """A target was answered: it is not sent again."""
        self.outbox.answered(ack.answers)

    def _head(self) -> dict[str, Any]:
        self._revision += 1
        return {"session": self.session, "revision": self._revision, "sent_ns": time.monotonic_ns()}

    def trouble(self, kind: str, reason: str) -> None:
        """Something is amiss until `mended` is called with the same kind: the link is DEGRADED."""
        self._note(self.link.trouble(kind, reason, time.monotonic_ns()))

    def mended(self, kind: str) -> None:
        """What was amiss is over."""
        self._note(self.link.mended(kind, time.monotonic_ns()))

    def _note(self, change: LinkChange | None) -> None:
        if change is not None and self.journal is not None:
            self.journal.write("events", "link", {
                "link": change.name, "before": str(change.before), "after": str(change.after), "reason": change.reason,
            })  # fmt: skip
