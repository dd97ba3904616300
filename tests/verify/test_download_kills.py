"""Kills `download-contract-range` over 6 contracts x 10 days (-9) at 20 moments and resumes it: the same lake.

Between fetch and write, write and rename, rename and sidecar, sidecar and manifest, manifest and ledger; the trace of
each run must name the phase its kill hit. Each moment once in a home of its own, and five of them one after the other
in each of four homes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest

from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.stores.lake.lake import Lake
from tests.support.lake_hash import folders, tree

pytestmark = [pytest.mark.clock, pytest.mark.timeout(1800)]
SCENARIO = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 15), snapshot_seconds=60.0, contracts=6)
# Daily bars go through the same lake before the ticks: ten days, of which a resumed run only writes the manifests.
KILLS = [
    [("ingest.fetch->write", 1), ("lake.write->rename", 2), ("lake.rename->sidecar", 5), ("lake.sidecar->manifest", 14),
     ("ingest.manifest->ledger", 4)],
    [("lake.write->rename", 4), ("lake.rename->sidecar", 9), ("ingest.manifest->ledger", 9), ("ingest.fetch->write", 7),
     ("lake.sidecar->manifest", 12)],
    [("lake.sidecar->manifest", 3), ("lake.write->rename", 13), ("ingest.fetch->write", 11),
     ("lake.rename->sidecar", 2), ("ingest.manifest->ledger", 1)],
    [("lake.rename->sidecar", 20), ("ingest.manifest->ledger", 2), ("lake.sidecar->manifest", 25),
     ("lake.write->rename", 6), ("ingest.fetch->write", 10)],
]  # fmt: skip


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as running:
        yield running


def command(exchange: ExchangeProcess, home: Path, **armed: str) -> int:
    """One run of the command; its exit status."""
    environment = {
        **os.environ,
        **exchange.env,
        **{f"GHTRADER_FAILPOINT_{key}": value for key, value in armed.items()},
        "GHTRADER_HOME": str(home),
        "GHTRADER_MAX_PARALLEL_TQSDK_JOBS": "12",
    }
    days = ["--start", str(SCENARIO.start), "--end", str(SCENARIO.end)]
    arguments = ["download-contract-range", "--exchange", "SHFE", "--var", "cu", *days, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "ghtrader", *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode


def interrupted(exchange: ExchangeProcess, home: Path, kills: list[tuple[str, int]]) -> list[str]:
    """Run, be killed, resume, until it is through; the phases that were hit."""
    hit = []
    for number, (point, passing) in enumerate(kills):
        trace = home.parent / f"{home.name}-{number}.trace"
        killed = command(exchange, home, KILL=f"{point}:{passing}", TRACE=str(trace))
        assert killed == -signal.SIGKILL, (point, passing, len(trace.read_text().splitlines()))
        hit.append(trace.read_text().splitlines()[-1].split(" ", 1)[1])
    assert command(exchange, home) == 0
    return hit


@pytest.fixture(scope="module")
def whole(exchange: ExchangeProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of a home whose download nobody killed."""
    home = tmp_path_factory.mktemp("whole") / "home"
    assert command(exchange, home) == 0
    names = [name for name in tree(home / "data") if "ticks/" in name and name.endswith(".parquet")]
    assert len(names) == 60
    return home / "data"


def assert_same(home: Path, whole: Path) -> None:
    """The lake of `home` is that of `whole`, its manifests close, and nothing is left lying about."""
    assert tree(home / "data") == tree(whole) and folders(home / "data") == folders(whole)
    lake = Lake(home / "data")
    for symbol in lake.keys("ticks"):
        for day in lake.days("ticks", symbol):
            lake.verify_day("ticks", symbol, day)
    states = [json.loads(path.read_text())["state"] for path in (home / "data" / "manifests").glob("*.json")]
    assert states.count("done") == 1 and set(states) <= {"done", "killed"}
    assert not list((home / "tmp").glob("tqsdk-*")), "no client's folder is left"
    assert not [p for p in psutil.Process().children(recursive=True) if "tqsdk_worker" in " ".join(p.cmdline())]


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("point", "passing"), [kill for chain in KILLS for kill in chain], ids=lambda value: str(value).replace("->", "-")
)
def test_killed_once_and_resumed(
    exchange: ExchangeProcess, whole: Path, tmp_path: Path, point: str, passing: int
) -> None:
    assert interrupted(exchange, tmp_path / "home", [(point, passing)]) == [point]
    assert_same(tmp_path / "home", whole)


@pytest.mark.parametrize("number", range(len(KILLS)))
def test_killed_five_times_and_resumed(exchange: ExchangeProcess, whole: Path, tmp_path: Path, number: int) -> None:
    hits = interrupted(exchange, tmp_path / "home", KILLS[number])
    assert hits == [point for point, _ in KILLS[number]]
    assert_same(tmp_path / "home", whole)


def test_the_kills_meet_every_phase_four_times() -> None:
    points = [point for chain in KILLS for point, _ in chain]
    assert len(points) == 20 and {points.count(point) for point in points} == {4}
