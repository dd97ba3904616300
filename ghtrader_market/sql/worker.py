"""Answers one query in a process of its own: `worker_client` starts it, without credentials, and may kill it.

Frames on stdin and stdout. In comes what is asked (`Request`); where the statement names `run_metrics`, a frame
`metrics` goes out and the table comes in; what is wrong with the lake goes out as `note` frames. Then `rows` frames go
out, or `columns` and `values` for a reader without Arrow, and one of `end` or `error`.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from ghtrader_base.child_processes import die_with_parent
from ghtrader_base.errors import FailedError, GhtraderError, UsageError
from ghtrader_base.private_files import keep_private
from ghtrader_market.sources.tqsdk.frames import read_frame, write_frame
from ghtrader_market.sql.engine import opened
from ghtrader_market.sql.limits import SqlLimits
from ghtrader_market.sql.request import Request

PIECE_SHARE = 0.25
"""Part of the memory that rows sent at once may fill: whoever reads them holds them whole."""
_CPU_SLACK_S = 30
_READERS = 2
"""Threads that read files; as many as the engine has, more only take turns."""
_ADDRESSES_BESIDE = 4_000_000_000
"""Addresses that stacks, libraries and allocators reserve beside the memory they fill."""


def rows_of(reader: pa.RecordBatchReader, limit: int | None, limits: SqlLimits) -> Iterator[pa.RecordBatch]:
    """The rows to send.

    Parameters
    ----------
    limit : int, optional
        Rows after which it ends.

    Raises
    ------
    FailedError
        No `limit`, and more rows than allowed; or rows too large to be held.
    """
    rows = 0
    for batch in reader:
        if batch.nbytes > limits.memory_bytes * PIECE_SHARE:
            raise FailedError(
                f"SQL: {batch.num_rows} rows of the answer are {batch.nbytes / 1e6:,.0f} MB",
                "ask for less of them, or give the query more memory: --memory-gb",
            )
        if limit is not None and rows + batch.num_rows >= limit:
            yield batch.slice(0, limit - rows)
            return
        rows += batch.num_rows
        if limit is None and rows > limits.rows:
            raise FailedError(
                f"SQL: the answer has more than {limits.rows:,} rows",
                "--limit N takes the first N, however many; GHTRADER_SQL_MAX_ROWS moves the bound",
            )
        yield batch


def plain_rows(batch: pa.RecordBatch) -> list[list[object]]:
    """Rows as JSON has values; what it has none for (times, decimals, bytes) as Python writes it."""
    columns = [[_plain(value) for value in column.to_pylist()] for column in batch.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else str(value)


def _limit_this_process(limits: SqlLimits) -> None:
    """What the kernel can keep: a file's size, processor time, and addresses, as a net under what is watched."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 2 * limits.spill_bytes + (1 << 20)),
        (resource.RLIMIT_CPU, int(limits.timeout_s * (os.cpu_count() or 1)) + _CPU_SLACK_S),
        (resource.RLIMIT_DATA, limits.memory_bytes + _ADDRESSES_BESIDE),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    header, _ = read_frame(requests)
    request = msgspec.convert(header, Request)
    _limit_this_process(request.limits)

    def metrics() -> pa.Table:
        write_frame(answers, {"kind": "metrics"})
        table = read_frame(requests)[1]
        if table is None:
            raise UsageError("SQL: there is no table run_metrics", "see `ghtrader benchmark`")
        return table

    def tell(text: str) -> None:
        write_frame(answers, {"kind": "note", "text": text})

    logging.getLogger("ghtrader_market").addHandler(_Told(tell))
    spill = Path(request.spill) if request.spill else None
    try:
        with opened(Path(request.data), request.sql, metrics, spill, request.limits, tell) as reader:
            if request.plain:
                write_frame(answers, {"kind": "columns", "names": reader.schema.names})
            else:
                write_frame(answers, {"kind": "rows"}, reader.schema.empty_table())
            for batch in rows_of(reader, request.limit, request.limits):
                if request.plain:
                    write_frame(answers, {"kind": "values", "rows": plain_rows(batch), "bytes": batch.nbytes})
                else:
                    write_frame(answers, {"kind": "rows"}, pa.Table.from_batches([batch]))
    except GhtraderError as exc:
        name = type(exc).__name__
        write_frame(answers, {"kind": "error", "name": name, "message": exc.message, "hint": exc.hint})
        return
    except Exception as exc:  # a kind of error that DuckDB has none of its own for
        message = f"SQL: {type(exc).__name__}: {exc}".splitlines()[0][:500]
        write_frame(answers, {"kind": "error", "name": "FailedError", "message": message, "hint": "put it differently"})
        return
    write_frame(answers, {"kind": "end"})


class _Told(logging.Handler):
    """Hands warnings of ours on, such as that the index was mended."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one on."""
        self._tell(record.getMessage())


class _NoPandas(MetaPathFinder):
    """Keeps DuckDB and Arrow from importing pandas where it is installed: half of what a short query would cost."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def main() -> None:
    """Answer one request and end."""
    sys.meta_path.insert(0, _NoPandas())
    die_with_parent(int(sys.argv[1]))
    pa.set_io_thread_count(_READERS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no frame
    _serve(sys.stdin.buffer, answers)
    os._exit(0)  # nothing is kept: an engine that takes itself apart for a second only keeps the reader waiting


if __name__ == "__main__":
    keep_private()
    main()
