"""Starts and stops the web UIs of a home as background processes: what `ghtrader up` and `down` do.

A server is known by its entry in the process register, never by its name in a process list, so `down` ends exactly
what `up` started.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ghtrader_assets.instance.instance import instance_environment
from ghtrader_assets.instance.login_links import login_link
from ghtrader_assets.instance.server_main import HOST, KINDS
from ghtrader_base import handed_credentials
from ghtrader_base.address_passwords import secrets_of
from ghtrader_base.child_processes import python_module
from ghtrader_base.errors import FailedError, PortInUseError, UsageError
from ghtrader_base.files import ensure_dir
from ghtrader_base.private_files import private_opener
from ghtrader_base.processes import ProcessInfo, list_processes
from ghtrader_base.settings import ENV_ONLY, GUARDED, Settings
from ghtrader_models.registry.mlflow_tracking import CREDENTIALS

DAGSTER_PORT = 3000
MLFLOW_PORT = 5000
GROUPS = {"dagster": ("dagster-webserver", "dagster-daemon"), "mlflow": ("mlflow",)}
_READY_S = 300.0
"""A busy machine takes minutes to load Dagster; a server that ended is told at once."""
_STOP_S = 15.0
_TRACKING = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Server:
    """One server of this home; `url` is empty for the daemon, `login` where nobody has to log in."""

    kind: str
    pid: int
    url: str
    started: bool
    login: str = ""


def servers(settings: Settings) -> list[ProcessInfo]:
    """Servers of this home that run now."""
    return [info for info in list_processes(settings) if info.kind in KINDS]


def groups_of(only: str) -> list[str]:
    """Parts named in `--only dagster,mlflow`; all of them where it is empty.

    Raises
    ------
    UsageError
        A part that does not exist.
    """
    names = [name.strip() for name in only.split(",") if name.strip()] or list(GROUPS)
    for name in names:
        if name not in GROUPS:
            raise UsageError(f"--only knows no {name!r}", f"there are: {', '.join(GROUPS)}")
    return names


def require_free_port(port: int, option: str) -> None:
    """`PortInUseError` where something listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            raise PortInUseError(
                f"port {port} on {HOST} is in use", f"stop what listens there, or choose another with {option}"
            ) from exc


def up(settings: Settings, groups: Iterable[str], dagster_port: int, mlflow_port: int) -> list[Server]:
    """Start what does not run yet and wait until it answers; nothing is left behind where one fails.

    Raises
    ------
    PortInUseError
        Before anything is started.
    FailedError
        A server ended or did not answer in time; names its log.
    """
    wanted = [kind for group in groups for kind in GROUPS[group]]
    running = {info.kind: info for info in servers(settings)}
    ports = {"dagster-webserver": dagster_port, "dagster-daemon": 0, "mlflow": mlflow_port}
    options = {"dagster-webserver": "--dagster-port", "mlflow": "--mlflow-port"}
    for kind in wanted:
        if kind not in running and ports[kind]:
            require_free_port(ports[kind], options[kind])
    if settings.mlflow_tracking_uri.startswith(("http://", "https://")):
        wanted = [kind for kind in wanted if kind != "mlflow"]
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for kind in wanted:
            if kind not in running:
                children[kind] = _start(settings, kind, ports[kind])
        for kind, child in children.items():
            _wait_ready(settings, kind, child, ports[kind])
    except BaseException:
        _stop_groups([child.pid for child in children.values()])
        raise
    found = {info.kind: info for info in servers(settings)}
    return [
        Server(kind, info.pid, info.detail, kind in children, _login(settings, info))
        for kind, info in ((kind, found[kind]) for kind in wanted)
    ]


def _login(settings: Settings, info: ProcessInfo) -> str:
    return login_link(settings, info.kind, info.detail) if settings.web_login and info.detail else ""


def down(settings: Settings, groups: Iterable[str]) -> list[ProcessInfo]:
    """Stop the servers of this home; returns those stopped."""
    wanted = {kind for group in groups for kind in GROUPS[group]}
    stopped = [info for info in servers(settings) if info.kind in wanted]
    _stop_groups([info.pid for info in stopped])
    return stopped


def log_path(settings: Settings, kind: str) -> Path:
    """Where a background server writes."""
    return settings.logs / f"{kind}.log"


def server_environment(settings: Settings, kind: str) -> tuple[dict[str, str], dict[str, str]]:
    """The environment of a server, and the credentials it is handed outside of that."""
    environment = {**os.environ, **instance_environment(settings), "PYTHONUNBUFFERED": "1"}
    secret = ENV_ONLY | CREDENTIALS | {name for name in GUARDED if secrets_of(environment.get(name, ""))}
    credentials = handed_credentials.handed_over() | handed_credentials.take_out(environment, secret)
    if kind == "mlflow":  # its server needs to know where its database is, and no more
        credentials = {name: value for name, value in credentials.items() if name == _TRACKING}
    # Dagster puts the current folder on the path of the code servers and runs that it starts, MLflow on its workers'.
    environment["PYTHONSAFEPATH"] = "1"
    if settings.factors:  # named from the folder where one stands; the server stands elsewhere
        environment["GHTRADER_FACTORS"] = str(Path(settings.factors).expanduser().absolute())
    return environment, credentials


def _start(settings: Settings, kind: str, port: int) -> subprocess.Popen[bytes]:
    ensure_dir(settings.logs)
    environment, credentials = server_environment(settings, kind)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(log_path(settings, kind), "wb", opener=private_opener))
        laid = handed_credentials.lay_down(credentials) if credentials else None
        if laid is not None:
            stack.callback(os.close, laid)
        given = [] if laid is None else [laid]
        return subprocess.Popen(
            python_module("ghtrader_assets.instance.server_main", kind, str(port), *map(str, given)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            cwd=ensure_dir(settings.dagster),
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=given,
        )


def _wait_ready(settings: Settings, kind: str, child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_S
    log = log_path(settings, kind)
    while time.monotonic() < deadline:
        if child.poll() is not None:
            tail = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise FailedError(f"{kind} ended at once: {' '.join(tail)}", f"its log: {log}")
        registered = any(info.pid == child.pid for info in servers(settings))
        if registered and (port == 0 or _answers(port)):
            return
        time.sleep(0.2)
    raise FailedError(f"{kind} did not answer within {_READY_S:.0f} s", f"its log: {log}")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False


def _group_alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _stop_groups(pids: list[int]) -> None:
    # Each server leads its own session, so its process group is exactly itself and what it started.
    left = list(pids)
    for signum, wait_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, 5.0)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signum)
        deadline = time.monotonic() + wait_s
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            left = [pid for pid in left if _group_alive(pid)]
