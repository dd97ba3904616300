"""Talks to a QuestDB server: ILP over HTTP to write, the REST Parquet export to read, PGwire for the rest.

Transport and errors belong here, tables do not. Serves 9.3 and 10 alike: nothing is used that only one of them has.
"""

from __future__ import annotations

import base64
import http.client
import io
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ghtrader_base.disk_errors import DiskRefusal, refusal_in
from ghtrader_base.errors import ConfigError, FailedError, GhtraderError, ServerFullError, UnreachableError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import parse_json

if TYPE_CHECKING:
    import pandas as pd
    import psycopg

    from ghtrader_base.settings import Settings

MEND_HINT = "`ghtrader db migrate` mends it (`--dry-run` shows how)"
_START_HINT = "start it (`make questdb`), correct GHTRADER_QUESTDB_HOST and its ports, or unset the host to do without"
_DISK_FULL = "DISK FULL"
"""QuestDB's tag of a table that it suspended for want of room."""
_APPLY_S = 120.0
_EXPORT_S = 120.0
_ANSWER_S = 5.0
_BUFFER_BYTES = 1 << 30


class SchemaError(FailedError):
    """A table of ours in QuestDB is not what the code needs: move its schema forward."""


class NoSuchDayError(FailedError):
    """QuestDB has nothing of a day that a reader could be given: bring it over."""


