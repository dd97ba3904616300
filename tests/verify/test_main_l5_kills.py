"""Kills main_l5 (-9) at twenty moments and runs it again: the same tree as without; once through the command too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ghtrader_base.failpoints import KILL_ENV, TRACE_ENV
from ghtrader_market.stores.lake.lake import Lake
from tests.support.waiting import PATIENCE_S
from tests.unit.market.conftest import ticks_of
from tests.unit.market.main_series.test_main_days import DAYS, POINTS, built, raw, tree

__all__ = ["raw", "ticks_of"]  # fixtures
pytestmark = [pytest.mark.timeout(600)]
KILLS = [*range(1, 8), 9, 12, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40, 5 * len(DAYS) + 1]


def killed(arguments: list[str], at: str, trace: Path, root: Path, **more: str) -> str:
    """Run something that is killed at a failpoint; returns the point."""
    trace.unlink(missing_ok=True)
    environment = {**os.environ, KILL_ENV: at, TRACE_ENV: str(trace), **more}
    done = subprocess.run(arguments, env=environment, cwd=root, timeout=PATIENCE_S, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    return trace.read_text().split()[-1]


@dataclass(frozen=True)
class Whole:
    """A build that nobody killed: its files, and the failpoints it passed, in order."""

    files: dict[str, str]
    points: list[str]


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(raw, folder / "data")
    trace = folder / "trace"
    environment = {**os.environ, TRACE_ENV: str(trace)}
    done = subprocess.run(
        child(folder / "data"), env=environment, cwd=request.config.rootpath, timeout=PATIENCE_S, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return Whole(tree(Lake(folder / "data")), [line.split()[-1] for line in trace.read_text().splitlines()])


def child(root: Path) -> list[str]:
    return [sys.executable, "-m", "tests.support.children.main_child", str(root), "1"]


@pytest.mark.sample(1)
@pytest.mark.parametrize("kill", KILLS)
def test_killed_and_run_again(kill: int, whole: Whole, raw: Path, tmp_path: Path, request) -> None:
    home = tmp_path / "killed"
    shutil.copytree(raw, home)
    point = killed(child(home), f"*:{kill}", tmp_path / "trace", request.config.rootpath)
    assert point == whole.points[kill - 1]
    built(Lake(home))
    assert tree(Lake(home)) == whole.files, f"killed at {point}, passing {kill}"


def test_the_kills_meet_every_point(whole: Whole) -> None:
    assert len(KILLS) == 20 and {whole.points[kill - 1] for kill in KILLS} == POINTS


def test_through_the_command(raw: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    homes = [tmp_path / "whole", tmp_path / "killed"]
    for home in homes:
        shutil.copytree(raw, home / "data")
    command = [sys.executable, "-m", "ghtrader", "main-l5", "--var", "cu", "--json", "--home"]
    root = request.config.rootpath
    point = killed([*command, str(homes[1])], "lake.rename->sidecar:4", tmp_path / "trace", root)
    assert point == "lake.rename->sidecar"
    for home in homes:
        done = subprocess.run([*command, str(home)], cwd=root, timeout=PATIENCE_S, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["runs"][0]["made"]) == len(DAYS)
    audit = [sys.executable, "-m", "ghtrader", "audit", "--home", str(homes[1]), "--json"]
    done = subprocess.run(audit, cwd=root, timeout=PATIENCE_S, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["findings"] == []
    trees = [tree(Lake(home / "data")) for home in homes]
    manifests = {name for name in trees[0] if name.endswith("_manifest.json")}
    assert all(trees[0][name] == trees[1][name] for name in trees[0].keys() - manifests)
    assert trees[0].keys() == trees[1].keys() and len(manifests) == len(DAYS)
    # Each run has an id of its own, which manifests keep, and the code may have been committed meanwhile.
    mask = {"run_id": "", "code_version": "", "checksum": ""}
    for name in manifests:
        told = [json.loads((home / "data" / "main_l5" / name).read_text()) | mask for home in homes]
        assert told[0] == told[1]
