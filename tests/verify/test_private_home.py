"""Whatever the commands and servers write is closed to other users under any umask, and one of them finds nothing.

A recorded day is imported (a Dagster run), another one traded on paper, and the servers of `up` run, each by its own
command. The home lies in a folder that everybody may enter.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest

from ghtrader_assets.instance import web_servers
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import HOME_FILES, HOME_FOLDERS, Settings, load_settings
from ghtrader_market.samples import IF2101
from ghtrader_runtime.bus.endpoints import runtime_dir
from ghtrader_runtime.operator_views.gateway_view import running_gateways
from tests.support.other_users import as_nobody, open_to_others, within_reach
from tests.support.runtime_kit import write_day, write_tiny_bundle
from tests.support.waiting import PATIENCE_S, until

CONTRACT, DAY, ROWS = "SHFE.cu2502", date(2025, 1, 8), 15_000


class Place:
    """A home that everybody can reach the door of, and the commands of one user there."""

    def __init__(self, folder: Path, umask: int) -> None:
        folder.chmod(0o755)
        self.folder, self.umask = folder, umask
        self.home, self.state, self.temporary = folder / "a" / "home", folder / "state", folder / "tmp"
        self.temporary.mkdir(mode=0o777)
        self.temporary.chmod(0o1777)
        self.env = os.environ | {
            "GHTRADER_HOME": str(self.home), "XDG_STATE_HOME": str(self.state), "TMPDIR": str(self.temporary),
            "HOME": str(folder / "user"), "DAGSTER_HOME": str(self.home / "dagster"),
        }  # fmt: skip

    def begin(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command of ghtrader under the umask."""
        return subprocess.Popen(
            [sys.executable, "-m", "ghtrader", *command], env=self.env, umask=self.umask, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def typed(self, *command: str) -> str:
        """What a command that must work says."""
        with self.begin(*command) as process:
            said = process.communicate(timeout=2 * PATIENCE_S)[0].decode()
        assert process.returncode == 0, said
        return said

    @property
    def settings(self) -> Settings:
        """Of the home."""
        return load_settings(self.home)


@pytest.fixture(scope="module", params=[0o000, 0o077], ids=["umask 000", "umask 077"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A home with a run of the pipeline, a gateway and a strategy that trade, and the servers of `up`."""
    made = Place(Path(tempfile.mkdtemp(prefix="ghtrader-private-")), request.param)
    trading: subprocess.Popen[bytes] | None = None
    try:
        made.typed("data", "import", str(IF2101), "--var", "IF")
        write_day(made.settings, CONTRACT, DAY, ROWS)
        bundle = write_tiny_bundle(made.settings.models, enter=0.7, leave=0.2)
        trading = made.begin("paper", "--var", "cu", "--day", f"{DAY}", "--model", str(bundle), "--pace", "50")
        until(lambda: any(told.told.ready for told in running_gateways(made.settings)), "a strategy that trades")
        ports = [str(port) for port in free_ports(2)]
        made.typed("up", "--dagster-port", ports[0], "--mlflow-port", ports[1])
        yield made
    finally:
        if trading is not None:
            os.killpg(trading.pid, signal.SIGTERM)
            trading.communicate(timeout=PATIENCE_S)
        for info in web_servers.servers(made.settings):
            os.killpg(info.pid, signal.SIGKILL)
        shutil.rmtree(made.folder)


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


def test_everything_that_was_written_is_closed(place: Place) -> None:
    kinds = {path.suffix for path in place.home.rglob("*")}
    assert kinds >= {".parquet", ".jsonl", ".db", ".log", ".json"}, "each kind of writer has written"
    assert open_to_others(place.folder / "a", place.state) == []


def test_nothing_lies_open_in_the_temporary_folder_or_the_users_own(place: Place) -> None:
    places = [*place.temporary.iterdir(), *(path for path in [place.folder / "user"] if path.exists())]
    assert open_to_others(*places) == []


def test_the_top_of_a_home_holds_what_is_known(place: Place) -> None:
    """What is not listed there would not be closed in an older home."""
    assert {path.name for path in place.home.iterdir()} <= HOME_FOLDERS | HOME_FILES


def test_another_user_reads_nothing_and_connects_to_no_socket(place: Place) -> None:
    homes = (place.folder / "a", place.state, runtime_dir())
    paths = [path for root in homes for path in (root, *root.rglob("*"))]
    ours = [process.pid for process in psutil.process_iter(["environ"])
            if (process.info["environ"] or {}).get("GHTRADER_HOME") == str(place.home)]  # fmt: skip
    sockets = {Path(one.laddr) for pid in ours for one in psutil.Process(pid).net_connections("unix")
               if isinstance(one.laddr, str) and one.laddr.startswith("/")}  # fmt: skip
    assert sockets, "the bus, and Dagster's code servers"
    assert as_nobody(lambda: within_reach([*paths, *sorted(sockets)])) == []


def test_another_user_sees_no_metrics(place: Place) -> None:
    (gateway,) = running_gateways(place.settings)
    address, token = gateway.told.metrics, place.settings.metrics_token

    def look() -> list[str]:
        found = within_reach([token])
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
            try:
                with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as answer:
                    found.append(answer.read().decode())
            except urllib.error.HTTPError as exc:
                assert exc.code == 401
        return found

    shown = {"Authorization": f"Bearer {token.read_text().strip()}"}
    with urllib.request.urlopen(urllib.request.Request(address, headers=shown), timeout=60) as answer:
        assert b"ghtrader_position_lots" in answer.read()
    with pytest.raises(urllib.error.HTTPError):  # also imports what nobody may not: Python can lie in a home of root's
        urllib.request.urlopen(address, timeout=60)
    assert as_nobody(look) == []


def test_status_says_where_the_token_is(place: Place) -> None:
    said = place.typed("status", "--json")
    (gateway,) = [row for row in json.loads(said[said.index("{") :])["trading"] if "metrics" in row]
    assert gateway["metrics_token"] == str(place.settings.metrics_token)


def test_an_older_home_is_closed_by_the_first_command(place: Place) -> None:
    older = place.folder / "older"
    shutil.copytree(place.home / "data", older / "data", ignore=lambda *_: ["ticks"])
    for name in ("runs", "dagster", "locks"):
        (older / name).mkdir()
        (older / name / "file.db").write_text("")
    for path in (older, *older.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert len(open_to_others(older)) > 6
    assert "now only you can" in place.typed("config", "show", "--home", str(older))
    assert open_to_others(older) == []
    assert "now only you can" not in place.typed("config", "show", "--home", str(older))


def test_processes_of_the_run_still_trade(place: Place) -> None:
    """Looked at last: nothing that was done above has ended them."""
    assert {"gateway", "strategy", "mlflow"} <= {info.kind for info in list_processes(place.settings)}
