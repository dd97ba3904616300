"""Writes a DuckDB file for other tools: `data/ghtrader.duckdb`, views over the lake's files and the indexed reports.

`ghtrader sql` needs none of it: it makes its views for each query, of the files the manifests name. The views here go
by file pattern, so that they stay right as days arrive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_base.errors import RefusedError
from ghtrader_base.files import ensure_dir
from ghtrader_market.sql.views import METRICS, VIEWS
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import PARTITION_NAME

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FILE_NAME = "ghtrader.duckdb"


@contextlib.contextmanager
def _opened(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    path = ensure_dir(Path(data)) / FILE_NAME
    try:
        connection = duckdb.connect(str(path), config={"threads": 2})
    except duckdb.IOException as exc:
        first = str(exc).strip().splitlines()[0]
        raise RefusedError(f"{path} is in use: {first}", "close the tool that has it open") from exc
    with connection:
        yield connection


def create_views(data: Path) -> dict[str, int]:
    """Views for every data set that has days; returns view -> days. A data set without days has no view.

    Raises
    ------
    RefusedError
        Another process has the file open for writing.
    """
    lake, found = Lake(data), {}
    with _opened(data) as connection:
        for view, dataset in VIEWS.items():
            connection.execute(f"DROP VIEW IF EXISTS {view}")
            days = lake.index.files(dataset)
            if not days:
                continue
            pattern = f"{lake.root}/{dataset}/{PARTITION_NAME[dataset]}=*/date=*/part-*.parquet".replace("'", "''")
            # Features of several days may have been built from several factor sets.
            by_name = "true" if dataset in ("features", "labels") else "false"
            connection.execute(
                f"CREATE VIEW {view} AS SELECT * FROM"
                f" read_parquet('{pattern}', hive_partitioning=true, union_by_name={by_name})"
            )
            found[view] = len(days)
    return found


def store_metrics(data: Path, metrics: pa.Table) -> int:
    """Replace the table `run_metrics` by these rows; returns their number. RefusedError as `create_views`."""
    with _opened(data) as connection:
        connection.register("incoming", metrics)
        connection.execute(f"CREATE OR REPLACE TABLE {METRICS} AS SELECT * FROM incoming")
        connection.unregister("incoming")
    return int(metrics.num_rows)
