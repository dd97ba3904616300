"""Plays six scenarios of chaos that have every kind of fault between them, on the real processes."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.scenario import SHORT, TIMED
from tests.integration.runtime.test_chaos import chaos


def test_ledger_broker_and_journal_agree_whatever_kind_of_fault(tmp_path: Path) -> None:
    assert {kind for kinds in SHORT for kind in kinds} == set(TIMED)
    done, told = chaos(tmp_path, "--short", "--jobs", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = told["figures"]
    assert figures["scenarios"] == len(SHORT) and figures["with findings"] == 0
    assert figures["orders"] > 10 and figures["gateways started"] >= 7 and figures["strategies started"] >= 7
    assert figures["trips"] >= 1
