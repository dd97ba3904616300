"""Answers read-only SQL over the lake: one view a data set, DuckDB on the Parquet files as they lie.

A query is a single SELECT (WITH, FROM, VALUES, DESCRIBE and SHOW count as such) by DuckDB's own parser. The engine's
own settings, locked before the query runs, let it read the lake's folder and nothing else: no file, no network, no
extension, no environment.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_base.files import ensure_dir, fsync_dir
from ghtrader_market.sql.day_pruning import Bounds, bounds_of, lists_tables, tables_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import PARTITION_NAME

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

VIEWS = {
    "ticks_raw_v2": "ticks",
    "ticks_l1_v2": "ticks_l1",
    "ticks_main_l5_v2": "main_l5",
    "features_all": "features",
    "labels_all": "labels",
    "daily_bars_all": "daily_bars",
}
METRICS = "run_metrics"
MEMORY_LIMIT = "2GB"
Metrics = Callable[[], "pa.Table"]
_READ_ONLY = {"SELECT"}
_BATCH_ROWS = 100_000


def connect(data: Path, sql: str = "", metrics: Metrics | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB, locked, with the views a query names (all of them for none); empty data sets have none.

    Raises
    ------
    UsageError
        `sql` is not one read-only statement.
    """
    import duckdb

    config: dict[str, str | int | float | list[str]]
    config = {"threads": 2, "memory_limit": MEMORY_LIMIT, "autoinstall_known_extensions": False}
    config["autoload_known_extensions"] = False
    connection = duckdb.connect(":memory:", config=config)
    try:
        _prepare(connection, Path(data), sql, metrics)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: duckdb.DuckDBPyConnection, data: Path, sql: str, metrics: Metrics | None) -> None:
    tree = _one_select(connection, sql) if sql else None
    named = tables_of(tree) if tree and not lists_tables(tree) else {*VIEWS, METRICS}
    lake = Lake(data)
    for view, dataset in VIEWS.items():
        if view in named:
            bounds = bounds_of(tree, view, PARTITION_NAME[dataset]) if tree else [Bounds()]
            _create_view(connection, lake, view, dataset, bounds)
    if metrics is not None and METRICS in named:
        connection.register("run_metrics_arrow", metrics())
        connection.execute(f"CREATE TABLE {METRICS} AS SELECT * FROM run_metrics_arrow")
        connection.unregister("run_metrics_arrow")
    connection.execute("SET python_enable_replacements=false")  # no Python variable is a table
    connection.execute(f"SET temp_directory={_quoted(str(data.parent / 'tmp' / 'sql'))}")
    connection.execute(f"SET allowed_directories=[{_quoted(str(data))}]")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


def _create_view(
    connection: duckdb.DuckDBPyConnection, lake: Lake, view: str, dataset: str, bounds: list[Bounds]
) -> None:
    # Only files that a manifest names: one that lies beside is not part of the lake.
    found, schemas = lake.index.paths(dataset)
    if not found:
        return
    wanted = [item for item in found if any(each.holds(item[0], item[1]) for each in bounds)] or found[:1]
    prefix = f"{lake.root}/{dataset}/{PARTITION_NAME[dataset]}="
    connection.execute(f"SET VARIABLE {view}_files = ?", [[f"{prefix}{k}/date={d}/{name}" for k, d, name in wanted]])
    by_name = "true" if schemas > 1 else "false"  # matching columns by name opens every file
    connection.execute(
        f"CREATE VIEW {view} AS SELECT * FROM"
        f" read_parquet(getvariable('{view}_files'), hive_partitioning=true, union_by_name={by_name})"
    )


def _one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any] | None:
    """The syntax tree of one SELECT; None where the parser has none to show, which is no reason to refuse."""
    import duckdb

    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type.name not in _READ_ONLY:
            raise UsageError("one SELECT, please: this is read-only", f"tables: {', '.join([*VIEWS, METRICS])}")
        answer = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    except duckdb.Error as exc:
        raise _as_usage(exc) from exc
    tree = json.loads(answer[0][0]) if answer else {"error": True}
    return None if tree.get("error") else tree


def _as_usage(exc: BaseException) -> UsageError:
    first = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
    return UsageError(f"SQL: {first}", f"tables with rows become views: {', '.join([*VIEWS, METRICS])}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def opened(data: Path, sql: str, metrics: Metrics | None = None) -> Iterator[pa.RecordBatchReader]:
    """The answer of one read-only statement as a stream; errors as `query` raises them."""
    import duckdb
    import pyarrow as pa

    if not sql.strip():
        raise UsageError("no SQL given", "for example: SELECT symbol, count(*) FROM ticks_raw_v2 GROUP BY 1")
    with connect(data, sql, metrics) as connection:
        try:
            yield connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
        except (duckdb.Error, pa.ArrowException, OSError) as exc:  # a stream that breaks midway raises Arrow's
            raise _as_usage(exc) from exc


def _limited(reader: pa.RecordBatchReader, limit: int | None) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in reader:
        if limit is not None and rows + batch.num_rows >= limit:
            yield batch.slice(0, limit - rows)
            return
        rows += batch.num_rows
        yield batch


def query(data: Path, sql: str, limit: int | None = None, metrics: Metrics | None = None) -> pa.Table:
    """Answer one read-only statement.

    Parameters
    ----------
    data : Path
        The lake's folder.
    sql : str
    limit : int, optional
        Rows at most.
    metrics : callable, optional
        Gives the table `run_metrics` is; called where the statement names it.

    Raises
    ------
    UsageError
        The statement does not parse, is not a query, or names what is not there.
    """
    import pyarrow as pa

    with opened(data, sql, metrics) as reader:
        return pa.Table.from_batches(list(_limited(reader, limit)), schema=reader.schema)


def export(data: Path, sql: str, path: Path, limit: int | None = None, metrics: Metrics | None = None) -> int:
    """Write an answer as .csv or .parquet, whole or not at all, without holding it; returns its rows.

    Raises
    ------
    UsageError
        As `query` does; another ending, or no place for it.
    """
    import pyarrow.csv
    import pyarrow.parquet

    def csv(file: Any, schema: pa.Schema) -> Any:
        return pyarrow.csv.CSVWriter(file, schema)

    def parquet(file: Any, schema: pa.Schema) -> Any:
        return pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")

    make = {".csv": csv, ".parquet": parquet}.get(path.suffix)
    if make is None:
        raise UsageError(f"--out {path} is neither .csv nor .parquet", "for example --out answer.csv")
    rows, temporary = 0, path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with opened(data, sql, metrics) as reader:
            ensure_dir(path.parent)
            with _file_for(temporary, path) as file:
                with make(file, reader.schema) as writer:
                    for batch in _limited(reader, limit):
                        writer.write_batch(batch)
                        rows += batch.num_rows
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_dir(path.parent)
    except (OSError, ConfigError) as exc:
        raise UsageError(f"cannot write --out {path}: {exc}", "name a file in a folder you may write to") from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return rows


@contextlib.contextmanager
def _file_for(temporary: Path, path: Path) -> Iterator[Any]:
    try:
        file = temporary.open("wb")
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror or exc}") from exc
    with file:
        yield file
