"""Defines the state that a gateway keeps in `gateway.json` for supervisor, `status` and views."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import read_json

GATEWAY_STATE = "gateway.json"


class GatewayState(msgspec.Struct, frozen=True, kw_only=True):
    """Which gateway this is and how it stands.

    Attributes
    ----------
    session, pid
        Of the process.
    account, broker, mode, symbol, requested, trading_day : str
        `symbol` is the contract at hand, `requested` what was asked for.
    schedule_hash, schedule_note : str
        Of the roll schedule, and what is to be said of it.
    holding_note : str
        What warns of the last days of a contract that is held.
    cold_note : str
        Why factors began in mid-session, without the day so far; empty where they did not.
    state_dir : str
        The account's folder.
    revision : int
    ready : tuple of str
        Models of the strategies that are ready.
    killed : bool
    trading_state : str
    reasons : tuple of str
        What stands against trading, for people.
    links : dict
        Link -> LIVE, STALE or DOWN.
    metrics : str
        Where Prometheus finds it.
    tqsdk_rules : tuple of str, or str
        TqSdk's own risk rules in force, or why there are none.
    positions : dict
        Contract -> net lots.
    net_pnl : float, optional
        CNY; None where a mark is not known.
    data_age_s : float, optional
        Since the last tick.
    ended : str
        Why the run ended; empty while it goes on.
    written_ns : int
        Wall clock.
    """

    session: str = ""
    pid: int
    account: str
    broker: str
    mode: str
    symbol: str
    requested: str = ""
    trading_day: str = ""
    schedule_hash: str = ""
    schedule_note: str = ""
    holding_note: str = ""
    cold_note: str = ""
    state_dir: str
    revision: int = 0
    ready: tuple[str, ...] = ()
    killed: bool = False
    trading_state: str = ""
    reasons: tuple[str, ...] = ()
    links: dict[str, str] = {}
    metrics: str = ""
    tqsdk_rules: tuple[str, ...] | str = ()
    positions: dict[str, int] = {}
    net_pnl: float | None = 0.0
    data_age_s: float | None = None
    ended: str = ""
    written_ns: int = 0

    @property
    def troubled_links(self) -> dict[str, str]:
        """The links that are not LIVE."""
        return {name: state for name, state in self.links.items() if state != "LIVE"}

    def to_json(self) -> dict[str, Any]:
        """The document of `gateway.json`."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def gateway_state(document: object, path: Path) -> GatewayState:
    """The state in a document that was read from `path`; keys of other versions are left out.

    Raises
    ------
    IntegrityError
        It is no state of a gateway.
    """
    try:
        return msgspec.convert(document, GatewayState)
    except msgspec.ValidationError as exc:
        raise IntegrityError(f"{path} is no state of a gateway: {exc}", "start the gateway anew") from exc


def read_gateway_state(run_dir: Path) -> GatewayState | None:
    """The state that a gateway wrote last into its run's folder; None where there is none that can be read."""
    path = run_dir / GATEWAY_STATE
    with contextlib.suppress(OSError, IntegrityError):
        return gateway_state(read_json(path), path)
    return None
