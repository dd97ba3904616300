"""Answers read-only SQL over the lake, as a table or as a file.

The statement is run by `worker`, in a process that can be killed; this side has the rows, and no engine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ghtrader_base.errors import UsageError
from ghtrader_market.sql.answer_file import answer_file
from ghtrader_market.sql.limits import SqlLimits
from ghtrader_market.sql.worker_client import answered, require_held

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_market.sql.engine import Metrics

_log = logging.getLogger(__name__)


def query(
    data: Path,
    sql: str,
    limit: int | None = None,
    metrics: Metrics | None = None,
    limits: SqlLimits | None = None,
    tell: Callable[[str], object] = _log.warning,
) -> pa.Table:
    """Answer one read-only statement.

    Parameters
    ----------
    data : Path
        The lake's folder.
    sql : str
    limit : int, optional
        Rows at most; without it, more than `limits` allow are an error.
    metrics : callable, optional
        Gives the table `run_metrics` is; called where the statement names it.
    limits : SqlLimits, optional
    tell : callable
        Takes what is wrong with the lake and was left out or mended, in words.

    Raises
    ------
    UsageError
        The statement does not parse, is not a query, or names what is not there.
    FailedError
        It took too long, or needs more memory, disk or rows than allowed.
    """
    limits, pieces, size = limits or SqlLimits(), [], 0
    with answered(data, sql, limit, metrics, limits, tell) as answer:
        for piece in answer:
            pieces.append(piece)
            size += piece.nbytes
            require_held(size, limits)
    import pyarrow as pa

    return pa.concat_tables(pieces)


def export(
    data: Path,
    sql: str,
    path: Path,
    limit: int | None = None,
    metrics: Metrics | None = None,
    limits: SqlLimits | None = None,
    tell: Callable[[str], object] = _log.warning,
    *,
    overwrite: bool = False,
) -> int:
    """Write an answer as .csv or .parquet, whole or not at all, without holding it; returns its rows.

    Parameters as of `query`; `overwrite` replaces a file that is there. Nothing is written into the home, the folder
    above `data`.

    Raises
    ------
    UsageError, FailedError
        As `query` does; another ending, or no place for it.
    RefusedError
        A file is there, or the path leads into the home.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--out {path} is neither .csv nor .parquet", "for example --out answer.csv")
    rows = 0
    with (
        answer_file(path, Path(data).absolute().parent, overwrite) as file,
        answered(data, sql, limit, metrics, limits, tell) as answer,
    ):
        first = next(answer)
        with _writer(path.suffix, file, first.schema) as writer:
            for piece in answer:
                writer.write_table(piece)
                rows += piece.num_rows
    return rows


def _writer(suffix: str, file: IO[bytes], schema: pa.Schema) -> Any:
    import pyarrow.csv
    import pyarrow.parquet

    if suffix == ".csv":
        return pyarrow.csv.CSVWriter(file, schema)
    return pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
