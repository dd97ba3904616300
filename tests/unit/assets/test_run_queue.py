"""What the queue of the home's Dagster instance lets run beside a daily update and a terminal's command."""

from __future__ import annotations

import hashlib
import tarfile
from importlib import resources
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from ghtrader_assets.instance.instance import _EARLIER_CONFIGS, _write_config, code_origin, open_instance
from ghtrader_base.settings import Settings

OLDER_HOME = Path(__file__).parents[2] / "fixtures" / "home_fd3b953.tar.xz"
PACKAGED = resources.files("ghtrader_assets").joinpath("dagster.yaml").read_text()

pytestmark = pytest.mark.clock


def let_go(instance: DagsterInstance) -> list[str]:
    """Jobs of the queued runs that the daemon would start now."""
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    runs = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)
    return [run.job_name for run in runs]


def test_a_backfill_runs_beside_an_update_and_its_step(settings: Settings) -> None:
    with open_instance(settings) as instance:

        def add(name: str, status: DagsterRunStatus, backfill: bool = False) -> None:
            tags = {"dagster/backfill": "b"} if backfill else {}
            origin = code_origin("daily_update")[1]
            create_run_for_test(instance, job_name=name, status=status, tags=tags, remote_job_origin=origin)

        add("daily_update", DagsterRunStatus.STARTED)
        add("its step", DagsterRunStatus.STARTED)
        for number in range(3):
            add(f"backfill {number}", DagsterRunStatus.QUEUED, backfill=True)
        assert let_go(instance) == ["backfill 0", "backfill 1"], "the third waits, whatever is free"
        add("a terminal's command", DagsterRunStatus.STARTED)
        assert let_go(instance) == ["backfill 0"]


def test_a_home_of_an_older_version_gets_the_queue_unless_somebody_edited_it(tmp_path: Path) -> None:
    with tarfile.open(OLDER_HOME) as archive:
        text = archive.extractfile("home/dagster/dagster.yaml").read().decode()  # type: ignore[union-attr]
    assert text != PACKAGED and hashlib.sha256(text.encode()).hexdigest() in _EARLIER_CONFIGS
    for name, there, expected in (("untouched", text, PACKAGED), ("edited", f"{text}# ours\n", f"{text}# ours\n")):
        (tmp_path / name).write_text(there)
        _write_config(tmp_path / name)
        assert (tmp_path / name).read_text() == expected
    _write_config(tmp_path / "none")
    assert (tmp_path / "none").read_text() == PACKAGED
