"""Runs a recorder's TqSdk process from its parent: starts it, lists contracts, receives the rows it sends.

It can be ended and started again at any time; whoever records says after which row each symbol goes on.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import FailedError, GhtraderError, RefusedError, error_from_name
from ghtrader_base.settings import Settings
from ghtrader_market.sources.tqsdk.client_slots import slot_holders, take_slot
from ghtrader_market.sources.tqsdk.frames import Frame, write_frame
from ghtrader_market.sources.tqsdk.worker_client import (
    died_of_full_disk,
    endpoints,
    require_credentials,
    require_servers,
    scratch_folder,
    worker_environment,
)
from ghtrader_market.sources.tqsdk.worker_pipe import last_words, listen_to, start_worker

_LOGIN_S, _LIST_S, _WATCH_S = 90.0, 60.0, 300.0


class Feed:
    """A running TqSdk process, logged in.

    Attributes
    ----------
    newest : dict of str to int, optional
        The answer to `ask_newest`: UTC epoch ns of each symbol's newest bar; None before it.

    Raises
    ------
    ConfigError
        Credentials are missing or refused.
    UnreachableError
        A server is not there.
    RefusedError
        As many TqSdk clients run on this machine as the settings allow.
    """

    def __init__(self, settings: Settings) -> None:
        require_credentials(settings)
        require_servers(endpoints(settings))
        slot = take_slot(settings, "record")
        if slot is None:
            raise RefusedError(
                f"{settings.max_parallel_tqsdk_jobs} TqSdk clients run already: {'; '.join(slot_holders(settings))}",
                "wait for one of them, or raise GHTRADER_MAX_PARALLEL_TQSDK_JOBS",
            )
        self.newest: dict[str, int] | None = None
        self._home = str(settings.home)
        self._scratch = scratch_folder(settings.home)
        self._log = self._scratch / "recorder.log"
        with disk_errors(self._scratch):
            self._process = start_worker(
                "ghtrader_market.recorder.worker", self._scratch, self._log,
                worker_environment(settings, self._scratch), slot,
            )  # fmt: skip
        self._frames: queue.Queue[Frame | None] = queue.Queue()
        listen_to(self._process, self._frames)
        try:
            password = settings.tqsdk_password.get_secret_value()
            self._ask("done", _LOGIN_S, op="open", user=settings.tqsdk_user, password=password)
        except BaseException:
            self.close(0.0)
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def listed(self, exchange: str, product: str) -> list[str]:
        """Contracts of a product that trade now."""
        return list(self._ask("done", _LIST_S, op="listed", exchange=exchange, product=product)["value"])

    def watch(self, after: Mapping[str, int], rows: int = 0) -> None:
        """Have every row of these symbols sent that comes after the id given for it (-1: the day so far)."""
        self._ask("watching", _WATCH_S, op="watch", after=dict(after), home=self._home, rows=rows)

    def ask_newest(self) -> None:
        """Have the service say when the symbols last ticked; `poll` brings the answer (`newest`), or never does."""
        self.newest = None
        try:
            write_frame(self._process.stdin, {"op": "newest"})  # type: ignore[arg-type]
        except OSError as exc:
            raise self._died() from exc

    def poll(self, timeout_s: float) -> list[tuple[str, pa.Table]]:
        """(symbol, rows) that have come; waits up to `timeout_s` for the first.

        Raises
        ------
        GhtraderError
            What the process said before it gave up; FailedError where it ended without a word.
        """
        found: list[tuple[str, pa.Table]] = []
        with contextlib.suppress(queue.Empty):
            frame = self._frames.get(timeout=timeout_s)
            while True:
                header, table = self._checked(frame)
                if header["kind"] == "ticks" and table is not None:
                    found.append((header["symbol"], table))
                elif header["kind"] == "newest":
                    self.newest = header["times"]
                frame = self._frames.get_nowait()
        return found

    def close(self, wait_s: float = 5.0) -> list[tuple[str, pa.Table]]:
        """End it, politely at first; returns the rows that still came."""
        with contextlib.suppress(OSError, ValueError):
            write_frame(self._process.stdin, {"op": "close"})  # type: ignore[arg-type]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        shutil.rmtree(self._scratch, ignore_errors=True)
        late = []
        while (frame := self._frames.get()) is not None:
            if frame[0]["kind"] == "ticks" and frame[1] is not None:
                late.append((frame[0]["symbol"], frame[1]))
        return late

    def _ask(self, answer: str, timeout_s: float, **request: Any) -> dict[str, Any]:
        try:
            write_frame(self._process.stdin, request)  # type: ignore[arg-type]
            while True:
                header, _ = self._checked(self._frames.get(timeout=timeout_s))
                if header["kind"] == answer:
                    return header
        except OSError as exc:
            raise self._died() from exc
        except queue.Empty:
            raise FailedError(f"TqSdk has said nothing for {timeout_s:.0f} s", "run it again") from None

    def _checked(self, frame: Frame | None) -> Frame:
        if frame is None:
            raise self._died()
        if frame[0]["kind"] == "error":
            raise error_from_name(frame[0]["name"], frame[0]["message"], frame[0]["hint"])
        return frame

    def _died(self) -> GhtraderError:
        self._frames.put(None)  # whoever asks next gets the same
        status = self._process.poll()
        words = last_words(self._log)
        if (refused := died_of_full_disk(words, self._scratch)) is not None:
            return refused
        if words:
            return FailedError(f"the recorder's TqSdk ended ({status}): {words}", "run it again")
        return FailedError(f"the recorder's TqSdk ended ({status})", "run it again; what is written stays")
