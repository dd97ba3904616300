"""Bad input to the whole command: its exit code, a sentence that says what to do, and nothing half-written.

What needs a running pipeline or a wrong password is in test_assets.py.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from tests.support.waiting import PATIENCE_S

SAMPLE = gzip.decompress(resources.files("ghtrader_market").joinpath("samples/IF2101_20210104.csv.gz").read_bytes())
LINES = SAMPLE.splitlines(keepends=True)[:200]
SCENARIO = Scenario(end=date(2025, 4, 3), snapshot_seconds=60.0)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(autouse=True)
def _restored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))  # runs in this process set it


def refused(capfd: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run in this process; the error: at most two lines, the last ones of stderr, and no answer on stdout."""
    capfd.readouterr()
    got = run(list(arguments))
    captured = capfd.readouterr()
    assert got == code, captured.err
    assert "Traceback" not in captured.err and not captured.out
    lines = captured.err.splitlines()
    error = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    assert len(lines) - error <= 2, captured.err
    return "\n".join(lines[error:])


def cell(line: int, column: str, text: bytes) -> bytes:
    """The recording with one cell replaced."""
    cells = LINES[line].split(b",")
    cells[LINES[0].rstrip().decode().split(",").index(column)] = text
    return b"".join([*LINES[:line], b",".join(cells), *LINES[line + 1 :]])


BAD_RECORDINGS = {
    "columns.csv": b"a,b,c\n1,2,3\n",
    "text.csv": cell(50, "price", b"abc"),
    "infinite.csv": cell(50, "price", b"inf"),
    "lots.csv": cell(50, "total_volume", b"1.5"),
    "half.csv.gz": gzip.compress(SAMPLE)[:40_000],
    "backwards.csv": b"".join([LINES[0], *LINES[:0:-1]]),
    "weekend.csv": b"".join(LINES).replace(b"20210104", b"20210102"),
    "header.csv": LINES[0],
    "empty.csv": b"",
    "noise.parquet": bytes(range(256)) * 20,
}


