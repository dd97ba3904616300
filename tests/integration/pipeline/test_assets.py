"""The pipeline against a running simulated exchange: through the command, through Dagster's own shell, and killed.

Commands run in this process; those that are killed, and Dagster's own shell, in one of their own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._cli import create_dagster_cli

from ghtrader_assets.instance import run_registry
from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.results.reports_store import decision_path, load_candidate, load_predictions, load_reports
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.execute import run_job
from ghtrader_assets.runs.inspect import describe_run, list_runs, run_events
from ghtrader_base.errors import FailedError, RefusedError, UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.registry.mlflow_tracking import Tracker
from tests.support.cli import ghtrader
from tests.support.waiting import PATIENCE_S

# The default start lies ahead of a roll; coarse days keep it quick.
SCENARIO = Scenario(end=date(2025, 4, 11), snapshot_seconds=30.0)
FIRST, LAST = "2025-03-31", "2025-04-11"
SCENARIO_DAYS = [str(day) for day in bundled_calendar().days(SCENARIO.start, SCENARIO.end)]
SYMBOL = "KQ.m@SHFE.cu"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(scope="module")
def pipeline_home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pipeline") / "home"


@pytest.fixture(autouse=True)
def _environment(exchange, pipeline_home, monkeypatch):
    use_home(monkeypatch, pipeline_home, exchange)


@pytest.fixture(scope="module")
def pipeline_settings(pipeline_home) -> Settings:
    return load_settings(pipeline_home)


def use_home(patch: pytest.MonkeyPatch, home: Path, exchange: ExchangeProcess) -> None:
    """Point this process, and those it starts, at a home and at the exchange."""
    for name, value in {**exchange.env, "GHTRADER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}.items():
        patch.setenv(name, value)
    patch.setenv("GHTRADER_MAX_PARALLEL_TQSDK_JOBS", "1")  # a second client takes longer to start than it saves


def answer(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ghtrader_at_the_exchange(exchange, pipeline_home):
    """`ghtrader` as the fixtures of this module call it, before a test has its environment."""

    def call(*arguments: str) -> dict:
        with pytest.MonkeyPatch.context() as patch:
            use_home(patch, pipeline_home, exchange)
            return answer(ghtrader(*arguments))

    return call


@pytest.fixture(scope="module")
def contract_run(ghtrader_at_the_exchange):
    span = ["--start", "2025-04-02", "--end", "2025-04-03"]
    return ghtrader_at_the_exchange("download", "--symbol", "SHFE.cu2506", *span, "--json")["runs"][0]


@pytest.fixture(scope="module")
def downloaded(ghtrader_at_the_exchange, contract_run):
    arguments = ["--exchange", "SHFE", "--var", "cu", "--start", FIRST, "--end", LAST, "--json"]
    return ghtrader_at_the_exchange("download-contract-range", *arguments)


@pytest.fixture(scope="module")
def scheduled(ghtrader_at_the_exchange, downloaded):
    return ghtrader_at_the_exchange("main-schedule", "--var", "cu", "--json")


def test_one_contract_is_observed_and_materializes_nothing(pipeline_settings, contract_run):
    assert set(contract_run["made"]) == {"observed raw_ticks[2025-04-02|cu]", "observed raw_ticks[2025-04-03|cu]"}
    assert all(found["rows"] > 0 for found in contract_run["made"].values())
    with open_instance(pipeline_settings) as instance:
        shown = describe_run(pipeline_settings, instance, contract_run["run_id"])
        assert shown.status == "success" and shown.materialized == {}


@pytest.mark.clock
def test_a_range_downloads_every_contract_once(pipeline_settings, downloaded):
    days = SCENARIO_DAYS
    lake = Lake(pipeline_settings.data)
    assert len(lake.keys("ticks")) == SCENARIO.contracts
    for symbol in lake.keys("ticks"):
        assert [str(day) for day in lake.days("ticks", symbol)] == days
    with open_instance(pipeline_settings) as instance:
        made = instance.get_materialized_partitions(dg.AssetKey("raw_ticks"))
    assert made == {f"{day}|cu" for day in days}
    ticks = downloaded["runs"][-1]["made"]
    assert sum(found["rows"] for found in ticks.values()) == sum(
        lake.manifest("ticks", symbol, date.fromisoformat(day)).rows for symbol in lake.keys("ticks") for day in days
    )


@pytest.mark.clock
def test_dagsters_own_shell_materializes_main_l5(pipeline_settings, scheduled):
    select = ["asset", "materialize", "-m", "ghtrader_assets.definitions", "--select", "main_l5"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), *select, "--partition", "2025-04-03|cu"],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    with open_instance(pipeline_settings) as instance:
        assert "2025-04-03|cu" in instance.get_materialized_partitions(dg.AssetKey("main_l5"))
    # A range written the wrong way round has no partition: that is an error, not a quiet success.
    again = CliRunner().invoke(create_dagster_cli(), [*select, "--partition-range", "2025-04-03|cu...2025-04-03|cu"])
    assert again.exit_code == 0, again.output
    wrong = CliRunner().invoke(create_dagster_cli(), [*select, "--partition-range", "2025-04-08|cu...2025-04-03|cu"])
    assert wrong.exit_code != 0


@pytest.mark.clock
def test_the_loop_to_the_gate(pipeline_settings, scheduled):
    settings = pipeline_settings
    schedule = load_schedule(settings.data, "cu")
    assert len({day.segment_id for day in schedule.days}) == 2, "the scenario has a roll"
    lines: list[str] = []
    (main,) = flows.build_main(settings, "cu", None, None, progress=lines.append)
    (built,) = flows.build_datasets(settings, "cu", None, None, progress=lines.append)
    assert len(main.metadata) == len(schedule.days) and len(built.metadata) == 2 * len(schedule.days)
    odd = date(2025, 4, 3)  # one level among five: its factors are fewer
    few, lake = get_factor_set("lean", levels=1), Lake(settings.data)
    build_day(lake, SYMBOL, odd, few, LabelSpec(), run_id="odd", overwrite=True)
    with pytest.raises(RefusedError, match="1 days of KQ.m@SHFE.cu do not go with the others: 2025-04-03"):
        flows.train_family(settings, "logistic", "cu", 50, strict=True)
    (trained,) = flows.train_family(settings, "logistic", "cu", [10, 50])
    assert set(trained.metadata) == {"model_logistic[10|cu]", "model_logistic[50|cu]"}
    assert [day["day"] for day in trained.metadata["model_logistic[50|cu]"]["left_out_days"]] == [str(odd)]
    with pytest.raises(UsageError, match="no model family 'nobody'"):  # a family that fails stops no other
        flows.benchmark_families(settings, ["nobody", "logistic"], "cu", 10)
    assert [stored.family for stored in load_reports(settings, SYMBOL, 10)] == ["logistic"]
    (reported,) = flows.benchmark_families(settings, ["logistic"], "cu", 50)
    found = reported.metadata["benchmark_report[50|cu]"]
    assert found["left_out_days"] == trained.metadata["model_logistic[50|cu]"]["left_out_days"]
    assert found["days"] == len(schedule.days) - 1
    assert [row["family"] for row in found["families"]] == ["logistic"] and "xgboost" in found["missing"]
    assert reported.metadata["benchmark_logistic[50|cu]"]["splits_hash"] == found["splits_hash"]
    assert found["plot"].startswith(f"![{SYMBOL} 50](data:image/png;base64,")
    (report,) = load_reports(settings, SYMBOL, 50)
    assert set(report.baselines) == {"prior", "majority", "persistence"}
    assert [day.to_dict() for day in report.context.left_out] == found["left_out_days"]
    assert odd not in report.context.days
    bundle = load_candidate(settings, SYMBOL, 50, "logistic")
    assert bundle.content.left_out == tuple(report.context.left_out)
    tracker = Tracker(settings)
    experiment = tracker.client.get_experiment_by_name(SYMBOL)
    done = tracker.client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
    told = [run.data.tags["ghtrader.left_out_days"] for run in done]
    assert told == [f"{odd} other_factors"] * 4
    assert load_predictions(settings, SYMBOL, 50, "logistic").num_rows == sum(
        split.test_rows for split in report.splits
    )
    decided = flows.decide_champion(settings, "cu", 50).metadata["champion[50|cu]"]
    stored = json.loads(decision_path(settings, SYMBOL, 50).read_text())
    assert decided["promoted"] == stored["promoted"] == (report.model.gain.low > 0)
    assert stored["promoted"] or stored["refused_because"]
    rows = answer(ghtrader("sql", "select count(*) n from ticks_main_l5_v2", "--json"))["rows"]
    assert rows == [{"n": sum(found["rows"] for found in main.metadata.values())}]
    listed = answer(ghtrader("models", "list", "--json"))
    assert {bundle["horizon"] for bundle in listed["bundles"]} == {10, 50}


def test_the_daily_update_runs_what_is_due_as_one_group_and_nothing_twice(exchange, tmp_path, monkeypatch):
    home = tmp_path / "home"
    use_home(monkeypatch, home, exchange)
    monkeypatch.setenv("GHTRADER_DAILY_UPDATE_TARGETS", "SHFE:cu")
    settings = load_settings(home)
    config = {"ops": {"update_targets": {"config": {"days": 2, "end": "2025-04-02"}}}}
    outer = run_job(settings, "daily_update", run_config=config, source="schedule")
    with open_instance(settings) as instance:
        rows = list_runs(settings, instance, 20)
        assert instance.get_materialized_partitions(dg.AssetKey("features")) == {"2025-04-01|cu", "2025-04-02|cu"}
    assert {row.status for row in rows} == {"success"} and {row.source for row in rows} == {"schedule"}
    assert [row.id for row in rows].count(outer.run_id) == 1 and len(rows) == 7
    assert run_registry.executors(settings) == [] and {row.group for row in rows} == {outer.run_id}
    with open_instance(settings) as instance:
        assert len(describe_run(settings, instance, outer.run_id).related) == 6
        logged = [event.message for event in run_events(settings, instance, outer.run_id, False)]
        (ticks,) = [row.id for row in rows if row.what == "raw_ticks"]
        ticks_logged = [event.message for event in run_events(settings, instance, ticks, False)]
    for messages in (logged, ticks_logged):
        assert len([message for message in messages if message.startswith("ticks of 3 cu contracts")]) == 1
    monkeypatch.setenv("GHTRADER_DAILY_UPDATE_TARGETS", "SHFE:zz,SHFE:cu")
    with pytest.raises(FailedError, match="1 steps could not be done: SHFE:zz target: unknown variety 'zz'"):
        run_job(load_settings(home), "daily_update", run_config=config, source="schedule")
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == len(rows) + 1, "nothing was due"


def _runs_now(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status is dg.DagsterRunStatus.STARTED


def test_a_killed_download_is_closed_and_resumes(exchange, tmp_path, monkeypatch):
    home = tmp_path / "home"
    use_home(monkeypatch, home, exchange)
    arguments = ["download", "--symbol", "SHFE.cu2506", "--start", FIRST, "--end", LAST]
    command = [sys.executable, "-m", "ghtrader", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    settings = load_settings(home)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not run_registry.executors(settings):
        time.sleep(0.05)
    (executor,) = run_registry.executors(settings)
    assert executor.pid == process.pid
    # Its lock is older than its row: killed in between it leaves no run that could be closed.
    with open_instance(settings) as instance:
        while time.monotonic() < deadline and not _runs_now(instance, executor.run_id):
            time.sleep(0.05)
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    rows = answer(ghtrader("jobs", "list", "--json"))["runs"]
    (killed,) = [row for row in rows if row["id"] == executor.run_id]
    assert killed["status"] == "failure"
    shown = answer(ghtrader("jobs", "show", executor.run_id[:8], "--json"))
    assert any("process gone" in error for error in shown["errors"])
    done = ghtrader(*arguments, "--json")
    assert len(answer(done)["runs"][0]["made"]) == len(SCENARIO_DAYS)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, "download --symbol SHFE.zz2505 --start 2025-04-02 --end 2025-04-03"),
        (2, "download --symbol SHFE.cu2505 --start 2025-04-05 --end 2025-04-06"),
        (2, "download --symbol SHFE.cu2505 --start 2025-04-03 --end 2025-04-02"),
        (2, "download-contract-range --var xx --start 2025-04-02 --end 2025-04-03"),
        (2, "download-contract-range --exchange CFFEX --var cu --start 2025-04-02 --end 2025-04-03"),
        (1, "main-l5 --var au"),
        (1, "build --var au"),
        (2, "train --model nonsense --var cu"),
        (2, "train --model logistic --var cu --horizon 7"),
        (2, "benchmark --model logistic --var cu --start 2025-04-10 --end 2025-04-02"),
        (1, "data import nothing-there.csv"),
        (2, "jobs show nothing"),
        (2, "models show nothing"),
        (2, "up --only nonsense"),
    ],
)
def test_bad_input_has_its_exit_code_and_two_lines(exchange, tmp_path, monkeypatch, code, arguments):
    home = tmp_path / "home"
    use_home(monkeypatch, home, exchange)
    done = ghtrader(*arguments.split())
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "error: " in done.stderr
    assert not (home / "data").exists()


def test_nobody_at_the_exchange_and_a_wrong_password(exchange, tmp_path, monkeypatch):
    home = tmp_path / "home"
    use_home(monkeypatch, home, exchange)
    dead = {name: "http://127.0.0.1:9" for name in ("TQ_AUTH_URL", "TQ_CHINESE_HOLIDAY_URL", "TQ_CONT_TABLE_URL")}
    dead |= {name: "ws://127.0.0.1:9/md" for name in ("TQ_MD_URL", "TQ_TD_URL")}
    arguments = ["download", "--symbol", "SHFE.cu2505", "--start", FIRST, "--end", LAST]
    with monkeypatch.context() as nobody:
        for name, value in dead.items():
            nobody.setenv(name, value)
        done = ghtrader(*arguments)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("TQSDK_PASSWORD", "wrong")
    done = ghtrader(*arguments)
    assert done.returncode == 2, done.stderr
    assert not (home / "data" / "ticks").exists()
