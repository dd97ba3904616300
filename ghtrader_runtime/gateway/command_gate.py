"""Decides whether a command comes from who knows the account's token, and remembers the answers commands were given.

A command is sealed with a challenge that its connection was given. Each command that is obeyed changes all challenges,
so that none is obeyed twice, however it comes again: as a repetition, which is answered as the first time, or as a copy
that somebody else sends. Pure.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict

from ghtrader_runtime.bus.message_seal import SealCheck, command_key, fresh_nonce
from ghtrader_runtime.bus.messages import Ack
from ghtrader_runtime.bus.sockets import Received

KEEP_ANSWERS = 1024


class CommandGate:
    """Commands of a gateway.

    Parameters
    ----------
    token : str
        What the sender of a command must know.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._challenges = fresh_nonce()
        self._answers: OrderedDict[tuple[str, int], Ack] = OrderedDict()

    def challenge(self, identity: bytes) -> bytes:
        """What a command on this connection is to be sealed with now, bytes[32]."""
        return hmac.digest(self._challenges, identity, "sha256")

    def proves(self, received: Received) -> bool:
        """Whether the sender of a command knows the token and answers its connection's challenge."""
        if received.seal is None or not self._token:
            return False
        key = command_key(self._token, self.challenge(received.identity))
        return SealCheck(key).fault(received.body, received.seal) is None

    def remembered(self, session: str, revision: int) -> Ack | None:
        """The answer that a command was given before: a repetition has no second effect. Only for who proves that it
        may command."""
        return self._answers.get((session, revision))

    def obeyed(self, session: str, revision: int, answer: Ack) -> None:
        """Keep the answer to a command, the oldest go; every challenge given so far is void."""
        self._answers[(session, revision)] = answer
        while len(self._answers) > KEEP_ANSWERS:
            self._answers.popitem(last=False)
        self._challenges = fresh_nonce()
