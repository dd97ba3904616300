"""Starts the process that answers a query, hands on its rows, and ends it where it takes too long or too much.

Whatever ends the caller (an error, Ctrl-C, SIGTERM, its death) ends that process too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import msgspec

from ghtrader_base.child_processes import python_module
from ghtrader_base.errors import FailedError, error_from_name
from ghtrader_base.private_files import make_folder
from ghtrader_base.processes import start_ticks
from ghtrader_market.sql.limits import SqlLimits
from ghtrader_market.sql.request import Request

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_market.sources.tqsdk.frames import Frame
    from ghtrader_market.sql.engine import Metrics

_log = logging.getLogger(__name__)
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")
_LOOK_S = 0.02
_DISK_LOOKS = 10
"""Looks at the memory for each at the disk."""
_PIPE_BYTES = 1 << 20
_HELD_SHARE = 0.5
"""Part of a query's memory that an answer held here may fill."""
_SPILL_SLACK = 1.1
"""DuckDB keeps its own count of what it spills; what a statement lays beside that counts here."""


class _Watch:
    """Kills a query's process at its limits, and knows why."""

    def __init__(self, process: subprocess.Popen[bytes], limits: SqlLimits, spill: Path | None) -> None:
        self._process, self._limits, self._spill = process, limits, spill
        self._ended = threading.Event()
        self._deadline = time.monotonic() + limits.timeout_s
        self.reason: FailedError | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        looks = 0
        while not self._ended.wait(_LOOK_S):
            looks += 1
            self.reason = self._fault(look_at_disk=looks % _DISK_LOOKS == 0)
            if self.reason is not None:
                self._process.kill()
                return

    def _fault(self, look_at_disk: bool) -> FailedError | None:
        limits = self._limits
        if time.monotonic() > self._deadline:
            hint = "ask for fewer days or columns, or give it longer: --timeout"
            return FailedError(f"SQL: the query took longer than {limits.timeout_s:g} s", hint)
        if (taken := _own_memory(self._process.pid)) > limits.memory_bytes:
            return FailedError(
                f"SQL: the query took {taken / 1e9:.1f} GB of memory, more than {limits.memory_bytes / 1e9:g} GB",
                "ask for fewer days or columns, or give it more: --memory-gb",
            )
        if look_at_disk and self._spill is not None and _size(self._spill) > limits.spill_bytes * _SPILL_SLACK:
            return FailedError(
                f"SQL: the query spilled more than {limits.spill_bytes / 1e9:g} GB to the disk",
                "ask for fewer days or columns, or give it more: --spill-gb",
            )
        return None


