"""Retries requests to a service: how often, how long, and what is reported meanwhile.

Waits between two tries follow `circuit_breaker`. An answer that will not change (wrong password, unknown contract,
nobody at the address) is passed on at once; a service that is slow, or turns everybody away for now, is asked again
until it answers or its time is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ghtrader_base.errors import LoginRefusedError, TimedOutError
from ghtrader_market.sources.circuit_breaker import CircuitBreaker

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Tell = Callable[[str], object]


class RetryPolicy:
    """The retry policy that the requests of one process share.

    Parameters
    ----------
    attempts : int
        Times a request that is not answered is sent.
    outage_s : float
        Seconds a service may turn everybody away before that is passed on.
    tell : callable
        Takes a line about what is waited for.
    breaker : CircuitBreaker, optional
    sleep : callable, optional
    """

    def __init__(
        self,
        attempts: int,
        outage_s: float,
        tell: Tell,
        breaker: CircuitBreaker | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.breaker = breaker or CircuitBreaker()
        self._attempts, self._outage_s = attempts, outage_s
        self._tell, self._sleep = tell, sleep

    def call(self, ask: Callable[[], Answer]) -> Answer:
        """The answer of `ask`.

        Raises
        ------
        TimedOutError
            No attempt was answered.
        LoginRefusedError
            Turned away for longer than `outage_s`.
        """
        tries = 0
        while True:
            try:
                answer = ask()
            except (TimedOutError, LoginRefusedError) as exc:
                tries += 1
                self.breaker.failed()
                given_up = tries >= self._attempts if isinstance(exc, TimedOutError) else False
                if given_up or self.breaker.away_s() >= self._outage_s:
                    raise
                pause = self.breaker.wait_s()
                pause = max(pause, 0.2)
                self._tell(f"{exc.message}; asking again in {pause:.1f} s")
                log.info("request %d was not answered (%s); again in %.1f s", tries, exc.message, pause)
                # One request at a time waits here: it is its own probe, whatever the others do.
                self._sleep(pause)
                self.breaker.admits()
            else:
                self.breaker.succeeded()
                return answer
