"""Runs one TqSdk worker from its parent: starts it, asks it, and says what to do when it is silent or gone.

Probing the servers' ports belongs here too: TqSdk itself waits a minute for a server that is not there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ghtrader_base.address_passwords import hide_secrets
from ghtrader_base.disk_errors import disk_errors, error_of_text
from ghtrader_base.disk_space import room_at
from ghtrader_base.errors import (
    ConfigError,
    FailedError,
    GhtraderError,
    TimedOutError,
    UnreachableError,
    error_from_name,
)
from ghtrader_base.files import ensure_dir
from ghtrader_base.settings import Settings
from ghtrader_market.sources.tqsdk.client_slots import ClientSlot
from ghtrader_market.sources.tqsdk.frames import Frame, write_frame
from ghtrader_market.sources.tqsdk.worker_pipe import SCRATCH_ENV, last_words, listen_to, start_worker

VENDOR_AUTH_URL = "https://auth.shinnytech.com"
START_HINT = "start it (`ghtrader exchange serve` for the simulated one), or correct TQ_AUTH_URL and TQ_MD_URL"
_PROBE_TIMEOUT_S = 3.0
_PROBE_AFTER_S = 5.0
_PROBE_EVERY_S = 1.0
_PROBES_TO_GIVE_UP = 3
_START_S = 90.0
"""For the first answer: TqSdk takes seconds to load, on a busy machine many, and waits 60 s for a login."""


def reachable(url: str, timeout_s: float = _PROBE_TIMEOUT_S) -> bool:
    """Whether somebody accepts connections at the host and port of `url`."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=timeout_s):
            return True
    except OSError:
        return False


def endpoints(settings: Settings) -> dict[str, str]:
    """Setting name -> address of every server a download needs (the vendor names the market data server itself)."""
    found = {"TQ_AUTH_URL": settings.tq_auth_url or VENDOR_AUTH_URL}
    if settings.tq_md_url:
        found["TQ_MD_URL"] = settings.tq_md_url
    return found


def require_servers(addresses: dict[str, str]) -> None:
    """UnreachableError naming the first address where nobody answers; ConfigError for one that is no address."""
    for name, url in addresses.items():
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and (parts.port or 1)
        except ValueError:
            usable = False
        if not usable:
            hint = "write it as http://HOST:PORT or ws://HOST:PORT/PATH"
            raise ConfigError(f"{name}={hide_secrets(url)} is no address", hint)
        if not reachable(url):
            raise UnreachableError(f"no quote service at {hide_secrets(url)} ({name})", START_HINT)


def require_credentials(settings: Settings) -> None:
    """ConfigError where TQSDK_USER or TQSDK_PASSWORD is missing."""
    given = {"TQSDK_USER": settings.tqsdk_user, "TQSDK_PASSWORD": settings.tqsdk_password.get_secret_value()}
    if missing := [name for name, value in given.items() if not value.strip()]:
        raise ConfigError(
            f"no {' and no '.join(missing)}",
            "put them into the environment or .env; `ghtrader exchange serve` prints those of the simulated exchange",
        )