def _own_memory(pid: int) -> int:
    """Bytes a process fills that are no file's; 0 where nobody can say."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = (int(pages) for pages in file.read().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
    return total


@contextlib.contextmanager
def _spill_folder(home: Path) -> Iterator[Path | None]:
    """A folder for one query under `tmp/sql` of the home; None where there is no home, or one that cannot be written.

    Folders of processes that were killed are removed.
    """
    parent = home / "tmp" / "sql"
    try:
        if not home.is_dir():
            raise FileNotFoundError(home)
        make_folder(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{start_ticks(os.getpid())}-", dir=parent))
    except OSError:
        yield None
        return
    try:
        _sweep(parent)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # only while empty
            parent.rmdir()
            parent.parent.rmdir()


def _sweep(parent: Path) -> None:
    for folder in parent.iterdir():
        pid, _, rest = folder.name.partition("-")
        if pid.isdigit() and str(start_ticks(int(pid))) != rest.partition("-")[0]:
            shutil.rmtree(folder, ignore_errors=True)


class PlainAnswer(NamedTuple):
    """Rows of JSON values; times, decimals and bytes are text."""

    columns: list[str]
    rows: list[tuple[object, ...]]


def plain_answer(
    data: Path,
    sql: str,
    limit: int | None = None,
    metrics: Metrics | None = None,
    limits: SqlLimits | None = None,
    tell: Callable[[str], object] = _log.warning,
) -> PlainAnswer:
    """The whole answer without Arrow, whose import takes as long as a short query; parameters, errors as `answered`."""
    found, size, limits = PlainAnswer([], []), 0, limits or SqlLimits()
    with _asked(data, sql, limit, metrics, limits, tell, plain=True) as frames:
        for header, _ in frames:
            if header["kind"] == "columns":
                found.columns.extend(header["names"])
            else:
                found.rows.extend(tuple(row) for row in header["rows"])
                size += header["bytes"]
                require_held(size, limits)
    return found


def require_held(size: int, limits: SqlLimits) -> None:
    """Refuse to hold more of an answer.

    Raises
    ------
    FailedError
        It has more bytes than may be held at once.
    """
    if size > limits.memory_bytes * _HELD_SHARE:
        raise FailedError(
            f"SQL: the answer is more than {size / 1e6:,.0f} MB", "write it to a file: --out FILE.parquet"
        )


@contextlib.contextmanager
def answered(
    data: Path,
    sql: str,
    limit: int | None = None,
    metrics: Metrics | None = None,
    limits: SqlLimits | None = None,
    tell: Callable[[str], object] = _log.warning,
) -> Iterator[Iterator[pa.Table]]:
    """The answer of one read-only statement, piece by piece; the first piece has no rows, but the columns.

    Parameters
    ----------
    data : Path
        The lake's folder.
    sql : str
    limit : int, optional
        Rows after which it ends.
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
        It came to one of its limits; or its process ended without a word.
    """
    with _asked(data, sql, limit, metrics, limits, tell, plain=False) as frames:
        yield (table for _, table in frames if table is not None)


@contextlib.contextmanager
def _asked(
    data: Path,
    sql: str,
    limit: int | None,
    metrics: Metrics | None,
    limits: SqlLimits | None,
    tell: Callable[[str], object],
    *,
    plain: bool,
) -> Iterator[Iterator[Frame]]:
    limits = limits or SqlLimits()
    with contextlib.ExitStack() as stack:
        spill = stack.enter_context(_spill_folder(Path(data).absolute().parent))
        said = stack.enter_context(tempfile.TemporaryFile())
        process = _start(said)
        stack.callback(_end, process)
        watch = _Watch(process, limits, spill)
        stack.callback(watch.stop)
        # Only now: it takes as long as the process does to start.
        from ghtrader_market.sources.tqsdk.frames import FrameError, write_frame

        request = Request(
            data=str(Path(data).absolute()),
            sql=sql,
            limit=limit,
            spill="" if spill is None else str(spill),
            plain=plain,
            timeout_s=limits.timeout_s,
            memory_bytes=limits.memory_bytes,
            spill_bytes=limits.spill_bytes,
            rows=limits.rows,
        )
        try:
            write_frame(process.stdin, msgspec.to_builtins(request))  # type: ignore[arg-type]
            yield _pieces(process, metrics, tell)
        except (FrameError, BrokenPipeError) as exc:
            process.kill()
            code = process.wait()
            watch.stop()
            raise watch.reason or _death(code, said) from exc


def _start(said: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        python_module("ghtrader_market.sql.worker", str(os.getpid()), isolated=True),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        cwd="/",
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        start_new_session=True,  # Ctrl-C is the caller's: it ends this process
        pipesize=_PIPE_BYTES,
    )


def _pieces(
    process: subprocess.Popen[bytes], metrics: Metrics | None, tell: Callable[[str], object]
) -> Iterator[Frame]:
    from ghtrader_market.sources.tqsdk.frames import read_frame, write_frame

    while True:
        header, table = read_frame(process.stdout)  # type: ignore[arg-type]
        if header["kind"] == "end":
            return
        if header["kind"] == "error":
            raise error_from_name(header["name"], header["message"], header["hint"])
        if header["kind"] == "note":
            tell(header["text"])
        elif header["kind"] == "metrics":
            write_frame(process.stdin, {"kind": "metrics"}, metrics() if metrics else None)  # type: ignore[arg-type]
        else:
            yield header, table


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _death(code: int, said: IO[bytes]) -> FailedError:
    said.seek(0)
    lines = [line for line in said.read(1 << 16).decode(errors="replace").splitlines() if line.strip()]
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    hint = "ask for fewer days or columns, or give it more memory: --memory-gb"
    return FailedError(f"SQL: the query's process {how}" + (f": {lines[-1][:200]}" if lines else ""), hint)
