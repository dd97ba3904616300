"""Chaos on the real processes, the short version: every kind of fault and kill -9 of both, judged by the exchange's own
record. `python -m tests.chaos` plays hundreds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.chaos.scenario import SHORT, TIMED

ROOT = Path(__file__).resolve().parents[3]


def chaos(home: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    """A process of its own, which forks: this one has threads."""
    told = home / "told.json"
    command = [sys.executable, "-m", "tests.chaos", "--home", str(home / "home"), "--json", str(told), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=800, check=False
    )
    return done, json.loads(told.read_text()) if told.exists() else {}


def test_ledger_broker_and_journal_agree_whatever_went_wrong(tmp_path: Path) -> None:
    assert {kind for kinds in SHORT for kind in kinds} == set(TIMED)
    done, told = chaos(tmp_path, "--short", "--jobs", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = told["figures"]
    assert figures["scenarios"] == len(SHORT) and figures["with findings"] == 0
    assert figures["orders"] > 10 and figures["gateways started"] >= 7 and figures["strategies started"] >= 7
    assert figures["trips"] >= 1


def test_the_audit_bites(tmp_path: Path) -> None:
    done, _ = chaos(tmp_path, "--fault", "intents are not written", "--scenarios", "1", "--kinds", "repeat-acks")
    assert done.returncode == 1 and "has no intent" in done.stdout, done.stdout + done.stderr