def test_a_bad_recording_is_named_and_leaves_nothing(
    tmp_path: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.csv"
    good.write_bytes(b"".join(LINES))
    for name, content in BAD_RECORDINGS.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert name in refused(capfd, 1, "data", "import", str(good), str(path), "--var", "IF")
    refused(capfd, 1, "data", "import", str(tmp_path), "--var", "IF")
    refused(capfd, 1, "data", "import", str(good), "--symbol", "SHFE.cu2505")
    refused(capfd, 2, "data", "import", str(good), "--var", "zz")
    assert not (home / "data").exists()


def test_stored_ticks_are_never_replaced_by_fewer(
    tmp_path: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "IF2101.csv"
    path.write_bytes(b"".join(LINES))
    assert run(["data", "import", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["runs"][0]["success"]
    path.write_bytes(b"".join(LINES[:-50]))
    refused(capfd, 3, "data", "import", str(path))
    assert run(["sql", "select count(*) n from ticks_raw_v2", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["rows"] == [{"n": len(LINES) - 1}]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP VIEW ticks_raw_v2",
        "COPY (SELECT 1) TO 'x.csv'",
        "ATTACH 'x.db'",
        "SET enable_external_access=true",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM nothing",
        "SELECT cast(if(range = 3000, 'x', '1') AS int) FROM range(10000)",
        "",
    ],
)
def test_sql_reads_the_lake_alone(
    statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capfd, 2, "sql", statement, "--limit", "10000")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["answer.xls", "folder.csv", "file/answer.csv"])
def test_sql_writes_where_it_can(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    refused(capfd, 2, "sql", "SELECT 1", "--out", str(tmp_path / name))
    assert {path.name for path in tmp_path.iterdir()} == {"folder.csv", "file"}


@pytest.mark.parametrize(
    "command",
    [
        "download --symbol SHFE.cu2505 --start 2025-04-02 --end 2025-04-03",
        "main-schedule --var cu",
        "train --model logistic --var cu",
        "exchange serve",
        "demo",
        "jobs list",
        "up --only mlflow --mlflow-port 0",
        "trade --account x --mode paper --symbol SHFE.cu2505",
    ],
)
def test_a_home_that_cannot_be_is_said(command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    command = command.replace("--mlflow-port 0", f"--mlflow-port {free_port()}")
    assert str(blocked) in refused(capfd, 2, *command.split(), "--home", str(blocked))
    assert blocked.read_text() == "not a folder"


@pytest.mark.clock
def test_a_switch_is_tripped_wherever_it_can_be_though_the_home_is_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code = run(["kill", "trip", "--account", "x", "--reason", "test", "--home", str(blocked)])
    out, error = capfd.readouterr()
    assert code == 1 and "could not be written at paper" in error and str(blocked) in error
    assert "True" in out and "False" not in out.splitlines()[1]


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_port_in_use_is_said_before_anything_starts(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        assert port in refused(capfd, 1, "exchange", "serve", "--port", port)
        assert port in refused(capfd, 1, "up", "--dagster-port", port)
    assert not list(home.glob("exchange/*")) and not list(home.glob("logs/*"))


@pytest.mark.parametrize("text", ["a = = b", "foo = 3", "start = 2025-04-05", 'varieties = ["IF"]', "seed = -1"])
def test_a_scenario_that_makes_no_sense_is_refused(
    text: str, tmp_path: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    refused(capfd, 2, "exchange", "serve", "--scenario", str(path))
    assert not home.exists()


def test_the_demo_empties_only_what_a_demo_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(capfd, 3, "demo", "--home", str(tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.clock
@pytest.mark.parametrize(
    ("enabled", "more"),
    [("", []), ("true", []), ("", ["--confirm-live", "I_UNDERSTAND"]), ("true", ["--confirm-live", "yes"])],
)
def test_real_orders_take_both_steps(
    enabled: str, more: list[str], home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GHTRADER_LIVE_ENABLED", enabled)
    account = ["--account", "x", "--mode", "live", "--symbol", "SHFE.cu2505", *more]
    for command in (["trade"], ["gateway", "run"]):
        assert run([*command, *account]) == 3
        assert capfd.readouterr().err.startswith("error: "), "what is refused is not told as a run"
    assert not (home / "runs").exists()


def test_no_switch_yet_says_what_there_is_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["kill", "status", "--mode", "sim"]) == 0
    said = capfd.readouterr().out
    assert said.startswith("no account was traded here yet in mode sim") and "kill trip --account NAME" in said
    assert run(["kill", "status"]) == 0 and "here yet, so" in capfd.readouterr().out
    assert "paper, sim, live" in refused(capfd, 2, "kill", "status", "--mode", "SIM")


def test_a_tripped_switch_stops_the_next_run_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["kill", "trip", "--account", "x", "--reason", "enough for today"]) == 0
    capfd.readouterr()
    assert run(["trade", "--account", "x", "--mode", "paper", "--symbol", "SHFE.cu2505"]) == 3
    said = capfd.readouterr().err
    assert said.startswith("error: ") and "enough for today" in said and "kill reset" in said
    assert run(["kill", "status", "--account", "x", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["tripped"]


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """The command as a terminal starts it: a process group of its own."""
    command = [sys.executable, "-m", "ghtrader", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def group_of(process: subprocess.Popen[str]) -> list[int]:
    """Who is left of a command's session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == process.pid and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.clock
def test_a_second_gateway_names_the_first(
    exchange: ExchangeProcess, home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in exchange.env.items():
        monkeypatch.setenv(name, value)
    arguments = ["gateway", "run", "--account", "x", "--mode", "paper", "--symbol", "SHFE.cu2506"]
    first = start(dict(os.environ), *arguments)
    try:
        status = ["kill", "status", "--account", "x", "--mode", "paper", "--json"]
        deadline = time.monotonic() + PATIENCE_S
        running = False
        while not running and time.monotonic() < deadline and first.poll() is None:
            capfd.readouterr()
            assert run(status) == 0
            running = json.loads(capfd.readouterr().out)["brokers"][0]["gateway_running"]
            time.sleep(0.1)
        assert running
        assert f"pid {first.pid}" in refused(capfd, 3, *arguments)
    finally:
        first.send_signal(signal.SIGTERM)
        _, told = first.communicate(timeout=PATIENCE_S)
    assert first.returncode in (0, 128 + signal.SIGTERM), told  # it may not have come as far as its own handler
    assert group_of(first) == []


# The other signal of each of these two is in tests/verify.


def test_a_download_that_is_stopped_leaves_whole_days_alone(exchange: ExchangeProcess, home: Path) -> None:
    stopped_download(exchange, home, signal.SIGTERM)


def stopped_download(exchange: ExchangeProcess, home: Path, ending: signal.Signals) -> None:
    arguments = ["download", "--symbol", "SHFE.cu2506", "--start", "2025-03-31", "--end", "2025-04-03"]
    exchange.control.fault("stall-data")  # or a quick machine has all days before the signal comes
    process = start({**os.environ, **exchange.env}, *arguments)
    assert process.stderr is not None
    for line in process.stderr:
        if "fetch_contract ..." in line:
            break
    for _ in range(4):  # one that comes as a step begins may be lost (a fault known): a person presses again
        os.killpg(process.pid, ending)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15.0)
            break
    out, told = process.communicate(timeout=PATIENCE_S)
    exchange.control.fault("clear")
    assert process.returncode == 130, told
    assert told.endswith("stopped\n") and "Traceback" not in told and not out
    assert group_of(process) == []
    assert not [path for path in home.glob("data/**/*") if path.name.endswith(".tmp")]
    for day in home.glob("data/ticks/*/date=*"):
        assert (day / "_manifest.json").exists()


def test_an_exchange_that_is_stopped_is_gone(home: Path, tmp_path: Path) -> None:
    stopped_exchange(home, tmp_path, signal.SIGINT)


def stopped_exchange(home: Path, tmp_path: Path, ending: signal.Signals) -> None:
    SCENARIO.write(tmp_path / "scenario.toml")
    process = start(dict(os.environ), "exchange", "serve", "--scenario", str(tmp_path / "scenario.toml"), "--json")
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["GHTRADER_EXCHANGE_LAST_DAY"] == "2025-04-03"
    os.killpg(process.pid, ending)
    out, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0 and not out and "Traceback" not in told, told
    assert group_of(process) == [] and not list(home.glob("processes/*"))
