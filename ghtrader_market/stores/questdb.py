"""Ticks in QuestDB: the server for everybody who does not read the lake. Thin: raw ticks in and out.

Writing is ILP over HTTP, reading whole days the REST Parquet export, PGwire serves schema and counts. The table is
append-only: a row that is there already is not sent again, a row that differs is kept beside the first, and reading
gives what came first.
"""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ghtrader_base.errors import ConfigError, FailedError, GhtraderError, UnreachableError
from ghtrader_market.sources.base import empty_ticks
from ghtrader_market.stores.base import StoreHealth
from ghtrader_market.symbols import parse_symbol
from ghtrader_market.ticks import RAW_TICK_SCHEMA, VALUE_COLUMNS, row_hash, validate_ticks

if TYPE_CHECKING:
    import psycopg

    from ghtrader_base.settings import Settings

TABLE = "ghtrader_ticks_raw_v2"
DATASET_VERSION = "v2"
TICKS_KIND = "raw"
_TWIN = np.int64(0x5DEECE66D)
"""Rows equal in everything but their id get hashes this far apart, so that the dedup key keeps each."""
_APPLY_S = 120.0
_HTTP_S = 120.0
_START_HINT = "start it (`make questdb`), correct GHTRADER_QUESTDB_HOST and its ports, or unset the host to do without"
_NO_TABLE_HINT = "`ghtrader download` or `ghtrader data import` creates it while GHTRADER_QUESTDB_HOST is set"
_OLD_TABLE_HINT = f"rename it away in QuestDB (RENAME TABLE {TABLE} TO {TABLE}_old) and store the days again"
_LONGEST_BREAK = timedelta(days=16)
"""No two trading days are further apart; bounds the partitions a day is looked for in."""


def create_statement() -> str:
    """SQL that makes the table where it is missing."""
    value_types = {"int64": "LONG", "double": "DOUBLE"}
    values = ", ".join(f"{name} {value_types[str(RAW_TICK_SCHEMA.field(name).type)]}" for name in VALUE_COLUMNS)
    return (
        f"CREATE TABLE IF NOT EXISTS {TABLE} (ts TIMESTAMP_NS, datetime_ns LONG, symbol SYMBOL, ticks_kind SYMBOL, "
        f"dataset_version SYMBOL, row_hash LONG, ingest_seq LONG, id LONG, {values}, trading_day SYMBOL) "
        "TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol, row_hash)"
    )


def key_hashes(table: pa.Table) -> np.ndarray:
    """int64[n] unique by time and row: `row_hash`, and for the k-th twin of a row a hash k steps away."""
    hashes = row_hash(table)
    _, first, inverse = np.unique(
        np.rec.fromarrays([table["datetime_ns"].to_numpy(), hashes]), return_index=True, return_inverse=True
    )
    if len(first) == len(hashes):
        return hashes
    seen: dict[int, int] = {}
    out = hashes.copy()
    with np.errstate(over="ignore"):
        for row, group in enumerate(inverse.tolist()):
            out[row] += np.int64(seen.get(group, 0)) * _TWIN
            seen[group] = seen.get(group, 0) + 1
    return out


def first_written(table: pa.Table) -> pa.Table:
    """Of rows with one time, those of the write that came first; ordered by time and id.

    Parameters
    ----------
    table : pyarrow.Table
        `RAW_TICK_SCHEMA` and `ingest_seq` (int64), in any order.
    """
    table = table.sort_by([("datetime_ns", "ascending"), ("ingest_seq", "ascending"), ("id", "ascending")])
    times, writes = table["datetime_ns"].to_numpy(), table["ingest_seq"].to_numpy()
    starts = np.flatnonzero(np.diff(times, prepend=times[:1] - 1))
    first = np.repeat(writes[starts], np.diff(np.append(starts, len(times))))
    return table.filter(pa.array(writes == first)).select(RAW_TICK_SCHEMA.names)


