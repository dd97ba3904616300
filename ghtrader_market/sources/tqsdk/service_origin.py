"""Finds out what kind of service the settings point TqSdk at: the vendor's, a simulated exchange, or an unknown one.

The vendor's is known by its address. Any other is asked: a simulated exchange says so at `/origin` of the address that
serves the market data, with its world and its seed; one that does not answer that is unknown, never taken for real.
TqSdk itself takes no part in it.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import msgspec

from ghtrader_base.address_passwords import host_of
from ghtrader_base.errors import TimedOutError, UnreachableError
from ghtrader_base.settings import Settings
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin

VENDOR_DOMAIN = "shinnytech.com"
VENDOR = TickOrigin(kind=OriginKind.SERVICE, service=VENDOR_DOMAIN)
_TIMEOUT_S = 30.0
"""An exchange that is rendering a day answers late."""
_MOST_BYTES = 65_536
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def origin_of_service(settings: Settings, timeout_s: float = _TIMEOUT_S) -> TickOrigin:
    """Where ticks come from that TqSdk gets by these settings.

    Raises
    ------
    UnreachableError, TimedOutError
        The service that would have to be asked does not answer at all.
    """
    address = settings.tq_md_url or settings.tq_auth_url
    if not address or _is_vendor(address):
        return VENDOR
    parts = urlsplit(address)
    scheme = "https" if parts.scheme in ("https", "wss") else "http"
    host = host_of(address)  # it goes into every manifest: no login with it
    url = f"{scheme}://{host}/origin"
    return origin_said(_get(url, parts.hostname in _LOOPBACK, timeout_s), host)


def origin_said(answer: bytes | None, address: str) -> TickOrigin:
    """What a service's answer makes of its ticks: simulated ones, where it says so in full, else of unknown source.

    Parameters
    ----------
    answer : bytes or None
        Of `/origin`; None where the service has no such page.
    address : str
        Host and port.
    """
    unknown = TickOrigin(kind=OriginKind.UNKNOWN, service=address)
    if answer is None:
        return unknown
    try:
        found = TickOrigin.from_json(answer)
    except msgspec.DecodeError:  # a validation error is one, too
        return unknown
    whole = found.kind == OriginKind.SIMULATED and None not in (found.world, found.seed)
    return found if whole else unknown


def _is_vendor(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return host == VENDOR_DOMAIN or host.endswith(f".{VENDOR_DOMAIN}")


def _get(url: str, direct: bool, timeout_s: float) -> bytes | None:
    """The page, or None where there is none; `direct` past a proxy of the environment."""
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if direct else []))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            page: bytes = response.read(_MOST_BYTES)
            return page
    except (urllib.error.HTTPError, http.client.HTTPException):
        return None
    except TimeoutError as error:
        raise TimedOutError(f"{url} did not answer in time", "see that it runs, then run this again") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise TimedOutError(f"{url} did not answer in time", "see that it runs, then run this again") from error
        raise UnreachableError(f"no quote service at {url}: {error}", "start it, or correct TQ_MD_URL") from error
