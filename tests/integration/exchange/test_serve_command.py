"""`ghtrader exchange serve` as a person starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from datetime import date
from pathlib import Path

from ghtrader_exchange.client import parse_exports
from ghtrader_exchange.world.scenario import Scenario
from tests.support.cli import ghtrader
from tests.support.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "ghtrader", "exchange", "serve"]


def test_it_says_how_to_reach_it_serves_and_ends_when_told(tmp_path):
    serves_and_ends(tmp_path, signal.SIGTERM)


def serves_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Start it, follow what it says, end it by a signal to it alone; the other signal's test is in tests/verify."""
    scenario = tmp_path / "scenario.toml"
    Scenario(start=date(2025, 4, 1), end=date(2025, 4, 2), snapshot_seconds=60.0).write(scenario)
    arguments = ["--home", str(tmp_path / "home"), "--scenario", str(scenario)]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = []
            while not (lines and "CONTROL_URL" in lines[-1]):
                lines.append(process.stdout.readline())
                assert lines[-1], process.stderr.read()
            environment = parse_exports(lines)
            shell = "".join(lines) + 'echo "$GHTRADER_EXCHANGE_FIRST_DAY $GHTRADER_EXCHANGE_LAST_DAY $TQ_MD_URL"'
            said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout.split()
            assert said == ["2025-04-01", "2025-04-02", environment["TQ_MD_URL"]]
            with urllib.request.urlopen(environment["TQ_CONT_TABLE_URL"], timeout=10) as answer:
                assert b"SHFE.cu" in answer.read()
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            if process.poll() is None:
                process.kill()
    assert not os.listdir(tmp_path / "home" / "processes")


def test_a_port_in_use_is_exit_1_with_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ghtrader("exchange", "serve", "--port", str(port), "--home", str(tmp_path))
    assert done.returncode == 1 and f"port {port} is not free" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_scenario_that_makes_no_sense_is_exit_2(tmp_path):
    scenario = tmp_path / "scenario.toml"
    scenario.write_text('world = "paradise"\n')
    done = ghtrader("exchange", "serve", "--scenario", str(scenario), "--home", str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stdout == ""
