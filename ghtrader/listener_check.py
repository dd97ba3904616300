"""Tries what this home has listening as a stranger would, and says what answers: `ghtrader config check`.

A listener is closed where it refuses a request that names another host, or one without a login. Whether other machines
reach it is not looked at: everything we start binds 127.0.0.1.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings

_ANSWER_S = 10.0
_STRANGER = "stranger.invalid"
_PG_DEFAULTS = ("admin", "quest")


class ListenerState(StrEnum):
    """What a stranger's request comes to."""

    CLOSED = "closed"
    OPEN = "open"
    SILENT = "does not answer"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One thing that listens; `hint` says how an open one is closed."""

    name: str
    address: str
    state: ListenerState
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json` and tables."""
        return asdict(self)


def check_listeners(settings: Settings) -> list[Listener]:
    """Everything of this home that listens and speaks HTTP or SQL, tried now; `ConfigError` for half a login."""
    from ghtrader_base.settings import require_whole_logins

    require_whole_logins(settings)
    return [*_web_servers(settings), *_metrics(settings), *_questdb(settings)]


def _web_servers(settings: Settings) -> list[Listener]:
    from ghtrader_base.processes import list_processes

    return [
        Listener(
            name=info.kind,
            address=info.detail,
            state=_asked(info.detail, Host=_STRANGER),
            hint="an older version started it: `ghtrader down`, then `ghtrader up`",
        )
        for info in list_processes(settings)
        if info.detail.startswith("http://") and info.purpose == "web UI"
    ]


def _metrics(settings: Settings) -> list[Listener]:
    address = f"http://127.0.0.1:{settings.metrics_port}/metrics"
    if not settings.metrics_port or (state := _asked(address)) is ListenerState.SILENT:
        return []
    return [Listener(name="metrics", address=address, state=state, hint="every user of this machine reads positions")]


def _questdb(settings: Settings) -> list[Listener]:
    if not settings.questdb_host:
        return []
    from ghtrader_market.stores.questdb.store import OPEN_HINT

    http = f"http://{settings.questdb_host}:{settings.questdb_http_port}"
    return [
        Listener(
            name="QuestDB, HTTP", address=http, state=_asked(f"{http}/exec?query=SELECT%201"), hint=OPEN_HINT
        ),
        Listener(
            name="QuestDB, PGwire",
            address=f"{settings.questdb_host}:{settings.questdb_pg_port}",
            state=_pg_state(settings),
            hint="it takes the password everybody knows: start it with GHTRADER_QUESTDB_PG_PASSWORD set to your own",
        ),
    ]


def _asked(address: str, **headers: str) -> ListenerState:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=_ANSWER_S):
            return ListenerState.OPEN
    except urllib.error.HTTPError as refused:
        return ListenerState.CLOSED if refused.code < 500 else ListenerState.SILENT
    except (OSError, http.client.HTTPException):
        return ListenerState.SILENT


def _pg_state(settings: Settings) -> ListenerState:
    import psycopg

    user, password = _PG_DEFAULTS
    try:
        psycopg.connect(
            host=settings.questdb_host, port=settings.questdb_pg_port, dbname=settings.questdb_pg_dbname, user=user,
            password=password, connect_timeout=int(_ANSWER_S),
        ).close()  # fmt: skip
    except psycopg.OperationalError as exc:
        return ListenerState.CLOSED if "invalid username/password" in str(exc) else ListenerState.SILENT
    return ListenerState.OPEN
