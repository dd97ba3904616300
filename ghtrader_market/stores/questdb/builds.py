"""Stores built days in QuestDB (main_l5, features, labels), each under a build id, and names the active build.

A build is written whole, then named active in one row; readers join that row, so nobody meets half a build, and a
day built anew leaves the old build beside the new one. The build id is made from the content: writing the same build
again changes nothing, also after a kill in the middle.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import parse_json
from ghtrader_base.version import code_version
from ghtrader_market.reference.tick_schema import MAIN_L5_SCHEMA, PROVENANCE_FIELDS, row_hash, schema_hash, table_hash
from ghtrader_market.stores.day_details import DayDetails, read_details
from ghtrader_market.stores.questdb.client import NoSuchDayError, QuestDbClient
from ghtrader_market.stores.questdb.rows import apart, column_hash, int_column, to_frame, to_schema
from ghtrader_market.stores.questdb.schema import BUILDS, FEATURES, LABELS, MAIN_L5

TABLES = {"main_l5": MAIN_L5, "features": FEATURES, "labels": LABELS}
DATASET_VERSION = "v2"
REPAIR_HINT = "`ghtrader db serve-sync --from lake` writes the day anew"
_LONGEST_BREAK = timedelta(days=16)
"""No two trading days are further apart; bounds the partitions a day is looked for in."""
_FRAME_COLUMNS = ("datetime_ns", *(field.name for field in PROVENANCE_FIELDS))


@dataclass(frozen=True, kw_only=True)
class Build:
    """The active build of a day.

    Attributes
    ----------
    build_id : str
        Empty for raw ticks, which have no builds.
    activation : int
        Counts up from 0 for each day of a dataset; the highest is in force.
    first_seq : int
        Raw ticks: rows of earlier writes were set aside by a repair.
    rows : int
    content_hash : str
        `ghtrader_market.reference.tick_schema.table_hash` of the day.
    source, run_id : str
    details : DayDetails
        What the lake's manifest says beside.
    columns : dict
        Features and labels: column -> Arrow type, in the table's order.
    """

    build_id: str
    activation: int
    first_seq: int
    rows: int
    content_hash: str
    source: str = ""
    run_id: str = ""
    details: DayDetails = field(default_factory=DayDetails)
    columns: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Details and columns as the server keeps them in `extra`, one JSON object."""
        return self.details.to_json() | ({"schema": dict(self.columns)} if self.columns else {})


# ---- which build is active ------------------------------------------------------------------------------------------


def active_builds(client: QuestDbClient, dataset: str, symbol: str, day: date | None = None) -> dict[str, Build]:
    """Trading day (ISO) -> the build in force."""
    only = f" AND trading_day = '{day}'" if day else ""
    rows = client.sql(
        "SELECT trading_day, build_id, activation, first_seq, row_count, content_hash, source, run_id, extra "
        f"FROM {BUILDS} WHERE dataset = '{dataset}' AND symbol = '{require_key(symbol)}'{only}"
    )
    found: dict[str, Build] = {}
    for name, build, number, first_seq, count, digest, source, run_id, extra in sorted(rows, key=_activation):
        details, columns = _read_extra(dataset, extra)
        found[name] = Build(
            build_id=build or "",
            activation=_activation((name, build, number)),
            first_seq=first_seq or 0,
            rows=count or 0,
            content_hash=digest or "",
            source=source or "",
            run_id=run_id or "",
            details=details,
            columns=columns,
        )
    return found


def _read_extra(dataset: str, text: str | None) -> tuple[DayDetails, Mapping[str, str]]:
    """The inverse of `Build.to_json`."""
    document = parse_json(text) if text else {}
    columns = document.pop("schema", {}) if isinstance(document.get("schema", {}), dict) else {}
    return read_details(dataset, document), columns


def _activation(row: tuple[Any, ...]) -> int:
    return -1 if row[2] is None else int(row[2])  # somebody dropped the column: any later one is in force


