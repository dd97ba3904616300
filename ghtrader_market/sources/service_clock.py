"""Compares this machine's clock with the service's, by the Date header that its login server answers with.

Market time is no measure of it: a quote is as old as the last trade, and a simulated exchange lives by a clock of its
own. What a difference means for trading is `live_gate`'s, for a person `status`'.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from ghtrader_base.address_passwords import hide_secrets
from ghtrader_base.errors import FailedError, UnreachableError
from ghtrader_base.settings import Settings
from ghtrader_market.sources.tqsdk.worker_client import VENDOR_AUTH_URL

WARN_S = 5.0
"""From here on somebody is told."""
REFUSE_S = 30.0
"""From here on nothing is traded on a real account: sessions, timeouts and order times would be wrong."""
_TIMEOUT_S = 2.0
_RESOLUTION_S = 1.0
"""Of the header, which leaves fractions of a second away."""


@dataclass(frozen=True)
class ClockState:
    """How this machine's clock stands to the service's.

    Attributes
    ----------
    url : str
        The server that was asked; empty where no service is configured.
    ahead_s : float or None
        Seconds this machine is ahead of it (behind: negative), good to half a second; None where it was not asked.
    """

    url: str = ""
    ahead_s: float | None = None

    @property
    def off_s(self) -> float:
        """How far it may be off, s: what was measured and what the header leaves open."""
        return 0.0 if self.ahead_s is None else abs(self.ahead_s) + _RESOLUTION_S / 2

    @property
    def warning(self) -> str:
        """What somebody has to do something about; empty where the clocks agree."""
        return f"{self.words()}; set it, for example by timedatectl set-ntp true" if self.off_s >= WARN_S else ""

    def words(self) -> str:
        """Where it stands, in a sentence."""
        if self.ahead_s is None:
            return "the service was not asked for its time"
        way = "ahead of" if self.ahead_s >= 0 else "behind"
        where = f" ({self.url})" if self.url else ""
        return f"this machine's clock is {abs(self.ahead_s):.0f} s {way} the service's{where}"

    def to_json(self) -> dict[str, Any]:
        """For `status --json`."""
        ahead_s = None if self.ahead_s is None else round(self.ahead_s, 1)
        return {"url": self.url, "ahead_s": ahead_s, "warning": self.warning}


def ahead_of(asked_s: float, answered_s: float, told_s: float) -> float:
    """Seconds that this machine's clock is ahead of a server's.

    Parameters
    ----------
    asked_s, answered_s : float
        This machine's time before the question and after the answer, seconds since the epoch.
    told_s : float
        The server's time in between, whole seconds.
    """
    return (asked_s + answered_s) / 2 - (told_s + _RESOLUTION_S / 2)


def read_service_clock(settings: Settings, now: Callable[[], float] = time.time) -> ClockState:
    """Ask the login server for its time; nothing is asked where no account and no address is configured.

    Raises
    ------
    UnreachableError
        It does not answer.
    FailedError
        It answers without its time.
    """
    if not settings.tqsdk_user and not settings.tq_auth_url:
        return ClockState()
    url = settings.tq_auth_url or VENDOR_AUTH_URL
    shown = hide_secrets(url)
    asked_s = now()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT_S) as response:
            told = response.headers.get("Date")
    except urllib.error.HTTPError as answer:  # it has no such page, and a clock all the same
        told = answer.headers.get("Date")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(f"no login service at {shown} to ask for its time", "start it or try later") from error
    answered_s = now()
    try:
        moment = parsedate_to_datetime(told or "")
    except (TypeError, ValueError) as error:
        raise FailedError(f"{shown} does not tell its time", "compare this machine's clock by hand") from error
    return ClockState(shown, ahead_of(asked_s, answered_s, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()))
