"""Runs of a process that is killed are closed with a reason; runs alive are left alone and can be cancelled."""

import os
import signal
import textwrap
import time

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id

from ghtrader_assets.instance import run_registry
from ghtrader_assets.instance.instance import open_instance
from ghtrader_base.errors import DiskFullError, UsageError
from ghtrader_base.settings import load_settings
from tests.support.forked import Forks
from tests.support.waiting import until

IMPORTS = textwrap.dedent(
    """
    import time
    from pathlib import Path
    import dagster as dg
    from dagster import DagsterEvent, DagsterEventType
    from dagster._core.utils import make_new_run_id
    from ghtrader_assets.instance.instance import open_instance
    from ghtrader_assets.instance.run_registry import PID_TAG, executing
    from ghtrader_base.settings import load_settings
    """
)
CHILD = textwrap.dedent(
    """
    settings = load_settings(sys.argv[1])
    if sys.argv[2] == "count":
        with open_instance(settings) as instance:
            assert instance.get_runs_count() == 0
        os._exit(0)

    @dg.op
    def wait(): time.sleep(60)

    @dg.job
    def waiting(): wait()

    with open_instance(settings) as instance:
        run_id = make_new_run_id()
        with executing(settings, run_id, "cli"):
            run = instance.create_run_for_job(waiting, run_id=run_id, tags={PID_TAG: str(os.getpid())})
            instance.report_engine_event("up", run)
            instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, "waiting"), run_id)
            Path(sys.argv[2]).write_text(run_id)
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                instance.report_run_canceled(instance.get_run_by_id(run_id))
    """
)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in ("GHTRADER_HOME", "DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1" if "TELEMETRY" in name else str(tmp_path / "elsewhere"))
    return load_settings(tmp_path / "home")


@pytest.fixture(scope="module")
def forks():
    with Forks(IMPORTS, CHILD) as made:
        yield made


@pytest.fixture
def child(settings, tmp_path, forks):
    """The process id of a child that executes a run, and the run's id."""
    told = tmp_path / "run_id"
    pid = forks.start(settings.home, told)
    return pid, until(lambda: told.exists() and told.read_text())


def test_a_killed_run_is_closed_with_a_reason(settings, child, forks):
    pid, run_id = child
    with open_instance(settings) as instance:
        assert run_registry.close_dead_runs(settings, instance) == []
        assert [item.pid for item in run_registry.executors(settings)] == [pid]
        assert instance.get_run_by_id(run_id).status.value == "STARTED"
        os.kill(pid, signal.SIGKILL)
        assert forks.wait(pid) == -signal.SIGKILL
        assert run_registry.close_dead_runs(settings, instance) == [run_id]
        assert instance.get_run_by_id(run_id).status.value == "FAILURE"
        messages = [entry.message for entry in instance.all_logs(run_id)]
        assert any(f"process gone: pid {pid}" in message for message in messages)
        assert run_registry.executors(settings) == []
        assert run_registry.close_dead_runs(settings, instance) == []


def test_cancel_signals_the_process_that_executes(settings, child, forks):
    pid, run_id = child
    with open_instance(settings) as instance:
        began = time.monotonic()
        assert run_registry.cancel(settings, instance, run_id[:8]) == "CANCELED"
        assert time.monotonic() - began < 15
        assert forks.wait(pid) == 0
        assert run_registry.cancel(settings, instance, run_id) == "CANCELED"


def test_an_unknown_run_is_a_usage_error(settings):
    with open_instance(settings) as instance, pytest.raises(UsageError, match="no run"):
        run_registry.find_run(instance, "feedbeef")


def test_two_first_users_of_a_home_do_not_race(settings, forks):
    children = [forks.start(settings.home, "count") for _ in range(3)]
    assert [forks.wait(pid) for pid in children] == [0, 0, 0]
    assert (settings.dagster / "dagster.yaml").exists()


def test_a_run_that_a_full_disk_left_open_is_closed_with_that_reason(settings):
    """Dagster could not write that it failed; nobody else would ever say so."""

    @dg.op
    def work(): ...

    @dg.job
    def working():
        work()

    with open_instance(settings) as instance:
        run_id = make_new_run_id()
        with pytest.raises(DiskFullError), run_registry.executing(settings, run_id, "cli"):
            instance.create_run_for_job(working, run_id=run_id, tags={run_registry.PID_TAG: str(os.getpid())})
            raise DiskFullError("the disk is full: cannot write history", "make room")
        assert not instance.get_run_by_id(run_id).is_finished
        assert run_registry.close_dead_runs(settings, instance) == [run_id]
        messages = [entry.message for entry in instance.all_logs(run_id)]
        assert any("without closing this run (the disk is full: cannot write history)" in text for text in messages)
        assert run_registry.close_dead_runs(settings, instance) == [] and run_registry.executors(settings) == []