def scratch_folder(home: Path) -> Path:
    """A fresh HOME for one worker, under the ghtrader home; folders of workers long gone are removed."""
    base = ensure_dir(home / "tmp")
    for old in base.glob("tqsdk-*"):
        if not _alive(old.name.split("-")[1]):
            shutil.rmtree(old, ignore_errors=True)
    with disk_errors(base):
        return Path(tempfile.mkdtemp(prefix=f"tqsdk-{os.getpid()}-", dir=base))


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def worker_environment(settings: Settings, scratch: Path) -> dict[str, str]:
    """The child's environment: its own HOME, TqSdk's addresses as our settings have them, no secrets."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TQ") and "PASSWORD" not in name
    }
    addresses = {
        "TQ_AUTH_URL": settings.tq_auth_url,
        "TQ_MD_URL": settings.tq_md_url,
        "TQ_TD_URL": settings.tq_td_url,
        "TQ_CHINESE_HOLIDAY_URL": settings.tq_chinese_holiday_url,
        "TQ_CONT_TABLE_URL": settings.tq_cont_table_url,
    }
    environment |= {name: url for name, url in addresses.items() if url}
    root = str(Path(__file__).resolve().parents[3])
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (root, environment.get("PYTHONPATH", "")) if p)
    environment["HOME"] = environment[SCRATCH_ENV] = str(scratch)
    return environment


class Worker:
    """A running worker with a logged-in TqApi.

    Parameters
    ----------
    settings : Settings
        Credentials, addresses, home, and how long a request may bring nothing new.
    slot : ClientSlot, optional
        The machine's permission to run one client more: the worker's own from here on, freed when it ends.

    Raises
    ------
    ConfigError
        Credentials are missing or refused.
    UnreachableError
        A server is not there.
    """

    def __init__(self, settings: Settings, slot: ClientSlot | None = None) -> None:
        require_credentials(settings)
        self._timeout_s = max(_START_S, settings.tqsdk_timeout_s)
        self._addresses = endpoints(settings)
        require_servers(self._addresses)
        self._scratch = scratch_folder(settings.home)
        self._log = self._scratch / "worker.log"
        with disk_errors(self._scratch):
            self._process = start_worker(
                "ghtrader_market.sources.tqsdk.worker", self._scratch, self._log,
                worker_environment(settings, self._scratch), slot,
            )  # fmt: skip
        self._frames: queue.Queue[Frame | None] = queue.Queue()
        listen_to(self._process, self._frames)
        try:
            self.ask("open", user=settings.tqsdk_user, password=settings.tqsdk_password.get_secret_value())
            self._timeout_s = settings.tqsdk_timeout_s
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def ask(self, op: str, progress: Callable[[int], None] | None = None, **request: Any) -> Any:
        """Send one request and wait for its answer: a value, or a table.

        Raises
        ------
        TimedOutError
            Nothing new came for GHTRADER_TQSDK_TIMEOUT_S.
        UnreachableError
            Nobody listens at the servers' addresses any more.

        After an error the worker is still usable where the error is about the request; `UnreachableError` and
        `FailedError` leave it in doubt, and the caller should `kill` it.
        """
        try:
            write_frame(self._process.stdin, {"op": op, **request})  # type: ignore[arg-type]
        except OSError as exc:
            raise self._died() from exc
        heard, lost = time.monotonic(), 0
        while True:
            try:
                left = max(0.05, self._timeout_s - (time.monotonic() - heard))
                frame = self._frames.get(timeout=min(left, _PROBE_EVERY_S if lost else _PROBE_AFTER_S))
            except queue.Empty:
                lost = 0 if self._all_reachable() else lost + 1
                if lost >= _PROBES_TO_GIVE_UP:
                    gone = ", ".join(map(hide_secrets, self._addresses.values()))
                    raise UnreachableError(f"the quote service at {gone} went away", START_HINT) from None
                if time.monotonic() - heard >= self._timeout_s:
                    raise TimedOutError(
                        f"the quote service sent nothing for {self._timeout_s:g} s",
                        "run it again; GHTRADER_TQSDK_TIMEOUT_S says how long to wait",
                    ) from None
                continue
            if frame is None:
                raise self._died()
            heard, lost = time.monotonic(), 0
            header, table = frame
            if header["kind"] == "progress":
                if progress is not None:
                    progress(int(header["rows"]))
            elif header["kind"] == "error":
                raise error_from_name(header["name"], header["message"], header["hint"])
            else:
                return header["value"] if table is None else table

    def close(self, wait_s: float = 5.0) -> None:
        """Log out and end the process; killed where it does not end."""
        with contextlib.suppress(OSError, ValueError):
            write_frame(self._process.stdin, {"op": "close"})  # type: ignore[arg-type]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        self.kill()

    def kill(self) -> None:
        """End the process now and remove its folder."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _all_reachable(self) -> bool:
        return all(reachable(url) for url in self._addresses.values())

    def _died(self) -> GhtraderError:
        status = self._process.wait()
        words = last_words(self._log)
        if (refused := died_of_full_disk(words, self._scratch)) is not None:
            return refused
        if words:
            return FailedError(f"the TqSdk process ended ({status}): {words}", "run it again")
        return FailedError(f"the TqSdk process ended ({status})", "run it again; what is finished stays")


def died_of_full_disk(words: str, scratch: Path) -> GhtraderError | None:
    """The disk's refusal that a worker ended with: by its last words, or by there being no room for any."""
    doing = "TqSdk cannot write its cache"
    if (said := error_of_text(words, scratch, doing=doing)) is not None:
        return said
    room = room_at(scratch)
    return error_of_text(os.strerror(errno.ENOSPC), scratch, doing=doing) if room is not None and room.none else None


def close_all(workers: Iterable[Worker]) -> None:
    """Close several workers at once, waiting for all together."""
    threads = [threading.Thread(target=worker.close) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
