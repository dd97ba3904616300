"""Prepares DuckDB for one read-only statement, and runs it: an engine that has no file, no network and no extension.

A query is a single SELECT (WITH, FROM, VALUES, DESCRIBE and SHOW count as such) by DuckDB's own parser, without
anything in it that changes data. The engine's settings, locked before the query runs, keep it from every file: what it
sees of the lake are Arrow data sets, which Arrow reads. Its folder for spilled data, which DuckDB cannot close to a
statement, is one of the query's own. `worker` runs all this in a
process of its own; limits that the engine does not keep are watched by `worker_client`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_base.files import parse_json
from ghtrader_market.sql.day_pruning import Bounds, bounds_of, lists_tables, node_kinds, tables_of
from ghtrader_market.sql.limits import SqlLimits
from ghtrader_market.sql.views import METRICS, VIEWS, view_data
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import PARTITION_NAME

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Metrics = Callable[[], "pa.Table"]
_READING = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
"""Nodes of a statement that only reads; DuckDB has others for COPY, INSERT, UPDATE, DELETE and MERGE inside a WITH."""
_BATCH_ROWS = 32_768
_ENGINE_SHARE = 0.5
"""Part of a query's memory that DuckDB may fill; Python, Arrow and the rows on their way have the rest."""

_DISK_FULL = tuple(os.strerror(number) for number in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT))
"""DuckDB passes on the system's words alone."""


def connect(
    data: Path,
    sql: str = "",
    metrics: Metrics | None = None,
    spill: Path | None = None,
    limits: SqlLimits | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB, locked, with the views a query names (all of them for none); empty data sets have none.

    Parameters
    ----------
    data : Path
        The lake's folder.
    sql : str
    metrics : callable, optional
        Gives the table `run_metrics` is; called where the statement names it.
    spill : Path, optional
        An empty folder for this query alone; without one it spills nothing.
    limits : SqlLimits, optional
    tell : callable
        Takes what is wrong with the lake and holds nothing up, in words.

    Raises
    ------
    UsageError
        `sql` is not one read-only statement.
    """
    import duckdb

    limits = limits or SqlLimits()
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 2,
        "memory_limit": f"{limits.memory_bytes * _ENGINE_SHARE / 1e6:.0f}MB",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,  # no Python variable is a table
        "temp_directory": "" if spill is None else str(spill),
        "max_temp_directory_size": f"{limits.spill_bytes / 1e6:.0f}MB",
    }
    connection = duckdb.connect(":memory:", config=config)
    try:
        _prepare(connection, Path(data), sql, metrics, tell)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(
    connection: duckdb.DuckDBPyConnection, data: Path, sql: str, metrics: Metrics | None, tell: Callable[[str], object]
) -> None:
    tree = _one_select(connection, sql) if sql else None
    named = tables_of(tree) if tree and not lists_tables(tree) else {*VIEWS, METRICS}
    lake = Lake(data)
    for view, dataset in VIEWS.items():
        if view in named:
            bounds = bounds_of(tree, view, PARTITION_NAME[dataset]) if tree else [Bounds()]
            rows = view_data(lake, dataset, bounds, tell)
            if rows is not None:
                connection.register(view, rows)
    if metrics is not None and METRICS in named:
        connection.register(METRICS, metrics())
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


def _one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """The syntax tree of one SELECT that changes nothing."""
    refused = UsageError("one SELECT, please: this is read-only", f"tables: {', '.join([*VIEWS, METRICS])}")
    statements = connection.extract_statements(sql)
    try:
        kinds = [statement.type.name for statement in statements]
    except ValueError as exc:  # UPDATE EXTENSIONS is of a type that DuckDB's Python has no name for
        raise refused from exc
    if kinds != ["SELECT"]:
        raise refused
    answer = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    try:
        tree: dict[str, Any] = parse_json(answer[0][0]) if answer else {"error": True}
    except ValueError as exc:
        raise UsageError(f"SQL: the statement cannot be read: {exc}", "put it differently") from exc
    if tree.get("error") or not node_kinds(tree) <= _READING:
        raise refused
    return tree


@contextlib.contextmanager
def errors_as_ours() -> Iterator[None]:
    """DuckDB's, Arrow's and the disk's errors as ones a person can act on.

    Raises
    ------
    UsageError
        The statement does not parse, is not a query, or names what is not there.
    FailedError
        It needs more memory or disk than it may have.
    """
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError, MemoryError, RecursionError) as exc:  # a broken stream: Arrow's
        if isinstance(exc, duckdb.OutOfMemoryException | MemoryError) or any(word in str(exc) for word in _DISK_FULL):
            raise FailedError(
                f"SQL: the query needs more memory or disk than it may have: {_first_line(exc)}",
                "ask for fewer days or columns, or give it more: --memory-gb, --spill-gb",
            ) from exc
        hint = f"tables with rows become views: {', '.join([*VIEWS, METRICS])}"
        raise UsageError(f"SQL: {_first_line(exc)}", hint) from exc


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:500]


@contextlib.contextmanager
def opened(
    data: Path,
    sql: str,
    metrics: Metrics | None = None,
    spill: Path | None = None,
    limits: SqlLimits | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> Iterator[pa.RecordBatchReader]:
    """The answer of one read-only statement as a stream; parameters as of `connect`, errors as of `errors_as_ours`."""
    if not sql.strip():
        raise UsageError("no SQL given", "for example: SELECT symbol, count(*) FROM ticks_raw_v2 GROUP BY 1")
    with errors_as_ours(), connect(data, sql, metrics, spill, limits, tell) as connection:
        yield connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
