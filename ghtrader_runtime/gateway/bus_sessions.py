"""Keeps the gateway's client sessions: who joined, the state of their links, and the answers they were given.

Bounded whatever is sent: an unknown client's session costs nothing, and only who can read the account's state folder
(its token) may trade or command. Pure: times come in, changes go out.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass

from ghtrader_runtime.bus.link_state import Link, LinkChange
from ghtrader_runtime.bus.messages import Ack, Target

MAX_CLIENTS = 64
KEEP_ANSWERS = 1024
HISTORIES_A_SECOND = 20.0


@dataclass
class BusSession:
    """One session that joined: where its answers go, its link, and whether it may trade."""

    session: str
    identity: bytes
    link: Link
    trusted: bool


class BusSessions:
    """Sessions of a gateway.

    Parameters
    ----------
    token : str
        What a session must show to trade or command.

    Attributes
    ----------
    ready : dict
        Strategies that answer ticks: session -> model.
    last_target : Target or None
        The last one that a strategy sent for the contract at hand.
    strangers : int
        Messages of sessions that had not joined.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._joined: dict[str, BusSession] = {}
        self._answers: OrderedDict[tuple[str, int], Ack] = OrderedDict()
        self._allowance, self._refilled_ns = HISTORIES_A_SECOND, 0
        self.strangers = 0
        self.ready: dict[str, str] = {}
        self.last_target: Target | None = None

    def __len__(self) -> int:
        return len(self._joined)

    def get(self, session: str) -> BusSession | None:
        """The session, if it joined."""
        return self._joined.get(session)

    def shows(self, token: str) -> bool:
        """Whether this is the account's token."""
        return hmac.compare_digest(self._token.encode(), token.encode("utf-8", "surrogatepass"))

    def join(
        self, session: str, identity: bytes, token: str, now_ns: int
    ) -> tuple[BusSession | None, LinkChange | None]:
        """A session says hello; None where there is no place for it."""
        client = self._joined.get(session)
        if client is None:
            if len(self._joined) >= MAX_CLIENTS and not self._make_room():
                self.strangers += 1
                return None, None
            client = self._joined[session] = BusSession(session, identity, Link(name=session), False)
        client.identity = identity
        client.trusted = client.trusted or self.shows(token)
        return client, client.link.heard(now_ns)

    def heard(self, session: str, identity: bytes, now_ns: int) -> tuple[BusSession | None, LinkChange | None]:
        """A joined session sent something; None for an unknown client, which is counted and otherwise ignored."""
        client = self._joined.get(session)
        if client is None:
            self.strangers += 1
            return None, None
        client.identity = identity
        return client, client.link.heard(now_ns)

    def check(self, now_ns: int) -> list[LinkChange]:
        """Time passed."""
        found = (client.link.check(now_ns) for client in self._joined.values())
        return [change for change in found if change is not None]

    def leave(self, session: str) -> BusSession | None:
        """Forget a session; returns what it was."""
        return self._joined.pop(session, None)

    def states(self) -> dict[str, str]:
        """State of every link by session."""
        return {session: str(client.link.state) for session, client in self._joined.items()}

    def remembered(self, session: str, revision: int) -> Ack | None:
        """The answer a command was given before: a repetition has no second effect."""
        return self._answers.get((session, revision))

    def remember(self, session: str, revision: int, answer: Ack) -> None:
        """Keep the answer to a command; the oldest go."""
        self._answers[(session, revision)] = answer
        while len(self._answers) > KEEP_ANSWERS:
            self._answers.popitem(last=False)

    def may_have_history(self, now_ns: int) -> bool:
        """Whether a stretch of history may be sent now; at most `HISTORIES_A_SECOND` are."""
        passed = max(0, now_ns - self._refilled_ns) / 1e9
        self._refilled_ns = max(now_ns, self._refilled_ns)
        self._allowance = min(HISTORIES_A_SECOND, self._allowance + passed * HISTORIES_A_SECOND)
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def _make_room(self) -> bool:
        """Forget the untrusted session that was silent longest."""
        untrusted = [client for client in self._joined.values() if not client.trusted]
        if not untrusted:
            return False
        # the oldest of a dict's order is as good as any: who is still there says hello again
        del self._joined[untrusted[0].session]
        return True
