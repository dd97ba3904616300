"""Runs of a process that is killed are closed with a reason; runs alive are left alone and can be cancelled."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from ghtrader_assets.instance import run_registry
from ghtrader_assets.instance.instance import open_instance
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import load_settings
from tests.support.waiting import PATIENCE_S

CHILD = textwrap.dedent(
    """
    import sys, time
    import dagster as dg
    from dagster._core.utils import make_new_run_id
    from ghtrader_assets.instance.instance import open_instance
    from ghtrader_assets.instance.run_registry import PID_TAG, executing
    from ghtrader_base.settings import load_settings
    import os

    @dg.op
    def wait(): time.sleep(60)

    @dg.job
    def waiting(): wait()

    settings = load_settings(sys.argv[1])
    with open_instance(settings) as instance:
        run_id = make_new_run_id()
        with executing(settings, run_id, "cli"):
            run = instance.create_run_for_job(waiting, run_id=run_id, tags={PID_TAG: str(os.getpid())})
            instance.report_engine_event("up", run)
            from dagster import DagsterEvent, DagsterEventType
            instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, "waiting"), run_id)
            print(run_id, flush=True)
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


@pytest.fixture
def child(settings):
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(settings.home)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    assert run_id
    yield process, run_id
    process.kill()
    process.wait(PATIENCE_S)


def test_a_killed_run_is_closed_with_a_reason(settings, child):
    process, run_id = child
    with open_instance(settings) as instance:
        assert run_registry.close_dead_runs(settings, instance) == []
        assert [item.pid for item in run_registry.executors(settings)] == [process.pid]
        assert instance.get_run_by_id(run_id).status.value == "STARTED"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        assert run_registry.close_dead_runs(settings, instance) == [run_id]
        assert instance.get_run_by_id(run_id).status.value == "FAILURE"
        messages = [entry.message for entry in instance.all_logs(run_id)]
        assert any(f"process gone: pid {process.pid}" in message for message in messages)
        assert run_registry.executors(settings) == []
        assert run_registry.close_dead_runs(settings, instance) == []


def test_cancel_signals_the_process_that_executes(settings, child):
    process, run_id = child
    with open_instance(settings) as instance:
        began = time.monotonic()
        assert run_registry.cancel(settings, instance, run_id[:8]) == "CANCELED"
        assert time.monotonic() - began < 15
        process.wait(PATIENCE_S)
        assert run_registry.cancel(settings, instance, run_id) == "CANCELED"


def test_an_unknown_run_is_a_usage_error(settings):
    with open_instance(settings) as instance, pytest.raises(UsageError, match="no run"):
        run_registry.find_run(instance, "feedbeef")


def test_two_first_users_of_a_home_do_not_race(settings):
    code = "import sys\nfrom ghtrader_assets.instance.instance import open_instance\n"
    code += "from ghtrader_base.settings import load_settings\n"
    code += "with open_instance(load_settings(sys.argv[1])) as instance: print(instance.get_runs_count())"
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(settings.home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in children:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert out.strip().endswith("0")
    assert (settings.dagster / "dagster.yaml").exists()