def activate(client: QuestDbClient, dataset: str, symbol: str, builds: Mapping[str, Build]) -> None:
    """Name builds (by trading day) active, all in one step."""
    import pandas as pd

    # The time only orders rows for people; what is in force is decided by `activation`.
    now = np.datetime64(time.time_ns() // 1000, "us")
    frame = pd.DataFrame(
        {
            "ts": np.full(len(builds), now).astype("datetime64[ns]"),
            "dataset": dataset,
            "symbol": symbol,
            "trading_day": list(builds),
            "build_id": [build.build_id for build in builds.values()],
            "activation": np.array([build.activation for build in builds.values()], dtype=np.int64),
            "first_seq": np.array([build.first_seq for build in builds.values()], dtype=np.int64),
            "row_count": np.array([build.rows for build in builds.values()], dtype=np.int64),
            "content_hash": [build.content_hash for build in builds.values()],
            "source": [build.source for build in builds.values()],
            "run_id": [build.run_id for build in builds.values()],
            "code_version": code_version(),
            "extra": [json.dumps(build.to_json(), allow_nan=False) for build in builds.values()],
        }
    )
    symbols = ["dataset", "symbol", "trading_day", "build_id", "content_hash", "source", "run_id", "code_version"]
    for name in symbols:
        frame[name] = pd.Categorical(frame[name])
    client.send(BUILDS, frame, symbols)


# ---- built days -----------------------------------------------------------------------------------------------------


class BuiltDays:
    """Days of main_l5, features and labels in a QuestDB server."""

    def __init__(self, client: QuestDbClient) -> None:
        self._client = client

    def write(
        self, dataset: str, key: str, day: date, table: pa.Table, source: str, run_id: str, details: DayDetails,
        *, anew: bool = False,
    ) -> bool:  # fmt: skip
        """Make `table` the active build of a day.

        Parameters
        ----------
        anew : bool
            Under a fresh build id even where the active build has this content (a repair of rows that were changed).

        Returns
        -------
        bool
            False where it was so already.
        """
        active = active_builds(self._client, dataset, key, day).get(day.isoformat())
        digest = table_hash(table)
        number = 0 if active is None else active.activation + 1
        if active is not None and active.content_hash == digest and not anew:
            if active.details.origin == details.origin:
                return False
            again = replace(active, activation=number, source=source, run_id=run_id, details=details)
            activate(self._client, dataset, key, {day.isoformat(): again})
            return True
        # A build id whose rows were tampered with cannot be made whole again: then the next one is fresh.
        for build_id in [f"{digest[:16]}-{number}"] if anew else [digest[:16], f"{digest[:16]}-{number}"]:
            frame, symbols = _frame(dataset, key, day, build_id, table)
            self._client.send(TABLES[dataset], frame, symbols)
            if self._count(dataset, key, day, build_id) == table.num_rows:
                break
        else:
            raise FailedError(f"QuestDB did not take all rows of {dataset} of {key} on {day}", "see its log")
        failpoint("questdb.rows->activation")
        build = Build(
            build_id=build_id,
            activation=number,
            first_seq=0,
            rows=table.num_rows,
            content_hash=digest,
            source=source,
            run_id=run_id,
            details=details,
            columns={} if dataset == "main_l5" else {column.name: str(column.type) for column in table.schema},
        )
        activate(self._client, dataset, key, {day.isoformat(): build})
        return True

    def read(self, dataset: str, key: str, day: date, *, verify: bool = True) -> pa.Table:
        """Rows of the active build, in the order they were written.

        Raises
        ------
        NoSuchDayError
            There is no such day.
        IntegrityError
            `verify`, and the rows are not those that were written.
        """
        build = active_builds(self._client, dataset, key, day).get(day.isoformat())
        if build is None or not build.build_id:
            raise NoSuchDayError(f"QuestDB has no {dataset} of {key} on {day}", "`ghtrader db serve-sync` brings it")
        schema = _schema_of(dataset, build)
        spread = [name for name in schema.names if dataset != "main_l5" and name not in _FRAME_COLUMNS]
        names = [name for name in schema.names if name not in spread]
        where = _where(key, day, build.build_id)
        found = self._client.export(
            TABLES[dataset], [*names, *(["numbers"] if spread else []), "row_number", "row_hash"], where
        )
        found = found.sort_by("row_number")
        if spread:
            found = _with_spread(found, spread, schema)
        table = to_schema(found, schema)
        if verify and (table.num_rows != build.rows or table_hash(table) != build.content_hash):
            raise IntegrityError(
                f"QuestDB's {dataset} of {key} on {day} is not what was written (build {build.build_id})", REPAIR_HINT
            )
        return table

    def days(self, dataset: str, key: str) -> list[date]:
        """Days with an active build, ascending."""
        found = active_builds(self._client, dataset, key)
        return sorted(date.fromisoformat(day) for day, build in found.items() if build.build_id)

    def keys(self, dataset: str) -> list[str]:
        """Series with an active build."""
        rows = self._client.sql(f"SELECT DISTINCT symbol FROM {BUILDS} WHERE dataset = '{dataset}'")
        return sorted(row[0] for row in rows)

    def _count(self, dataset: str, key: str, day: date, build_id: str) -> int:
        rows = self._client.sql(f"SELECT count() FROM {TABLES[dataset]} WHERE {_where(key, day, build_id)}")
        return int(rows[0][0])


def require_key(key: str) -> str:
    """A symbol or variety that may stand in a statement; `UsageError` otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", key):
        raise UsageError(f"{key!r} cannot be a key in QuestDB", "use a symbol or a variety")
    return key


def _where(key: str, day: date, build_id: str) -> str:
    return (
        f"symbol = '{require_key(key)}' AND trading_day = '{day}' AND build_id = '{build_id}' "
        f"AND ts >= '{day - _LONGEST_BREAK}' AND ts < '{day + timedelta(days=1)}'"
    )


def _schema_of(dataset: str, build: Build) -> pa.Schema:
    if dataset == "main_l5":
        return MAIN_L5_SCHEMA
    types = {"float": pa.float32(), "double": pa.float64(), "string": pa.string()}
    named = build.columns
    return pa.schema([(name, types.get(kind) or pa.type_for_alias(kind)) for name, kind in named.items()])


def _with_spread(found: pa.Table, names: Sequence[str], schema: pa.Schema) -> pa.Table:
    """The array column as one column a name."""
    lists = found["numbers"].combine_chunks()
    values = lists.flatten()
    if len(values) != len(names) * found.num_rows:
        raise IntegrityError(f"QuestDB's rows have not {len(names)} numbers each", REPAIR_HINT)
    matrix = values.to_numpy(zero_copy_only=False).reshape(found.num_rows, len(names))
    for place, name in enumerate(names):
        column = np.ascontiguousarray(matrix[:, place]).astype(schema.field(name).type.to_pandas_dtype())
        found = found.append_column(name, pa.array(column))
    return found


def _frame(dataset: str, key: str, day: date, build_id: str, table: pa.Table) -> tuple[Any, list[str]]:
    """A built day as the frame that is sent, and which of its columns are symbols."""
    import pandas as pd

    rows = table.num_rows
    times = int_column(table, "datetime_ns")
    labels = {"symbol": key, "dataset_version": DATASET_VERSION, "trading_day": day.isoformat(), "build_id": build_id}
    if dataset == "main_l5":
        frame = to_frame(table)
        hashes = row_hash(table)
    else:
        spread = [name for name in table.column_names if name not in _FRAME_COLUMNS]
        texts = [name for name in spread if not _is_number(table.schema.field(name).type)]
        if texts:
            raise FailedError(
                f"QuestDB keeps numbers of {dataset}, {texts[0]} is none", "this is a fault in the writer"
            )
        columns = [table[name].combine_chunks().to_numpy(zero_copy_only=False) for name in spread]
        hashes = column_hash([times, *columns])
        kept = [name for name in table.column_names if name in _FRAME_COLUMNS]
        frame = table.select(kept).to_pandas()
        matrix = np.column_stack([column.astype(np.float64) for column in columns])
        frame["numbers"] = list(np.ascontiguousarray(matrix))
        labels["spec_hash"] = schema_hash(table.schema)
    for name, text in labels.items():
        frame[name] = pd.Categorical.from_codes(np.zeros(rows, dtype=np.int8), [text])
    named = [name for name in ("underlying_contract", "schedule_hash") if name in frame]
    for name in named:
        frame[name] = pd.Categorical(frame[name])
    frame["row_number"] = np.arange(rows, dtype=np.int32)
    frame["row_hash"] = apart(hashes)
    frame["ts"] = times.astype("datetime64[ns]")
    return frame, [*labels, *named]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
