"""Read-only SQL over the lake: one view a dataset, DuckDB on the Parquet files as they lie.

A query is a single SELECT (DESCRIBE and SHOW count as such); the engine may read the lake's folder and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_market.stores.lake import Lake

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

VIEWS = {
    "ticks_raw_v2": "ticks",
    "ticks_main_l5_v2": "main_l5",
    "features_all": "features",
    "labels_all": "labels",
    "daily_bars_all": "daily_bars",
}
_READ_ONLY = {"SELECT"}


def connect(data: Path, metrics: pa.Table | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view for each dataset that has files; `run_metrics` where metrics are given."""
    import duckdb

    connection = duckdb.connect(":memory:", config={"threads": 2})
    lake = Lake(data)
    for view, dataset in VIEWS.items():
        # Only files that a manifest names: one that lies beside is not part of the lake.
        files = ", ".join(_quoted(str(path)) for path in lake.files(dataset))
        if files:
            connection.execute(
                f"CREATE VIEW {view} AS SELECT * FROM"
                f" read_parquet([{files}], hive_partitioning=true, union_by_name=true)"
            )
    if metrics is not None:
        connection.register("run_metrics_arrow", metrics)
        connection.execute("CREATE TABLE run_metrics AS SELECT * FROM run_metrics_arrow")
        connection.unregister("run_metrics_arrow")
    connection.execute(f"SET allowed_directories=[{_quoted(str(data))}]")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")
    return connection


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def query(data: Path, sql: str, limit: int | None = None, metrics: pa.Table | None = None) -> pa.Table:
    """Answer one read-only statement.

    Parameters
    ----------
    data : Path
        The lake's folder.
    sql : str
    limit : int, optional
        Rows at most.
    metrics : pyarrow.Table, optional
        What `run_metrics` shows.

    Raises
    ------
    UsageError
        The statement does not parse, is not a query, or names what is not there.
    """
    import duckdb
    import pyarrow as pa

    names = ", ".join([*VIEWS, "run_metrics"])
    with connect(data, metrics) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type.name not in _READ_ONLY:
                raise UsageError("one SELECT, please: this is read-only", f"tables: {names}")
            answer = connection.sql(statements[0])
            return answer.to_arrow_table() if limit is None else _head(answer, limit)
        except (duckdb.Error, pa.ArrowException, OSError) as exc:  # a stream that breaks midway raises Arrow's
            first = str(exc).strip().splitlines()[0]
            raise UsageError(f"SQL: {first}", f"tables with rows become views: {names}") from exc


def _head(answer: Any, limit: int) -> pa.Table:
    import pyarrow as pa

    reader = answer.to_arrow_reader(limit) if hasattr(answer, "to_arrow_reader") else answer.fetch_record_batch(limit)
    batches, rows = [], 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows >= limit:
            break
    return pa.Table.from_batches(batches, schema=reader.schema).slice(0, limit)


def write_table(table: pa.Table, path: Path) -> None:
    """Write an answer as .csv or .parquet, whole or not at all; `UsageError` for another ending or no place for it."""
    import io

    from ghtrader_base.files import atomic_write_bytes

    buffer = io.BytesIO()
    if path.suffix == ".csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(table, buffer)
    elif path.suffix == ".parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, buffer, compression="zstd")
    else:
        raise UsageError(f"--out {path} is neither .csv nor .parquet", "for example --out answer.csv")
    try:
        atomic_write_bytes(path, buffer.getvalue())
    except (OSError, ConfigError) as exc:
        raise UsageError(f"cannot write --out {path}: {exc}", "name a file in a folder you may write to") from exc
