"""Acceptance: pipeline commands with QuestDB beside the lake, killed at every durable step there is, then run again.

Each moment is one kill -9 (`GHTRADER_FAILPOINT_KILL`); what follows is what an operator does: the same command again,
every second time after `db serve-sync`. Both stores must then hold the same bits, the lake's files be byte for byte
those of a run nobody killed, and nothing may be owed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.samples import IF2101
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.mirror.compare import compare_day
from ghtrader_market.stores.mirror.mirrored_lake import debt_ledger
from ghtrader_market.stores.questdb.schema import LEDGER, expected_tables
from ghtrader_market.stores.questdb.store import QuestDbStore
from tests.integration.conftest import pg, questdb, questdb_server, questdb_settings  # noqa: F401 (fixtures)
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.acceptance, pytest.mark.clock, pytest.mark.timeout(3000)]
SYMBOL, SERIES, DAY = "CFFEX.IF2101", "KQ.m@CFFEX.IF", date(2021, 1, 4)
STAGES = (
    ["data", "import", str(IF2101)],
    ["main-schedule", "--var", "IF"],
    ["main-l5", "--var", "IF"],
    ["build", "--var", "IF"],
)
SYNC = ["db", "serve-sync"]


def ghtrader(home: Path, arguments: list[str], **environment: str) -> int:
    """One command in a process of its own; its exit code, or minus the signal that ended it."""
    command = [sys.executable, "-m", "ghtrader", *arguments, "--home", str(home)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), (arguments, done.stdout, done.stderr)
    return done.returncode


def content(data: Path) -> dict[str, bytes]:
    """Files that say what the lake holds: Parquet, sidecars, schedules. Manifests name run ids, which differ."""
    kept = (".parquet", ".sha256")
    found = [path for path in data.rglob("*") if path.name.endswith(kept) or path.parent.name == "schedules"]
    return {str(path.relative_to(data)): path.read_bytes() for path in sorted(found)}


def alike(settings: Settings, stage: int) -> None:
    lake, store = Lake(settings.data), QuestDbStore(settings)
    assert compare_day(lake, store, SYMBOL, DAY) == []
    if stage >= 1:
        assert store.read_schedule("IF") == load_schedule(lake.root, "IF")
    for dataset in (("main_l5",), ("main_l5", "features", "labels"))[stage - 2] if stage >= 2 else ():
        assert compare_day(lake, store, SERIES, DAY, dataset) == []
        assert store.days(dataset, SERIES) == [DAY]
    assert store.conflict_days() == {} and debt_ledger(settings).debts() == []


def test_every_durable_step_of_the_double_write_survives_a_kill(
    questdb: QuestDbStore,  # noqa: F811
    questdb_settings: Settings,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GHTRADER_QUESTDB_FEATURES", "true")
    base = tmp_path / "base"
    hit: Counter[str] = Counter()
    for stage, command in enumerate(STAGES):
        snapshot = tmp_path / f"before-{stage}"
        shutil.copytree(base, snapshot) if base.exists() else snapshot.mkdir()
        trace = tmp_path / f"trace-{stage}"
        assert ghtrader(base, command, GHTRADER_FAILPOINT_TRACE=str(trace)) == 0
        wanted = content(base / "data")
        points = [line.split(" ", 1)[1] for line in trace.read_text().splitlines()]
        moments = [n for n, point in enumerate(points, 1) if not point.startswith("quality")]
        for n in moments:
            home = tmp_path / f"home-{stage}-{n}"
            shutil.copytree(snapshot, home)
            for name in expected_tables().keys() - {LEDGER}:
                questdb.client.sql(f"TRUNCATE TABLE {name}")
                questdb.client.wait_applied(name)
            settings = load_settings(home)
            if stage:
                assert run([*SYNC, "--home", str(home)]) == 0
            killed = tmp_path / f"killed-{stage}-{n}"
            arming = {"GHTRADER_FAILPOINT_TRACE": str(killed), "GHTRADER_FAILPOINT_KILL": f"*:{n}"}
            assert ghtrader(home, command, **arming) == -signal.SIGKILL
            phase = killed.read_text().splitlines()[-1].split(" ", 1)[1]
            hit[phase] += 1
            print(f"{command[0]}: kill {n} of {len(points)} hit {phase}")
            if n % 2:
                assert run([*SYNC, "--home", str(home)]) == 0
            assert run([*command, "--home", str(home)]) == 0
            alike(settings, stage)
            assert content(home / "data") == wanted
            shutil.rmtree(home)
    print(f"{sum(hit.values())} kills, phases {dict(hit)}")
    assert sum(hit.values()) >= 20
    assert {
        "mirror.owed->lake",
        "lake.write->rename",
        "lake.rename->sidecar",
        "lake.sidecar->manifest",
        "mirror.lake->questdb",
        "questdb.sent->applied",
        "questdb.rows->activation",
        "questdb.schedule->activation",
        "mirror.questdb->paid",
    } <= hit.keys()
