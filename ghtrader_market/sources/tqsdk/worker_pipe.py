"""Implements both ends of a TqSdk child process: how it is started, and how it listens and answers.

What is asked and answered is defined by `sources.tqsdk.worker` (history) and `recorder.worker` (live ticks).
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ghtrader_base.child_processes import python_module
from ghtrader_base.private_files import private_opener
from ghtrader_market.sources.tqsdk.client_slots import ClientSlot
from ghtrader_market.sources.tqsdk.frames import Frame, FrameError, read_frame, write_frame

SCRATCH_ENV = "GHTRADER_TQSDK_SCRATCH"
"""Set by the parent to the folder it made for this process alone; the process's HOME."""
Requests = queue.Queue[dict[str, Any]]
_LISTENER_ENDS_S = 10.0


def start_worker(
    module: str, scratch: Path, log: Path, environment: Mapping[str, str], slot: ClientSlot | None
) -> subprocess.Popen[bytes]:
    """Start `python -m module` under a HOME of its own, with pipes for frames and its prints in `log`.

    Parameters
    ----------
    slot : ClientSlot, optional
        The machine's permission to run one client more: the worker's own from here on, freed when it ends.
    """
    with open(log, "wb", opener=private_opener) as file:
        process = subprocess.Popen(
            python_module(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            cwd=scratch,
            env=environment,
            start_new_session=True,  # Ctrl-C is the parent's business: it closes its workers in order
            pass_fds=() if slot is None else (slot.fd,),
        )
    if slot is not None:
        slot.give_to(process.pid)
    return process


def listen_to(process: subprocess.Popen[bytes], frames: queue.Queue[Frame | None]) -> None:
    """Put every frame a worker sends into `frames`, and None when it ends; returns at once."""

    def listen() -> None:
        with contextlib.suppress(FrameError, OSError, ValueError):
            while True:
                frames.put(read_frame(process.stdout))  # type: ignore[arg-type]
        frames.put(None)

    threading.Thread(target=listen, daemon=True).start()


def last_words(log: Path) -> str:
    """The last line a worker printed, cut to what fits into a message; empty where it printed nothing."""
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""
    return ""


class Out:
    """The answering side of the pipe; one frame at a time, whoever sends."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, kind: str, table: pa.Table | None = None, **fields: Any) -> None:
        """One frame, whole."""
        with self._lock:
            write_frame(self._pipe, {"kind": kind, **fields}, table)


def run_worker(serve: Callable[[Requests, Out], None], command: str) -> int:
    """A worker's main: answer requests until told to close or the parent is gone; returns the exit status.

    Parameters
    ----------
    serve : callable
        Takes the requests as they come; runs on the main thread, because TqSdk demands it.
    command : str
        What a person who started this by hand should have typed.
    """
    # Both what is emptied and what is deleted lies under HOME: never under a person's own.
    scratch = os.environ.get(SCRATCH_ENV, "")
    if not scratch or Path(scratch) != Path.home():
        print(f"this is a part of ghtrader and is started by it: try `{command} --help`", file=sys.stderr)
        return 2
    out = Out(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    requests: Requests = queue.Queue()

    def listen() -> None:
        try:
            while True:
                request, _ = read_frame(sys.stdin.buffer)
                requests.put(request)
                if request["op"] == "close":
                    return
        except (FrameError, OSError):
            # The parent died, and the main thread may sit in TqSdk for minutes: end here, leave nothing behind.
            shutil.rmtree(scratch, ignore_errors=True)
            os._exit(0)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    with contextlib.suppress(BrokenPipeError):
        serve(requests, out)
    # It was told to close; or the parent died (nobody reads our answers), and it ends this process and its folder.
    listener.join(_LISTENER_ENDS_S)
    return 0
