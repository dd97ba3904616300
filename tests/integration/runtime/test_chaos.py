"""Chaos on the real processes: a scenario with a kill -9, a lost order, a broken line and a tripped switch,
judged by the exchange's own record. Every kind of fault: `tests/verify/test_chaos_kinds.py`; `python -m tests.chaos`
plays hundreds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
KINDS = "kill-gateway,lose-next-order,abort-td,trip"


def chaos(home: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    """A process of its own, which forks: this one has threads."""
    told = home / "told.json"
    command = [sys.executable, "-m", "tests.chaos", "--home", str(home / "home"), "--json", str(told), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    return done, json.loads(told.read_text()) if told.exists() else {}


def test_ledger_broker_and_journal_agree_whatever_went_wrong(tmp_path: Path) -> None:
    done, told = chaos(tmp_path, "--scenarios", "1", "--kinds", KINDS)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = told["figures"]
    assert figures["scenarios"] == 1 and figures["with findings"] == 0
    assert figures["orders"] > 2 and figures["gateways started"] >= 2 and figures["strategies started"] >= 1
    assert figures["trips"] >= 1


def test_the_audit_bites(tmp_path: Path) -> None:
    done, _ = chaos(tmp_path, "--fault", "intents are not written", "--scenarios", "1", "--kinds", "repeat-acks")
    assert done.returncode == 1 and "has no intent" in done.stdout, done.stdout + done.stderr
