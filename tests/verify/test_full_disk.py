"""Fills the disk under the real commands, step by step: a sentence, nothing lost, and with room the same command ends.

On a disk of its own (root, to mount it) by room and by inodes, and everywhere by the size a file may have. The steps
of single writers are in `tests/unit`, named `test_full_disk`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path

import pytest

from ghtrader_base.settings import load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import IF2101
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import no_data_days, skipped_days
from tests.support.cli import ghtrader
from tests.support.failing_disk import SmallDisk, mounted, nothing_grows, small_disk

pytestmark = [pytest.mark.clock, pytest.mark.timeout(900), pytest.mark.sample(2, of="full disk")]
FIXTURE = Path(__file__).parents[1] / "fixtures" / "home_fd3b953.tar.xz"
COMMANDS = {
    "import": ["data", "import", str(IF2101)],
    "main_l5": ["main-l5", "--var", "cu", "--overwrite"],
    "build": ["build", "--var", "cu", "--overwrite", "--factors", "core"],
    "train": ["train", "--model", "logistic", "--var", "cu", "--seed", "7"],
    "train-xgboost": ["train", "--model", "xgboost", "--var", "cu", "--seed", "7"],
    "benchmark": ["benchmark", "--model", "logistic", "--var", "cu"],
    "paper": ["paper", "--var", "cu", "--model", "836a4e53f26ab2a7", "--account", "full-disk"],
    "sql": ["sql", "SELECT * FROM ticks_raw_v2", "--out", "{outside}/answer.parquet", "--overwrite"],
    "catalog": ["data", "coverage", "--var", "cu"],
}
ROOM = {"no room": 0, "300 kB": 300_000, "1500 kB": 1_500_000}
INODES = {"no inode": 0, "5 inodes": 5}
GROWTH = {"8 kB files": 8_192, "100 kB files": 100_000}


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked home with ticks, main_l5, features, labels and a bundle of eight days, and its user state."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def home_at(older: Path, folder: Path, outside: Path) -> Iterator[Path]:
    """A copy of the home at `folder`, in force; temporary files go beside it."""
    for name in ("home", "state"):
        shutil.copytree(older / name, folder / name)
    (folder / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"GHTRADER_HOME": folder / "home", "XDG_STATE_HOME": folder / "state"}.items():
            patch.setenv(name, str(value))
        yield folder / "home"


def assert_sound(home: Path, *, half_done: str = "") -> None:
    """The audit finds nothing, no run is called started, and no temporary file of a writer is left.

    Of a command that is only half done a model may be in the home that MLflow could not take in any more: the audit
    names it, with what mends it.
    """
    audited, listed = ghtrader("audit", "--json"), ghtrader("jobs", "list", "--json")
    if half_done == "train" and audited.returncode == 1:
        (found,) = json.loads(audited.stdout)["findings"]
        assert found["kind"] == "registry_differs" and "`ghtrader models repair` would register it" in found["detail"]
    else:
        assert audited.returncode == 0, audited.stdout + audited.stderr
    assert listed.returncode == 0, listed.stderr
    assert {row["status"] for row in json.loads(listed.stdout)["runs"]} <= {"success", "failure"}
    data = load_settings(home).data
    assert not [path for path in data.rglob(".*.tmp") if path.is_file()]


def tried(command: list[str], full: AbstractContextManager[object], home: Path) -> bool:
    """Run a command while the disk is full; whether it met that, which it has to say in a sentence."""
    with full:
        done = ghtrader(*command)
        looked = ghtrader("status")
    assert looked.returncode == 0, looked.stderr
    assert done.returncode in (0, 1, 3), done.stderr
    if done.returncode == 0:
        return False
    if done.returncode == 3:  # told before anything was begun
        assert "needs at least" in done.stderr and "are free in" in done.stderr
        return True
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    words = ("disk is full", "the disk can hold no more files", "a file has reached the size limit")
    assert len(said) == 1 and any(word in said[0] for word in words), done.stderr
    assert "Traceback" not in done.stderr and "[SQL:" not in done.stderr and "OperationalError:" not in said[0]
    return True


def goes_on(command: list[str], home: Path) -> None:
    """With room the same command does what it could not."""
    done = ghtrader(*command)
    assert done.returncode == 0, done.stderr
    assert_sound(home)


@contextmanager
def filled(disk: SmallDisk, *, room: int | None = None, inodes: int | None = None) -> Iterator[None]:
    if room is not None:
        disk.leave(room)
    if inodes is not None:
        disk.leave_inodes(inodes)
    try:
        yield
    finally:
        disk.empty()


@pytest.mark.parametrize("scarce", [*ROOM, *INODES])
@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_disk_of_its_own(older: Path, tmp_path: Path, name: str, scarce: str) -> None:
    with mounted(tmp_path / "disk", "256m") as disk:
        if disk is None:
            pytest.skip("a full disk of its own needs root, to mount it")
        with home_at(older, disk.folder, tmp_path) as home:
            command = [part.replace("{outside}", str(disk.folder / "outside")) for part in COMMANDS[name]]
            met = tried(command, filled(disk, room=ROOM.get(scarce), inodes=INODES.get(scarce)), home)
            assert met or scarce not in ("no room", "no inode") or name in ("catalog",)
            assert_sound(home, half_done=name)
            goes_on(command, home)


@pytest.mark.parametrize("scarce", GROWTH)
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "paper"])
def test_where_no_file_may_grow(older: Path, tmp_path: Path, name: str, scarce: str) -> None:
    with home_at(older, tmp_path, tmp_path) as home:
        command = [part.replace("{outside}", str(tmp_path / "outside")) for part in COMMANDS[name]]
        if name == "sql":
            ghtrader("sql", "SELECT 1")  # its process keeps what it compiles, whatever the environment says
        tried(command, nothing_grows(home, GROWTH[scarce]), home)
        assert_sound(home, half_done=name)
        goes_on(command, home)


@pytest.mark.parametrize("room", [100_000, 1_000_000])
def test_a_download_through_tqsdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """What is full first is the cache of TqSdk's own process; the lake comes after."""
    scenario = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 10), snapshot_seconds=20.0, contracts=2)
    with small_disk(tmp_path / "disk", "256m") as disk, ExchangeProcess(scenario, tmp_path / "exchange") as exchange:
        home = disk.folder / "home"
        for name, value in {**exchange.env, "GHTRADER_HOME": str(home), "HOME": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        days = ["--start", str(scenario.start), "--end", str(scenario.end)]
        first = ghtrader("download-contract-range", "--exchange", "SHFE", "--var", "cu", *days[:3], days[1])
        assert first.returncode == 0, first.stderr
        command = ["download-contract-range", "--exchange", "SHFE", "--var", "cu", *days]
        began = time.monotonic()
        assert tried(command, filled(disk, room=room), home)
        assert time.monotonic() - began < 120, "it does not wait for the source"
        lake = Lake(load_settings(home).data)
        for symbol in lake.keys("ticks"):
            assert skipped_days(lake, symbol) == {} and no_data_days(lake, symbol) == set()
        goes_on(command, home)
        for symbol in lake.keys("ticks"):
            assert len(lake.days("ticks", symbol)) == len(bundled_calendar().days(scenario.start, scenario.end))
        assert not list((home / "tmp").glob("tqsdk-*"))


def test_the_answer_on_a_full_disk_or_a_closed_pipe(older: Path, tmp_path: Path) -> None:
    with home_at(older, tmp_path, tmp_path):
        ghtrader("status")  # the older home is closed, and that is said
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "ghtrader", "models", "list", "--json"], stdout=full, stderr=subprocess.PIPE,
                text=True, env=dict(os.environ),
            )  # fmt: skip
        assert done.returncode == 1 and done.stderr.startswith("error: the disk is full: cannot write the answer to")
        assert len(done.stderr.splitlines()) == 2, done.stderr
        child = subprocess.Popen(
            [sys.executable, "-m", "ghtrader", "models", "list", "--json"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=dict(os.environ),
        )  # fmt: skip
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == "" and child.wait() == 1
