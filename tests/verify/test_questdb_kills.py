"""Kills pipeline commands with QuestDB beside the lake at every durable step there is, then runs them again.

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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

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
from tests.integration.conftest import HTTP_LOGIN, PASSWORD, questdb_server  # noqa: F401 (fixture)
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.timeout(3000)
SYMBOL, SERIES, DAY = "CFFEX.IF2101", "KQ.m@CFFEX.IF", date(2021, 1, 4)
STAGES = (
    ["data", "import", str(IF2101)],
    ["main-schedule", "--var", "IF"],
    ["main-l5", "--var", "IF"],
    ["build", "--var", "IF"],
)
SYNC = ["db", "serve-sync"]
STEPS = (8, 6, 12, 21)
"""How many failpoints each stage passes."""
KILLS = [(stage, n) for stage, steps in enumerate(STEPS) for n in range(1, steps + 1)]


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


@dataclass(frozen=True)
class Whole:
    """One stage of a home that nobody killed: the home before it, the failpoints it passed, what the lake then held."""

    before: Path
    points: list[str]
    content: dict[str, bytes]


@pytest.fixture(scope="module")
def environment(questdb_server: Any) -> Iterator[None]:
    """Variables that point every home at the server, features included."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in questdb_server.environment().items():
            patch.setenv(name, value)
        patch.setenv("GHTRADER_QUESTDB_PG_PASSWORD", PASSWORD)
        for name, value in zip(("USER", "PASSWORD"), HTTP_LOGIN, strict=True):
            patch.setenv(f"GHTRADER_QUESTDB_HTTP_{name}", value)
        patch.setenv("GHTRADER_QUESTDB_FEATURES", "true")
        yield


class Undisturbed:
    """The stages one after the other in one home, each run when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._base = folder, folder / "base"
        self._done: list[Whole] = []
        QuestDbStore(load_settings(self._base)).init()

    def __getitem__(self, stage: int) -> Whole:
        while len(self._done) <= stage:
            number = len(self._done)
            before, trace = self._folder / f"before-{number}", self._folder / f"trace-{number}"
            shutil.copytree(self._base, before) if self._base.exists() else before.mkdir()
            assert ghtrader(self._base, STAGES[number], GHTRADER_FAILPOINT_TRACE=str(trace)) == 0
            points = [line.split(" ", 1)[1] for line in trace.read_text().splitlines()]
            self._done.append(Whole(before, points, content(self._base / "data")))
        return self._done[stage]


@pytest.fixture(scope="module")
def stages(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("whole"))


def test_the_kills_are_every_durable_step(stages: Undisturbed) -> None:
    assert tuple(len(stages[stage].points) for stage in range(len(STAGES))) == STEPS
    assert len(KILLS) >= 20
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
    } <= {stages[stage].points[n - 1] for stage, n in KILLS}


@pytest.mark.sample(1)
@pytest.mark.parametrize(("stage", "n"), KILLS, ids=[f"{STAGES[stage][0]}-{n}" for stage, n in KILLS])
def test_a_durable_step_of_the_double_write_survives_a_kill(
    stages: Undisturbed, stage: int, n: int, tmp_path: Path
) -> None:
    command, whole, home = STAGES[stage], stages[stage], tmp_path / "home"
    shutil.copytree(whole.before, home)
    settings = load_settings(home)
    store = QuestDbStore(settings)
    for name in expected_tables().keys() - {LEDGER}:
        store.client.sql(f"TRUNCATE TABLE {name}")
        store.client.wait_applied(name)
    if stage:
        assert run([*SYNC, "--home", str(home)]) == 0
    killed = tmp_path / "killed"
    arming = {"GHTRADER_FAILPOINT_TRACE": str(killed), "GHTRADER_FAILPOINT_KILL": f"*:{n}"}
    assert ghtrader(home, command, **arming) == -signal.SIGKILL
    assert killed.read_text().splitlines()[-1].split(" ", 1)[1] == whole.points[n - 1]
    if n % 2:
        assert run([*SYNC, "--home", str(home)]) == 0
    assert run([*command, "--home", str(home)]) == 0
    alike(settings, stage)
    assert content(home / "data") == whole.content
