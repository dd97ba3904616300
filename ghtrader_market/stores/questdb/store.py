"""Stores days in QuestDB, the server for everybody who does not read the lake.

Raw ticks are kept as they came: a row that is there already is not sent again, a row that differs is kept beside the
first under a higher ingest sequence, and reading gives what came first. What identifies a raw tick is contract,
trading day and time, and within one write its id: one write may hold a time twice (the exchange does print two ticks
in one half second), two writes that differ at one time are in conflict. Built days (main_l5, features, labels) and
schedules are in `builds` and `schedule`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError, UsageError
from ghtrader_base.failpoints import failpoint
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, row_hash, table_hash, validate_ticks
from ghtrader_market.stores.base import ServerState, StoreHealth, StoreRefusal, TableState
from ghtrader_market.stores.day_details import DayDetails, details_type
from ghtrader_market.stores.questdb.builds import REPAIR_HINT, Build, BuiltDays, activate, active_builds
from ghtrader_market.stores.questdb.client import MEND_HINT, NoSuchDayError, QuestDbClient
from ghtrader_market.stores.questdb.migrations import require_schema, schema_state
from ghtrader_market.stores.questdb.rows import apart, int_column, readable, sequence_of_new, to_frame, to_schema
from ghtrader_market.stores.questdb.schedule import ScheduleTable
from ghtrader_market.stores.questdb.schema import RAW_TICKS

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings
    from ghtrader_market.reference.roll_schedule import RollSchedule

OPEN_HINT = "start it with GHTRADER_QUESTDB_HTTP_USER and GHTRADER_QUESTDB_HTTP_PASSWORD set"
_OPEN = f", open: whoever reaches the port may change and drop tables; {OPEN_HINT}"
DATASET_VERSION = "v2"
TICKS_KIND = "raw"
_KIND = f"ticks_kind = '{TICKS_KIND}' AND dataset_version = '{DATASET_VERSION}'"
_LONGEST_BREAK = timedelta(days=16)
"""No two trading days are further apart; bounds the partitions a day is looked for in."""


def key_hashes(table: pa.Table) -> np.ndarray:
    """int64[n] unique by time and row: `row_hash`, and for the k-th twin of a row a hash k steps away."""
    return apart(row_hash(table))


def _day(symbol: str, day: date) -> str:
    """The rows of one contract-day, as a condition."""
    return (
        f"symbol = '{parse_symbol(symbol)}' AND trading_day = '{day}' AND {_KIND} "
        f"AND ts >= '{day - _LONGEST_BREAK}' AND ts < '{day + timedelta(days=1)}'"
    )


class QuestDbStore:
    """A store of days in a QuestDB server; also a `TickStore`.

    Parameters
    ----------
    settings : Settings
        `questdb_host`, ports, user and password.

    Notes
    -----
    Every method but `health` raises `UnreachableError` with the address where the server does not answer,
    `ConfigError` where it refuses the password, `SchemaError` where a table or column is not what it must be,
    `FailedError` for anything else it will not do.
    """

    name = "questdb"

    def __init__(self, settings: Settings) -> None:
        self.client = QuestDbClient(settings)
        self._built = BuiltDays(self.client)
        self._schedules = ScheduleTable(self.client)

    # ---- the TickStore protocol -------------------------------------------------------------------------------------

    def init(self) -> None:
        """Make sure the schema is whole; a server with nothing of ours is set up."""
        require_schema(self.client)

    def write_ticks(self, symbol: str, day: date, table: pa.Table, *, source: str = "", run_id: str = "") -> int:
        """Append the rows that are not there yet, all or none, and wait until they can be read.

        Returns
        -------
        int
            Rows stored for the contract-day afterwards, conflicting ones included.
        """
        return self._append(symbol, day, table)[0]

    def read_ticks(self, symbol: str, day: date, columns: list[str] | None = None) -> pa.Table:
        """Rows of one contract-day as they were first written, ordered by time and id.

        Raises
        ------
        IntegrityError
            A row is not what its hash says: somebody changed it in the server.
        """
        table, hashes = self.stored_ticks(symbol, day)
        if not np.array_equal(np.sort(hashes), np.sort(key_hashes(table))):
            raise IntegrityError(f"QuestDB's ticks of {symbol} on {day} are not what their hashes say", REPAIR_HINT)
        return table if columns is None else table.select(columns)

    def tick_days(self, symbol: str) -> list[date]:
        """Trading days stored for a contract, ascending."""
        name = str(parse_symbol(symbol))
        rows = self.client.sql(f"SELECT DISTINCT trading_day FROM {RAW_TICKS} WHERE symbol = '{name}' AND {_KIND}")
        return sorted(date.fromisoformat(row[0]) for row in rows if row[0])

    def health(self) -> StoreHealth:
        """Reach the server by HTTP and PGwire, look at schema and write-ahead logs, count; never raises."""
        try:
            version = self.client.require()
            state = schema_state(self.client)
            tables = {} if state.fresh else self._table_sizes()
        except GhtraderError as exc:
            refusal = StoreRefusal(error=type(exc).__name__, code=exc.exit_code)
            return StoreHealth(name=self.name, ok=False, detail=f"{exc.message}; {exc.hint}", refusal=refusal)
        server = ServerState(
            version=version, address=self.client.http, tables=tables,
            faults=tuple(str(fault) for fault in state.faults),
            pending_migrations=tuple(migration.number for migration in state.pending),
            open=self.client.answers_anybody(),
        )  # fmt: skip
        detail = f"{version} at {self.client.http}{_OPEN if server.open else ''}"
        if state.faults:
            return self._health(server, False, f"{detail}: {state.faults[0]}; {MEND_HINT}")
        if state.pending:
            what = "our tables are not there yet: `ghtrader db questdb-init`"
            what = what if state.fresh else "migrations wait: `ghtrader db migrate`"
            return self._health(server, state.fresh, f"{detail}; {what}")
        if stuck := [name for name, found in tables.items() if found.suspended]:
            what = f"table {stuck[0]} is suspended; ALTER TABLE {stuck[0]} RESUME WAL"
            return self._health(server, False, f"{detail}: {what}")
        return self._health(server, True, detail)

    def _health(self, server: ServerState, ok: bool, detail: str) -> StoreHealth:
        return StoreHealth(name=self.name, ok=ok, detail=detail, server=server)

    # ---- days of every dataset, as the lake has them ----------------------------------------------------------------

    def write_day(
        self, dataset: str, key: str, day: date, table: pa.Table, *, source: str = "", run_id: str = "",
        details: DayDetails | None = None,
    ) -> bool:  # fmt: skip
        """Store one day; whether a reader now gets `table` (False: raw ticks that differ from what came first)."""
        if dataset != "ticks":
            self._built.write(dataset, key, day, table, source, run_id, details or details_type(dataset)())
            return True
        agrees = self._append(key, day, table)[1]
        if agrees and details is not None:
            self._note_origin(key, day, table, source, run_id, details)
        return agrees

    def _note_origin(
        self, key: str, day: date, table: pa.Table, source: str, run_id: str, details: DayDetails
    ) -> None:
        """Keep what is known of a day of raw ticks where it says another origin than was noted, or a first one."""
        before = self.provenance("ticks", key, day)
        if details.origin == (before.details.origin if before is not None else None):
            return
        build = Build(
            build_id="",
            activation=0 if before is None else before.activation + 1,
            first_seq=0 if before is None else before.first_seq,
            rows=table.num_rows,
            content_hash=table_hash(table),
            source=source,
            run_id=run_id,
            details=details,
        )
        activate(self.client, "ticks", key, {day.isoformat(): build})

    def read_day(
        self, dataset: str, key: str, day: date, columns: list[str] | None = None, *, verify: bool = True
    ) -> pa.Table:
        """One day's rows in the lake's order and schema; `NoSuchDayError` where there is none."""
        if dataset != "ticks":
            table = self._built.read(dataset, key, day, verify=verify)
        else:
            table = self.read_ticks(key, day) if verify else self.stored_ticks(key, day)[0]
            if not table.num_rows:
                raise NoSuchDayError(f"QuestDB has no ticks of {key} on {day}", "`ghtrader db serve-sync` brings them")
        if columns and (unknown := set(columns) - set(table.column_names)):
            raise UsageError(f"{dataset} of {key} on {day} has no column {', '.join(sorted(unknown))}")
        return table if columns is None else table.select(columns)

    def has_day(self, dataset: str, key: str, day: date) -> bool:
        """Whether a day exists."""
        if dataset != "ticks":
            build = self.provenance(dataset, key, day)
            return build is not None and bool(build.build_id)
        return bool(self.client.sql(f"SELECT symbol FROM {RAW_TICKS} WHERE {_day(key, day)} LIMIT 1"))

    def days(self, dataset: str, key: str) -> list[date]:
        """Days that exist, ascending."""
        return self.tick_days(key) if dataset == "ticks" else self._built.days(dataset, key)

    def keys(self, dataset: str) -> list[str]:
        """Symbols that have a day of a dataset (varieties for `schedule`), sorted."""
        if dataset == "schedule":
            return self._schedules.varieties()
        if dataset != "ticks":
            return self._built.keys(dataset)
        rows = self.client.sql(f"SELECT DISTINCT symbol FROM {RAW_TICKS} WHERE {_KIND}")
        return sorted(row[0] for row in rows if row[0])

    def provenance(self, dataset: str, key: str, day: date) -> Build | None:
        """What is known of a day beside its rows; None where nothing was noted."""
        return active_builds(self.client, dataset, key, day).get(day.isoformat())

    def repair_day(
        self, dataset: str, key: str, day: date, table: pa.Table, *, source: str = "", run_id: str = "",
        details: DayDetails | None = None,
    ) -> None:  # fmt: skip
        """Make `table` what readers get, whatever is there; nothing is deleted.

        A built day is written under a fresh build id. Raw ticks are all written under the next ingest sequence, and
        then everything before it is set aside.
        """
        if dataset != "ticks":
            self._built.write(dataset, key, day, table, source, run_id, details or details_type(dataset)(), anew=True)
            return
        validate_ticks(table)
        there = int_column(self._export(key, day, ["ingest_seq"]), "ingest_seq")
        write = max(int(there.max()) if there.size else -1, -1) + 1
        self._send(key, day, table, key_hashes(table), np.full(table.num_rows, write, dtype=np.int64))
        failpoint("questdb.rows->activation")
        before = self.provenance(dataset, key, day)
        number = 0 if before is None else before.activation + 1
        build = Build(
            build_id="",
            activation=number,
            first_seq=write,
            rows=table.num_rows,
            content_hash=table_hash(table),
            source=source,
            run_id=run_id,
            details=details or details_type(dataset)(),
        )
        activate(self.client, dataset, key, {day.isoformat(): build})

    def write_schedule(self, schedule: RollSchedule, run_id: str = "", *, anew: bool = False) -> int:
        """Keep a roll schedule; returns how many of its days were written (those new or changed; `anew`: all)."""
        return self._schedules.write(schedule, run_id, anew=anew)

    def read_schedule(self, variety: str) -> RollSchedule:
        """The roll schedule in force; `FailedError` where there is none."""
        return self._schedules.read(variety)

    # ---- conflicts --------------------------------------------------------------------------------------------------

    def stored_ticks(self, symbol: str, day: date, columns: Sequence[str] = ()) -> tuple[pa.Table, np.ndarray]:
        """The rows a reader gets, unchecked, and their stored hashes (int64[n]), ordered by time and id.

        Parameters
        ----------
        columns : sequence of str
            Only these (of the table in QuestDB) beside time and id; empty: the schema of raw ticks.
        """
        names = [*RAW_TICK_SCHEMA.names, "ingest_seq", "row_hash"]
        found = self._export(symbol, day, list(dict.fromkeys(["datetime_ns", "id", "ingest_seq", *(columns or names)])))
        seen = readable(int_column(found, "datetime_ns"), int_column(found, "ingest_seq"), self._first_seq(symbol, day))
        found = found.filter(pa.array(seen)).sort_by([("datetime_ns", "ascending"), ("id", "ascending")])
        hashes = int_column(found, "row_hash") if "row_hash" in found.column_names else np.zeros(0, np.int64)
        return (found if columns else to_schema(found, RAW_TICK_SCHEMA)), hashes

    def conflicts(self, symbol: str, day: date) -> int:
        """Rows that came later with a time that was stored already: kept, not read (nor set aside by a repair)."""
        found = self._export(symbol, day, ["datetime_ns", "ingest_seq"])
        writes, first_seq = int_column(found, "ingest_seq"), self._first_seq(symbol, day)
        return int((writes >= first_seq).sum() - readable(int_column(found, "datetime_ns"), writes, first_seq).sum())

    def conflict_days(self, symbols: Sequence[str] = ()) -> dict[tuple[str, date], int]:
        """(contract, trading day) -> conflicting rows, of the days that have any."""
        only = f" AND symbol IN ({', '.join(repr(str(parse_symbol(s))) for s in symbols)})" if symbols else ""
        rows = self.client.sql(
            f"SELECT symbol, trading_day, min(ingest_seq), max(ingest_seq) FROM {RAW_TICKS} WHERE {_KIND}{only}"
        )
        several = [(row[0], date.fromisoformat(row[1])) for row in rows if all(row[:2]) and row[2] != row[3]]
        counts = {key: self.conflicts(*key) for key in sorted(several)}
        return {key: count for key, count in counts.items() if count}

    # ---- the server -------------------------------------------------------------------------------------------------

    def require(self) -> str:
        """The server's version; raises where HTTP or PGwire does not serve."""
        return self.client.require()

    def _append(self, symbol: str, day: date, table: pa.Table) -> tuple[int, bool]:
        """Append the rows that are not there yet: how many rows are stored now, and whether readers get `table`."""
        validate_ticks(table)
        self.client.wait_applied(RAW_TICKS)
        first_seq = self._first_seq(symbol, day)
        names = ["datetime_ns", "id", "row_hash", "ingest_seq"]
        there = self._export(symbol, day, names) if self.has_day("ticks", symbol, day) else None
        stored = tuple(int_column(there, name) if there else np.zeros(0, np.int64) for name in names)
        hashes = self._hashes_beside(symbol, day, table, stored)
        highest = int(stored[3].max()) if stored[3].size else -1
        times, ids = int_column(table, "datetime_ns"), int_column(table, "id")
        writes = sequence_of_new(times, ids, hashes, stored, first_seq, highest)
        new = writes >= 0
        if new.any():
            self._send(symbol, day, table.filter(pa.array(new)), hashes[new], writes[new])
        left = ~np.isin(stored[2], hashes[new])
        seen = readable(
            np.concatenate([stored[0][left], times[new]]), np.concatenate([stored[3][left], writes[new]]), first_seq
        )
        read = np.concatenate([stored[2][left], hashes[new]])[seen]
        return int(left.sum() + new.sum()), np.array_equal(np.sort(read), np.sort(hashes))

    def _first_seq(self, symbol: str, day: date) -> int:
        build = self.provenance("ticks", str(parse_symbol(symbol)), day)
        return 0 if build is None else build.first_seq

    def _hashes_beside(self, symbol: str, day: date, table: pa.Table, stored: tuple[np.ndarray, ...]) -> np.ndarray:
        """Hashes of the rows to write; a row that continues the day right after its own twin is told apart from it."""
        times, last = int_column(table, "datetime_ns"), stored[0].max() if stored[0].size else None
        if last is None or not table.num_rows or times[0] != last or int(table["id"][0].as_py()) <= stored[1].max():
            return key_hashes(table)
        before = self.stored_ticks(symbol, day)[0]
        before = before.filter(pa.array(int_column(before, "datetime_ns") == last))
        return key_hashes(pa.concat_tables([before, table]))[before.num_rows :]

    def _send(self, symbol: str, day: date, table: pa.Table, hashes: np.ndarray, writes: np.ndarray) -> None:
        import pandas as pd

        frame = to_frame(table)
        labels = {"symbol": symbol, "ticks_kind": TICKS_KIND, "dataset_version": DATASET_VERSION}
        labels["trading_day"] = day.isoformat()
        for name, text in labels.items():
            frame[name] = pd.Categorical.from_codes(np.zeros(len(frame), dtype=np.int8), [text])
        frame["row_hash"], frame["ingest_seq"] = hashes, writes
        frame["ts"] = frame["datetime_ns"].to_numpy().astype("datetime64[ns]")
        self.client.send(RAW_TICKS, frame, list(labels))

    def _export(self, symbol: str, day: date, columns: Sequence[str]) -> pa.Table:
        return self.client.export(RAW_TICKS, columns, _day(symbol, day))

    def _table_sizes(self) -> dict[str, TableState]:
        rows = self.client.sql(
            "SELECT name, sequencerTxn - writerTxn, suspended FROM wal_tables() WHERE name LIKE 'ghtrader_%'"
        )
        found = {}
        for name, lag, suspended in sorted(rows):
            with contextlib.suppress(FailedError):  # dropped between the two questions
                count = self.client.sql(f"SELECT count() FROM {name}")[0][0]
                found[name] = TableState(rows=count, wal_lag=lag, suspended=bool(suspended))
        return found