class QuestDbStore:
    """A `TickStore` in a QuestDB server.

    Parameters
    ----------
    settings : Settings
        `questdb_host`, ports, user and password.

    Notes
    -----
    Every method but `health` raises `UnreachableError` with the address where the server does not answer,
    `ConfigError` where it refuses the password, `FailedError` for anything it will not do.
    """

    name = "questdb"

    def __init__(self, settings: Settings) -> None:
        if not settings.questdb_host:
            raise ConfigError("no QuestDB is configured", "set GHTRADER_QUESTDB_HOST")
        self._settings = settings
        self._http = f"{settings.questdb_host}:{settings.questdb_http_port}"
        self._pg = f"{settings.questdb_host}:{settings.questdb_pg_port}"

    # ---- the TickStore protocol -------------------------------------------------------------------------------------

    def init(self) -> None:
        """Create the table; `FailedError` where an older one lacks columns."""
        self._sql(create_statement())
        have = {row[0] for row in self._sql(f'SELECT "column" FROM table_columns({TABLE!r})')}
        wanted = {"ts", "datetime_ns", "symbol", "ticks_kind", "dataset_version", "row_hash", "ingest_seq", "id"}
        if missing := sorted((wanted | set(VALUE_COLUMNS) | {"trading_day"}) - have):
            raise FailedError(f"QuestDB's table {TABLE} lacks {', '.join(missing)}", _OLD_TABLE_HINT)

    def write_ticks(self, symbol: str, day: date, table: pa.Table, *, source: str = "", run_id: str = "") -> int:
        """Append the rows that are not there yet, all or none, and wait until they can be read.

        Returns
        -------
        int
            Rows stored for the contract-day afterwards, conflicting ones included.
        """
        validate_ticks(table)
        self._wait_applied()
        there = self._export(symbol, day, ["datetime_ns", "row_hash", "ingest_seq"])
        hashes = key_hashes(table)
        known = set(zip(there["datetime_ns"].to_pylist(), there["row_hash"].to_pylist(), strict=True))
        keys = zip(table["datetime_ns"].to_pylist(), hashes.tolist(), strict=True)
        new = np.array([key not in known for key in keys], dtype=bool)
        if new.any():
            write = 0 if there.num_rows == 0 else pc.max(there["ingest_seq"]).as_py() + 1
            self._send(symbol, day, table.filter(pa.array(new)), hashes[new], write)
        return there.num_rows + int(new.sum())

    def read_ticks(self, symbol: str, day: date, columns: list[str] | None = None) -> pa.Table:
        """Rows of one contract-day as they were first written, ordered by time and id."""
        found = self._export(symbol, day, [*RAW_TICK_SCHEMA.names, "ingest_seq"])
        arrays = []
        for field in RAW_TICK_SCHEMA:
            column = found[field.name].combine_chunks().cast(field.type)
            # QuestDB stores no NaN beside null.
            arrays.append(pc.fill_null(column, np.nan) if pa.types.is_floating(field.type) else column)
        table = pa.Table.from_arrays([*arrays, found["ingest_seq"]], names=[*RAW_TICK_SCHEMA.names, "ingest_seq"])
        table = first_written(table).cast(RAW_TICK_SCHEMA) if table.num_rows else empty_ticks()
        return table if columns is None else table.select(columns)

    def tick_days(self, symbol: str) -> list[date]:
        """Trading days stored for a contract, ascending."""
        name = str(parse_symbol(symbol))
        rows = self._sql(f"SELECT DISTINCT trading_day FROM {TABLE} WHERE symbol = '{name}' AND {_KIND}")
        return sorted(date.fromisoformat(row[0]) for row in rows)

    def health(self) -> StoreHealth:
        """Reach the server by HTTP and PGwire and count; never raises."""
        try:
            version = self.require()
            rows = self._sql(f"SELECT count() FROM {TABLE}")[0][0]
        except GhtraderError as exc:
            return StoreHealth(self.name, False, f"{exc.message}; {exc.hint}")
        return StoreHealth(self.name, True, f"{version} at {self._http}", {"rows": rows, "table": TABLE})

    # ---- beyond the protocol ----------------------------------------------------------------------------------------

    def require(self) -> str:
        """The server's version; raises where HTTP or PGwire does not serve."""
        self._get("exec", "SELECT 1")
        return str(self._sql("SELECT build()")[0][0]).split(",")[0].removeprefix("Build Information: ")

    def conflicts(self, symbol: str, day: date) -> int:
        """Rows that came later with a time that was stored already: kept, not read."""
        stored = self._export(symbol, day, ["ingest_seq"]).num_rows
        return stored - self.read_ticks(symbol, day, ["id"]).num_rows

    # ---- the server -------------------------------------------------------------------------------------------------

    def _send(self, symbol: str, day: date, table: pa.Table, hashes: np.ndarray, write: int) -> None:
        import pandas as pd
        from questdb import QuestDBError, Sender

        frame = table.to_pandas()
        count = len(frame)
        labels = {"symbol": symbol, "ticks_kind": TICKS_KIND, "dataset_version": DATASET_VERSION}
        labels["trading_day"] = day.isoformat()
        for name, text in labels.items():
            frame[name] = pd.Categorical.from_codes(np.zeros(count, dtype=np.int8), [text])
        frame["row_hash"], frame["ingest_seq"] = hashes, np.int64(write)
        frame["ts"] = frame["datetime_ns"].to_numpy().astype("datetime64[ns]")
        configuration = f"http::addr={self._http};auto_flush=off;max_buf_size={1 << 30};request_timeout=60000;"
        try:
            with Sender.from_conf(configuration) as sender, sender.transaction(TABLE) as transaction:
                transaction.dataframe(frame, symbols=list(labels), at="ts")
        except QuestDBError as exc:
            raise self._ilp_error(exc) from exc
        self._wait_applied()

    def _wait_applied(self) -> None:
        """Until the write-ahead log is applied up to what it holds now."""
        query = f"SELECT writerTxn, sequencerTxn, suspended FROM wal_tables() WHERE name = '{TABLE}'"
        deadline, target, pause = time.monotonic() + _APPLY_S, None, 0.005
        while True:
            rows = self._sql(query)
            if not rows:
                raise FailedError(f"QuestDB has no table {TABLE} yet", _NO_TABLE_HINT)
            applied, logged, suspended = rows[0]
            if suspended:
                raise FailedError(
                    f"QuestDB suspended the table {TABLE}", f"see its log, then: ALTER TABLE {TABLE} RESUME WAL"
                )
            target = logged if target is None else target
            if applied >= target:
                return
            if time.monotonic() > deadline:
                raise FailedError(f"QuestDB has not applied what it took within {_APPLY_S:.0f} s", "see its log")
            time.sleep(pause)
            pause = min(pause * 2, 0.25)

    def _export(self, symbol: str, day: date, columns: Sequence[str]) -> pa.Table:
        import pyarrow.parquet as pq

        name = str(parse_symbol(symbol))
        query = (
            f"SELECT {', '.join(columns)} FROM {TABLE} WHERE symbol = '{name}' AND trading_day = '{day}' AND {_KIND} "
            f"AND ts >= '{day - _LONGEST_BREAK}' AND ts < '{day + timedelta(days=1)}'"
        )
        return pq.read_table(io.BytesIO(self._get("exp", query, fmt="parquet"))).select(list(columns))

    def _get(self, path: str, query: str, **options: str) -> bytes:
        url = f"http://{self._http}/{path}?" + urllib.parse.urlencode({"query": query, **options})
        try:
            with urllib.request.urlopen(url, timeout=_HTTP_S) as response:
                return response.read()
        except urllib.error.HTTPError as exc:
            raise _refused(_message_of(exc)) from exc
        except (urllib.error.URLError, OSError) as exc:
            raise self._gone(self._http, str(getattr(exc, "reason", exc))) from exc

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
                connect_timeout=5,
                autocommit=True,
                prepare_threshold=None,
            )
        except psycopg.OperationalError as exc:
            if "invalid username/password" in str(exc):
                raise ConfigError(
                    f"QuestDB at {self._pg} refused user and password",
                    "correct GHTRADER_QUESTDB_PG_USER and GHTRADER_QUESTDB_PG_PASSWORD",
                ) from exc
            raise self._gone(self._pg, "connection failed") from exc

    def _sql(self, statement: str) -> list[tuple[Any, ...]]:
        import psycopg

        with self._connect() as connection:
            try:
                cursor = connection.execute(statement)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError as exc:
                raise self._gone(self._pg, "connection lost") from exc
            except psycopg.Error as exc:
                raise _refused(str(exc)) from exc

    def _gone(self, address: str, why: str) -> UnreachableError:
        return UnreachableError(f"no QuestDB at {address}: {why}", _START_HINT)

    def _ilp_error(self, exc: Exception) -> GhtraderError:
        text = str(exc)
        if any(word in text.lower() for word in ("connect", "could not resolve", "refused", "timed out", "i/o")):
            return self._gone(self._http, text.splitlines()[0][:200])
        return _refused(text)


_KIND = f"ticks_kind = '{TICKS_KIND}' AND dataset_version = '{DATASET_VERSION}'"


def _message_of(exc: urllib.error.HTTPError) -> str:
    body = exc.read(4096).decode(errors="replace")
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.strip() or str(exc)


def _refused(text: str) -> FailedError:
    """What QuestDB answered instead of doing it, with what to do."""
    first = (text.strip().splitlines() or ["no reason given"])[0][:300]
    lowered = text.lower()
    if "table does not exist" in lowered or "does not exist [table=" in lowered:
        return FailedError(f"QuestDB has no table {TABLE} yet", _NO_TABLE_HINT)
    if "invalid column" in lowered or "column not found" in lowered or "column does not exist" in lowered:
        return FailedError(f"QuestDB's table {TABLE} is of another version: {first}", _OLD_TABLE_HINT)
    return FailedError(f"QuestDB refused: {first}", "see its log")
