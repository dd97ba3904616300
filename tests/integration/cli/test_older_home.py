"""A home of an older version opens: it audits clean, trains, trades and restarts; what was tripped stays tripped."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.accounts.order_ledger import Ledger, read_ledger
from ghtrader_runtime.runlog.decision_log import replay_decisions
from tests.support.cli import ghtrader

pytestmark = pytest.mark.clock
FIXTURE = Path(__file__).parents[2] / "fixtures" / "home_fd3b953.tar.xz"
BUNDLE = "836a4e53f26ab2a7"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The unpacked home, in force with its user state."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GHTRADER_HOME", str(folder / "home"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        yield load_settings()


def answer(*command: str) -> dict:
    done = ghtrader(*command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_audits_clean_and_lists_what_it_has(older: Settings) -> None:
    report = answer("audit")
    assert report["ok"] and report["findings"] == [] and report["days"] == 60
    assert answer("audit", "--recompute")["findings"] == []
    (bundle,) = answer("models", "list")["bundles"]
    assert bundle["id"] == BUNDLE and bundle["days"] == 8
    shown, stored = answer("models", "show", BUNDLE), older.models / "bundles" / BUNDLE
    assert shown["id"] == BUNDLE
    assert shown["provenance"] == json.loads((stored / "provenance.json").read_text())
    assert shown["labels"] == json.loads((stored / "labels.json").read_text())
    counted = answer("sql", "SELECT count(*) AS n FROM ticks_raw_v2 WHERE symbol = 'SHFE.cu2506'")["rows"]
    assert counted[0]["n"] > 5_000
    assert len(answer("jobs", "list")["runs"]) >= 5
    assert answer("status")["lake"]


def test_its_bundle_is_made_again(older: Settings) -> None:
    found = answer("models", "reproduce", BUNDLE)
    assert found["reproduced"] and found["comparison"]["probability_difference"] < 1e-12
    assert [one["subject"] for one in found["differences"]] == ["code"]
    assert "versions of packages" in found["unknown"]


def test_its_runs_replay_to_the_same_decisions(older: Settings) -> None:
    runs = sorted((older.runs / "trading").iterdir())
    assert len(runs) == 2
    ends = []
    for run in runs:
        found = replay_decisions(run)
        assert found.events > 1_000
        ends.append(found.difference)
    # One rule is another since: three rejected orders in a row reduced to nothing but halted, so that none could close.
    same, changed = sorted(ends)
    before, _, after = changed.partition("became")
    assert same == "" and "'halted'" in before and "3 orders in a row" in before and "'reducing'" in after


def test_a_tripped_switch_stays_tripped_and_a_ledger_goes_on(older: Settings) -> None:
    (paper,) = [row for row in answer("kill", "status")["brokers"] if row["account"] == "paper"]
    assert paper["tripped"] and paper["reason"] == "kept for the upgrade test"
    (folder,) = (older.user_state / "accounts").glob("tqkq-*/demo")
    before = read_ledger(folder)
    ledger = Ledger(folder, "after the upgrade")
    try:
        assert ledger.state.ledger_id == before.ledger_id and ledger.state.epoch == before.epoch + 1
        assert ledger.state.next_number >= before.next_number and ledger.state.open == before.open
    finally:
        ledger.close()
    refused = ghtrader("paper", "--var", "cu", "--model", BUNDLE, "--json")
    assert refused.returncode == 3 and "kept for the upgrade test" in refused.stderr


def test_it_builds_trains_and_trades(older: Settings) -> None:
    built = answer("build", "--var", "cu")
    assert built["runs"]
    answer("train", "--model", "logistic", "--var", "cu", "--horizon", "50")
    again = {row["id"] for row in answer("models", "list")["bundles"]}
    assert BUNDLE in again
    answer("kill", "reset", "--account", "paper", "--reason", "upgraded")
    new, old = (
        answer("paper", "--var", "cu", "--model", BUNDLE, "--account", name, "--latency", "0")["days"][0]
        for name in ("fresh", "paper")  # that version filled an order on the very tick it was decided on
    )
    (first,) = (older.runs / "trading").glob("paper-20261130-*-93c5")
    told = json.loads((first / "summary.json").read_text())
    for name in ("ticks", "orders", "fills", "round_trips", "gross_pnl", "fees", "net_pnl"):
        assert new[name] == told[name], name
    # A target that was not acknowledged in time, on a busy machine, is sent again.
    assert new["targets"] - new["duplicates"] == told["targets"] - told["duplicates"]
    assert old["ticks"] == told["ticks"] and old["run_id"] != told["run_id"]


def test_the_compiled_code_and_the_demo_of_older_versions_stand_aside(older: Settings, tmp_path: Path) -> None:
    """A `var/demo` that an older set-up left has compiled code alone; see also tests/verify/test_fresh_clone.py."""
    from ghtrader.demo.run import claim

    home = tmp_path / "demo"
    shutil.copytree(older.home / "locks", home / "numba")
    claim(home)
    assert os.listdir(home / "numba")
