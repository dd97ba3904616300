"""Fetch QuestDB's jar with Maven and run the server on 127.0.0.1: `make questdb`.

One pinned version, whose sha256 stands here and is compared before each start; ports are the usual ones unless told
otherwise, 0 asks the system for free ones. The jar is kept under `.cache/questdb`, the data under `--root`. Tests use
`QuestDbServer` from here too.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from ghtrader_base.child_processes import die_with_parent
from ghtrader_base.errors import GhtraderError
from ghtrader_base.files import sha256_file
from ghtrader_base.private_files import make_folder, private_opener
from ghtrader_base.settings import ENV_ONLY, load_settings, require_whole_logins

VERSION = "9.3.4"
JAR_SHA256 = "939bc53ab22f93dbaa6545143a6e7c536d4904c07b7f2d381e8eef10436be062"
"""Of `questdb-<VERSION>.jar` as Maven Central has it; a new version needs a new one."""
REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache" / "questdb"
_READY_S = 90.0
_FAKE_CLOCK = ("LD_PRELOAD", "FAKETIME")
"""Names a shifted clock (libfaketime) comes with: Java hangs under it."""
_QUICK_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_QUICK_SETTINGS = {
    # Idle threads nap instead of asking again at once.
    "QDB_SHARED_WORKER_YIELD_THRESHOLD": "10",
    "QDB_SHARED_WORKER_NAP_THRESHOLD": "20",
    "QDB_SHARED_WORKER_SLEEP_THRESHOLD": "100",
    "QDB_SHARED_WORKER_SLEEP_TIMEOUT": "20",
    "QDB_LOG_W_STDOUT_LEVEL": "ERROR",
    # What is set aside for every column of every table, many MiB by default.
    "QDB_CAIRO_WRITER_DATA_APPEND_PAGE_SIZE": "131072",
    "QDB_CAIRO_WAL_WRITER_DATA_APPEND_PAGE_SIZE": "131072",
    "QDB_CAIRO_WRITER_DATA_INDEX_KEY_APPEND_PAGE_SIZE": "131072",
    "QDB_CAIRO_WRITER_DATA_INDEX_VALUE_APPEND_PAGE_SIZE": "131072",
    "QDB_CAIRO_O3_COLUMN_MEMORY_SIZE": "131072",
}


class Unavailable(Exception):
    """Java or Maven is not there, or the jar cannot be had; the text says what to do."""


def fetch_jar(folder: Path = CACHE) -> Path:
    """The server's jar, fetched with the machine's own Maven where it is not cached yet.

    Raises
    ------
    Unavailable
        It cannot be fetched, or what is cached or fetched is not the jar whose sha256 stands here: nothing may run it.
    """
    jar = folder / f"questdb-{VERSION}.jar"
    if jar.exists():
        _require_right(jar, f"remove it to have it fetched again: rm {shlex.quote(str(jar))}")
        return jar
    if shutil.which("mvn") is None:
        raise Unavailable("Maven (mvn) is not installed: install it, or start infra/questdb/compose.yaml")
    make_folder(folder)
    partial = folder / f"fetch-{os.getpid()}"
    command = [
        "mvn",
        "-q",
        "-B",
        "dependency:copy",
        f"-Dartifact=org.questdb:questdb:{VERSION}",
        f"-DoutputDirectory={partial}",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=java_environment())
        fetched = partial / jar.name
        if done.returncode or not fetched.exists():
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise Unavailable(f"Maven could not fetch QuestDB {VERSION}: {(lines or ['no message'])[0][:200]}")
        _require_right(fetched, "what Maven fetches from cannot be trusted: check its settings.xml and mirrors")
        os.replace(fetched, jar)
    except subprocess.TimeoutExpired as exc:
        raise Unavailable("Maven took more than five minutes to fetch QuestDB") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return jar


def _require_right(jar: Path, remedy: str) -> None:
    found = sha256_file(jar)
    if found != JAR_SHA256:
        raise Unavailable(f"{jar} is not QuestDB {VERSION}: its sha256 is {found}, not {JAR_SHA256}; {remedy}")


def java_environment() -> dict[str, str]:
    """The environment without a shifted clock, and without credentials: a server is given its own alone."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FAKE_CLOCK) and name not in ENV_ONLY
    }


def require_java() -> str:
    """Path of a Java 17 or newer."""
    java = shutil.which("java")
    if java is None:
        raise Unavailable("Java is not installed: install a Java 17 runtime, or start infra/questdb/compose.yaml")
    said = subprocess.run(
        [java, "-version"], capture_output=True, text=True, timeout=30, check=False, env=java_environment()
    ).stderr
    match = re.search(r'version "(\d+)', said)
    if match is None or int(match[1]) < 17:
        raise Unavailable(f"QuestDB needs Java 17 or newer, found: {said.splitlines()[0] if said else 'nothing'}")
    return java


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