class QuestDbClient:
    """One QuestDB server, as the settings name it.

    Parameters
    ----------
    settings : Settings
        `questdb_host`, ports, user and password.

    Notes
    -----
    Every method raises `UnreachableError` with the address where the server does not answer, `ConfigError` where it
    refuses the password, `SchemaError` where a table or column is not there, `FailedError` for anything else it will
    not do.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.questdb_host:
            raise ConfigError("no QuestDB is configured", "set GHTRADER_QUESTDB_HOST")
        self._settings = settings
        self.http = f"{settings.questdb_host}:{settings.questdb_http_port}"
        self.pg = f"{settings.questdb_host}:{settings.questdb_pg_port}"
        self._mine = threading.local()  # connecting costs more than most questions; one a thread

    def require(self) -> str:
        """The server's version; raises where HTTP or PGwire does not serve."""
        self._get("exec", "SELECT 1", _ANSWER_S)
        return str(self.sql("SELECT build()")[0][0]).split(",")[0].removeprefix("Build Information: ")

    def answers_anybody(self) -> bool:
        """Whether the HTTP side executes a statement without a login; False too where nobody answers."""
        url = f"http://{self.http}/exec?" + urllib.parse.urlencode({"query": "SELECT 1"})
        try:
            with urllib.request.urlopen(url, timeout=_ANSWER_S):
                return True
        except (OSError, http.client.HTTPException):
            return False

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of one statement over PGwire; an empty list for one that gives none."""
        import psycopg

        while True:
            kept: psycopg.Connection[Any] | None = getattr(self._mine, "connection", None)
            connection = kept or self._connect()
            self._mine.connection = connection
            try:
                cursor = connection.execute(statement)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError as exc:
                connection.close()
                self._mine.connection = None
                if kept is None:  # one that had been idle may belong to a server that was started anew
                    raise self._gone(self.pg, "connection lost") from exc
            except psycopg.Error as exc:
                raise refused(str(exc)) from exc

    def export(self, table: str, columns: Sequence[str], where: str) -> pa.Table:
        """Columns of the rows of a table, over the Parquet export.

        Notes
        -----
        The export loses VARCHAR columns (seen on 9.3.4): texts of our tables are SYMBOL or STRING.
        """
        import pyarrow.parquet as pq

        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {where}"
        return pq.read_table(io.BytesIO(self._get("exp", query, _EXPORT_S, fmt="parquet"))).select(list(columns))

    def send(self, table: str, frame: pd.DataFrame, symbols: Sequence[str]) -> None:
        """Append the rows of a frame, all or none, and wait until they can be read.

        Parameters
        ----------
        table : str
        frame : pandas.DataFrame
            Column `ts` is the designated time.
        symbols : sequence of str
            Columns that are symbols.
        """
        from questdb import QuestDBError, Sender

        user, password = self._http_login() or (None, None)
        configuration = f"http::addr={self.http};auto_flush=off;max_buf_size={_BUFFER_BYTES};request_timeout=60000;"
        try:
            with (
                Sender.from_conf(configuration, username=user, password=password) as sender,
                sender.transaction(table) as transaction,
            ):
                transaction.dataframe(frame, symbols=list(symbols), at="ts")
        except QuestDBError as exc:
            text = str(exc)
            if re.search(r"status: 40[13]|unauthori[sz]ed|authentication", text, re.IGNORECASE):
                raise self._login_refused() from exc
            if re.search(r"connect|could not resolve|refused|timed out|i/o|status: 50", text, re.IGNORECASE):
                raise self._gone(self.http, text.splitlines()[0][:200]) from exc
            raise refused(text) from exc
        failpoint("questdb.sent->applied")
        self.wait_applied(table)

    def wait_applied(self, table: str) -> None:
        """Until the write-ahead log of a table is applied up to what it holds now."""
        query = (
            "SELECT writerTxn, sequencerTxn, suspended, errorTag, errorMessage FROM wal_tables() "
            f"WHERE name = '{table}'"
        )
        deadline, target, pause = time.monotonic() + _APPLY_S, None, 0.005
        while True:
            rows = self.sql(query)
            if not rows:
                raise SchemaError(f"QuestDB has no table {table}", MEND_HINT)
            applied, logged, suspended, tag, message = rows[0]
            if suspended and (tag == _DISK_FULL or refusal_in(str(message)) is DiskRefusal.FULL):
                raise ServerFullError(
                    f"QuestDB's disk is full: it suspended the table {table}",
                    f"make room on its machine, then: ALTER TABLE {table} RESUME WAL",
                )
            if suspended:
                raise FailedError(
                    f"QuestDB suspended the table {table}", f"see its log, then: ALTER TABLE {table} RESUME WAL"
                )
            target = logged if target is None else target
            if applied >= target:
                return
            if time.monotonic() > deadline:
                raise FailedError(f"QuestDB has not applied what it took within {_APPLY_S:.0f} s", "see its log")
            time.sleep(pause)
            pause = min(pause * 2, 0.25)

    def _get(self, path: str, query: str, timeout_s: float, **options: str) -> bytes:
        url = f"http://{self.http}/{path}?" + urllib.parse.urlencode({"query": query, **options})
        request = urllib.request.Request(url)
        if login := self._http_login():
            request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(login).encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as exc:
            if exc.code in (401, 403):
                raise self._login_refused() from exc
            raise refused(_message_of(exc)) from exc
        except (OSError, http.client.HTTPException) as exc:  # the latter: half an answer, or another kind of server
            raise self._gone(self.http, str(getattr(exc, "reason", exc)) or type(exc).__name__) from exc

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        settings = self._settings
        try:
            return psycopg.connect(
                host=settings.questdb_host,
                port=settings.questdb_pg_port,
                user=settings.questdb_pg_user,
                password=settings.questdb_pg_password.get_secret_value(),
                dbname=settings.questdb_pg_dbname,
                connect_timeout=int(_ANSWER_S),
                autocommit=True,
                prepare_threshold=None,
            )
        except psycopg.OperationalError as exc:
            if "invalid username/password" in str(exc):
                raise ConfigError(
                    f"QuestDB at {self.pg} refused user and password",
                    "correct GHTRADER_QUESTDB_PG_USER and GHTRADER_QUESTDB_PG_PASSWORD",
                ) from exc
            raise self._gone(self.pg, "connection failed") from exc

    def _http_login(self) -> tuple[str, str] | None:
        """User and password of the HTTP side; None where none are set, ConfigError where one alone is."""
        from ghtrader_base.settings import require_whole_logins

        require_whole_logins(self._settings)
        login = (self._settings.questdb_http_user, self._settings.questdb_http_password.get_secret_value())
        return login if any(login) else None

    def _login_refused(self) -> ConfigError:
        return ConfigError(
            f"QuestDB at {self.http} refused user and password",
            "correct GHTRADER_QUESTDB_HTTP_USER and GHTRADER_QUESTDB_HTTP_PASSWORD: those it was started with",
        )

    def _gone(self, address: str, why: str) -> UnreachableError:
        return UnreachableError(f"no QuestDB at {address}: {why}", _START_HINT)


def _message_of(exc: urllib.error.HTTPError) -> str:
    body = exc.read(4096).decode(errors="replace")
    try:
        return str(parse_json(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.strip() or str(exc)


def refused(text: str) -> GhtraderError:
    """What QuestDB answered instead of doing it, with what to do."""
    first = (text.strip().splitlines() or ["no reason given"])[0][:300]
    if found := re.search(r"does not exist \[table=(\w+)", text):
        return SchemaError(f"QuestDB has no table {found[1]}", MEND_HINT)
    if re.search(r"invalid column|column not found|column does not exist", text, re.IGNORECASE):
        return SchemaError(f"a table in QuestDB lacks a column: {first}", MEND_HINT)
    if refusal_in(text) in (DiskRefusal.FULL, DiskRefusal.QUOTA):
        return ServerFullError(f"QuestDB's disk is full: {first}", "make room on its machine")
    return FailedError(f"QuestDB refused: {first}", "see its log")
