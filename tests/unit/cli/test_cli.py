"""The command line's own promises: help with an example, JSON that parses, refusals and usage errors by exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ghtrader import cli, output
from ghtrader.commands.shared_options import parse_day
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import load_settings
from tests.support.waiting import PATIENCE_S


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(typer.main.get_command(cli.build_app())))
PROMISED = (
    "demo, exchange serve, download, download-contract-range, data import, main-schedule, main-l5, build, train,"
    " benchmark, models list, models show, gateway run, strategy run, trade, paper, kill status, kill trip, kill reset,"
    " up, down, jobs list, sql, config show, config set, version"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_promised_command_is_there() -> None:
    assert {tuple(name.split()) for name in PROMISED.split(", ")} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_and_the_common_options(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {"--home", "--json"} <= options
    shown = "main-l5" if path == ("main-depth",) else " ".join(path)
    assert f"Example: ghtrader {shown}" in command.help


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_help_ends_well(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*path, "--help"]) == 0
    assert "Usage: ghtrader" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["version --json", "config show --json", "models list --json", "down --json"])
def test_json_is_one_document_on_stdout(arguments: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments.split()) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)
    assert not home.exists(), "looking makes nothing"


def test_what_is_no_number_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"rows": [{"a": float("nan"), "b": (1.5, float("-inf"))}]}, True, str)
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {"rows": [{"a": None, "b": [1.5, None]}]}


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (3, ["config", "set", "TQSDK_PASSWORD", "x"]),
        (3, ["config", "set", "GHTRADER_LIVE_ENABLED", "true"]),
        (2, ["config", "set", "NO_SUCH", "x"]),
        (2, ["config", "set", "GHTRADER_MAX_PARALLEL_TQSDK_JOBS", "many"]),
    ],
)
def test_what_config_set_refuses_is_not_written(
    code: int, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and len(captured.err.splitlines()) == 2 and not captured.out
    assert not list(Path().rglob("ghtrader.toml"))


@pytest.mark.parametrize("value", ["plain", 'a "quoted" \\ one', "two\nlines\tand\x7f", "铜"])
def test_a_setting_is_read_as_it_was_set(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["config", "set", "GHTRADER_QUESTDB_HOST", value, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["set"] == "GHTRADER_QUESTDB_HOST"
    assert load_settings().questdb_host == value


@pytest.mark.parametrize(
    ("name", "content"), [("ghtrader.toml", b"a = = b"), ("ghtrader.toml", b"\xff"), (".env", b"\xff")]
)
def test_a_settings_file_that_does_not_parse_is_named(
    name: str, content: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GHTRADER_HOME", raising=False)
    Path("var").mkdir(exist_ok=True)
    (Path("var") / name).write_bytes(content)
    assert cli.run(["config", "show"]) == 2
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        "nothing",
        "download",
        "download --symbol SHFE.cu2505 --start 2025-04-02",
        "version --no-such-option",
        "sql",
        "kill trip --account x",
        "exchange serve --port 99999",
        "up --mlflow-port 99999",
        "jobs list --limit 0",
    ],
)
def test_usage_errors_end_with_2(arguments: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments.split()) == 2
    captured = capsys.readouterr()
    assert "Error: " in captured.err and not captured.out and not home.exists()


@pytest.mark.parametrize("text", ["20250403", "2025-4-3", "2025-W14-4", "2025-02-30", "tomorrow", ""])
def test_a_day_is_written_one_way(text: str) -> None:
    with pytest.raises(UsageError, match="--start"):
        parse_day(text, "--start")
    assert parse_day("2025-04-03", "--start").isoformat() == "2025-04-03"


def test_debug_shows_the_traceback_and_keeps_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["config", "set", "NO_SUCH", "x", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ghtrader.commands.config.version_table", interrupted)
    assert cli.run(["version"]) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit(143)"])
def test_an_end_asked_for_is_one_whatever_c_code_makes_of_it(raised: str) -> None:
    """NumPy's import did so: `SystemError: <class 'numpy.dtype'> returned a result with an exception set`."""
    number = signal.SIGINT if raised == "KeyboardInterrupt" else signal.SIGTERM
    script = (
        "import os, signal\n"
        "from ghtrader import cli\n"
        "from ghtrader.commands import config\n"
        "def ended():\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        signal.pause()\n"
        "    except BaseException as exc:\n"
        f"        assert repr(exc).startswith({raised!r}), exc\n"
        "        raise SystemError('returned a result with an exception set') from exc\n"
        "config.version_table = ended\n"
        "import sys\n"
        "sys.argv = ['ghtrader', 'version']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (128 + number, "stopped\n")


def test_an_argument_that_is_no_text_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no UTF-8 come as half characters, which no database takes."""

    def refuses(**_: object) -> None:
        "run-\udcff".encode()

    monkeypatch.setattr(cli, "build_app", lambda: refuses)
    assert cli.run(["jobs", "cancel", "run-\udcff"]) == 2
    told = capsys.readouterr().err
    assert r"'run-\udcff' is no UTF-8 text" in told and "--debug" not in told