class QuestDbServer:
    """A QuestDB server process on 127.0.0.1.

    Parameters
    ----------
    root : Path
        Data folder; made where missing.
    http_port, pg_port : int
        0 asks for free ones.
    user, password : str
        Of PGwire.
    http_user, http_password : str
        Of HTTP; without them whoever reaches the port may change and drop tables.
    reader_user, reader_password : str
        Of a further PGwire user who can read and change nothing; without them there is none.
    memory : str
        Java heap, as `-Xmx` takes it.
    throwaway : bool
        Of a server that lives for minutes and whose few rows die with it, as a test's: a commit does not wait for the
        disk, files and buffers start small, the log has errors alone, and the JVM spends no time on compiling well.
    """

    def __init__(
        self,
        root: Path,
        http_port: int = 0,
        pg_port: int = 0,
        user: str = "admin",
        password: str = "quest",
        http_user: str = "",
        http_password: str = "",
        reader_user: str = "",
        reader_password: str = "",
        memory: str = "1g",
        throwaway: bool = False,
    ) -> None:
        free = free_ports(2)
        self.root = root
        self.http_port, self.pg_port = http_port or free[0], pg_port or free[1]
        self._memory, self._throwaway = memory, throwaway
        self._logins = {"QDB_PG_USER": user, "QDB_PG_PASSWORD": password}
        self._http = (http_user, http_password)
        if http_user or http_password:
            self._logins |= {"QDB_HTTP_USER": http_user, "QDB_HTTP_PASSWORD": http_password}
        if reader_user or reader_password:
            self._logins |= {
                "QDB_PG_READONLY_USER_ENABLED": "true",
                "QDB_PG_READONLY_USER": reader_user,
                "QDB_PG_READONLY_PASSWORD": reader_password,
            }
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """Names and values that point ghtrader at this server."""
        return {
            "GHTRADER_QUESTDB_HOST": "127.0.0.1",
            "GHTRADER_QUESTDB_HTTP_PORT": str(self.http_port),
            "GHTRADER_QUESTDB_PG_PORT": str(self.pg_port),
        }

    def start(self) -> None:
        """Start it and wait until it answers; `Unavailable` where it does not."""
        jar, java = fetch_jar(), require_java()
        for port in (self.http_port, self.pg_port):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise Unavailable(f"port {port} is in use: choose others with --http-port and --pg-port (0: any)")
        make_folder(self.root)
        here = f"127.0.0.1:{self.http_port}"
        environment = java_environment() | {
            "QDB_HTTP_BIND_TO": here,
            "QDB_HTTP_MIN_NET_BIND_TO": here,
            "QDB_HTTP_MIN_ENABLED": "false",
            "QDB_PG_NET_BIND_TO": f"127.0.0.1:{self.pg_port}",
            "QDB_LINE_TCP_ENABLED": "false",
            "QDB_TELEMETRY_ENABLED": "false",
            "QDB_LINE_AUTO_CREATE_NEW_COLUMNS": "false",
            "QDB_LINE_AUTO_CREATE_NEW_TABLES": "false",
            "QDB_CAIRO_COMMIT_MODE": "nosync" if self._throwaway else "sync",
            **self._logins,
        }
        if self._throwaway:
            environment |= _QUICK_SETTINGS
        command = [
            java,
            f"-Xmx{self._memory}",
            *(_QUICK_JVM if self._throwaway else ()),
            "-p",
            str(jar),
            "-m",
            "io.questdb/io.questdb.ServerMain",
            "-d",
            str(self.root),
        ]
        with open(self.root / "server.log", "ab", opener=private_opener) as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=environment,
                umask=0o077,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Unavailable(f"QuestDB ended at once; see {self.root / 'server.log'}")
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                urllib.request.urlopen(self._question(), timeout=2),
            ):
                return
            time.sleep(0.2)
        self.stop()
        raise Unavailable(f"QuestDB did not answer within {_READY_S:.0f} s; see {self.root / 'server.log'}")

    def _question(self) -> urllib.request.Request:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/exec?query=select%201")
        if any(self._http):
            request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(self._http).encode()).decode()}")
        return request

    def stop(self) -> None:
        """End it and wait."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def main() -> int:
    """Run until interrupted; prints the settings as `export` lines when ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=REPOSITORY / "var" / "questdb", help="data folder")
    parser.add_argument("--http-port", type=int, default=9000)
    parser.add_argument("--pg-port", type=int, default=8812)
    parser.add_argument("--fetch-only", action="store_true", help="fetch the jar and stop")
    options = parser.parse_args()
    try:
        settings = load_settings()
        require_whole_logins(settings)
        server = QuestDbServer(
            options.root.absolute(),
            options.http_port,
            options.pg_port,
            user=settings.questdb_pg_user,
            password=settings.questdb_pg_password.get_secret_value(),
            http_user=settings.questdb_http_user,
            http_password=settings.questdb_http_password.get_secret_value(),
            reader_user=settings.questdb_reader_user,
            reader_password=settings.questdb_reader_password.get_secret_value(),
        )
        if options.fetch_only:
            print(fetch_jar())
            return 0
        server.start()
    except GhtraderError as exc:
        print(f"error: {exc.message}\n  {exc.hint}", file=sys.stderr)
        return exc.exit_code
    except Unavailable as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 4
    if not settings.questdb_http_user:
        print(
            "note: its HTTP side is open: whoever reaches the port may change and drop tables. To close it, set "
            "GHTRADER_QUESTDB_HTTP_USER and GHTRADER_QUESTDB_HTTP_PASSWORD (.env of the home) and start it again",
            file=sys.stderr,
        )
    for name, value in server.environment().items():
        print(f"export {name}={value}")
    print(
        f"# QuestDB {VERSION} is ready, its own console: http://127.0.0.1:{server.http_port} (Ctrl-C stops it)",
        flush=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.process.wait()  # type: ignore[union-attr]
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
