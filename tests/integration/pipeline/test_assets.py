"""The pipeline against a running simulated exchange: through the command, through Dagster's own shell, and killed."""

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

from ghtrader_assets.instance import run_registry
from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.results.reports_store import decision_path, load_predictions, load_reports
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.execute import run_job
from ghtrader_assets.runs.inspect import describe_run, list_runs
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
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
def environment(exchange, tmp_path_factory):
    home = tmp_path_factory.mktemp("pipeline") / "home"
    return {**os.environ, **exchange.env, "GHTRADER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}


@pytest.fixture(scope="module")
def pipeline_settings(environment) -> Settings:
    return load_settings(environment["GHTRADER_HOME"])


def ghtrader(environment: dict[str, str], *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ghtrader", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def answer(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def contract_run(environment):
    done = ghtrader(
        environment, "download", "--symbol", "SHFE.cu2506", "--start", "2025-04-02", "--end", "2025-04-03", "--json"
    )
    return answer(done)["runs"][0]


@pytest.fixture(scope="module")
def downloaded(environment, contract_run):
    arguments = ["--exchange", "SHFE", "--var", "cu", "--start", FIRST, "--end", LAST, "--json"]
    return answer(ghtrader(environment, "download-contract-range", *arguments))


@pytest.fixture(scope="module")
def scheduled(environment, downloaded):
    return answer(ghtrader(environment, "main-schedule", "--var", "cu", "--json"))


def test_one_contract_is_observed_and_materializes_nothing(pipeline_settings, contract_run):
    assert set(contract_run["made"]) == {"observed raw_ticks[2025-04-02|cu]", "observed raw_ticks[2025-04-03|cu]"}
    assert all(found["rows"] > 0 for found in contract_run["made"].values())
    with open_instance(pipeline_settings) as instance:
        shown = describe_run(pipeline_settings, instance, contract_run["run_id"])
        assert shown["status"] == "success" and shown["materialized"] == {}


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
def test_dagsters_own_shell_materializes_main_l5(environment, pipeline_settings, scheduled):
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "ghtrader_assets.definitions"]
        + ["--select", "main_l5", "--partition", "2025-04-03|cu"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    with open_instance(pipeline_settings) as instance:
        assert "2025-04-03|cu" in instance.get_materialized_partitions(dg.AssetKey("main_l5"))
    # A range written the wrong way round has no partition: that is an error, not a quiet success.
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "ghtrader_assets.definitions"]
        + ["--select", "main_l5", "--partition-range", "2025-04-08|cu...2025-04-03|cu"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode != 0


@pytest.mark.clock
def test_the_loop_to_the_gate(environment, pipeline_settings, scheduled):
    settings = pipeline_settings
    schedule = load_schedule(settings.data, "cu")
    assert len({day.segment_id for day in schedule.days}) == 2, "the scenario has a roll"
    lines: list[str] = []
    (main,) = flows.build_main(settings, "cu", None, None, progress=lines.append)
    (built,) = flows.build_datasets(settings, "cu", None, None, progress=lines.append)
    assert len(main.metadata) == len(schedule.days) and len(built.metadata) == 2 * len(schedule.days)
    trained = flows.train_family(settings, "logistic", "cu", [10, 50])
    assert set(trained.metadata) == {"model_logistic[10|cu]", "model_logistic[50|cu]"}
    reported = flows.benchmark_families(settings, ["logistic"], "cu", 50)
    found = reported.metadata["benchmark_report[50|cu]"]
    assert found["plot"].startswith(f"![{SYMBOL} 50](data:image/png;base64,")
    (report,) = load_reports(settings, SYMBOL, 50)
    assert set(report.document["baselines"]) == {"prior", "majority", "persistence"}
    assert load_predictions(settings, SYMBOL, 50, "logistic").num_rows == sum(
        split["test_rows"] for split in report.document["splits"]
    )
    decided = flows.decide_champion(settings, "cu", 50).metadata["champion[50|cu]"]
    stored = json.loads(decision_path(settings, SYMBOL, 50).read_text())
    assert decided["promoted"] == stored["promoted"] == (report.model["logloss_gain"]["low"] > 0)
    assert stored["promoted"] or stored["refused_because"]
    rows = answer(ghtrader(environment, "sql", "select count(*) n from ticks_main_l5_v2", "--json"))["rows"]
    assert rows == [{"n": sum(found["rows"] for found in main.metadata.values())}]
    listed = answer(ghtrader(environment, "models", "list", "--json"))
    assert {bundle["horizon"] for bundle in listed["bundles"]} == {10, 50}


def test_the_daily_update_runs_its_steps_as_runs_of_their_own(environment, tmp_path, monkeypatch):
    home = tmp_path / "home"
    for name, value in {**environment, "GHTRADER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GHTRADER_DAILY_UPDATE_TARGETS", "SHFE:cu")
    settings = load_settings(home)
    config = {"ops": {"update_targets": {"config": {"days": 2, "end": "2025-04-02"}}}}
    outer = run_job(settings, "daily_update", run_config=config, source="schedule")
    with open_instance(settings) as instance:
        rows = list_runs(settings, instance, 20)
        assert instance.get_materialized_partitions(dg.AssetKey("features")) == {"2025-04-01|cu", "2025-04-02|cu"}
    assert {row["status"] for row in rows} == {"success"} and {row["source"] for row in rows} == {"schedule"}
    assert [row["id"] for row in rows].count(outer.run_id) == 1 and len(rows) == 7
    assert run_registry.executors(settings) == []


def _runs_now(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status is dg.DagsterRunStatus.STARTED


def test_a_killed_download_is_closed_and_resumes(environment, exchange, tmp_path):
    home = tmp_path / "home"
    environment = {**environment, "GHTRADER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    arguments = ["download", "--symbol", "SHFE.cu2506", "--start", FIRST, "--end", LAST]
    process = subprocess.Popen(
        [sys.executable, "-m", "ghtrader", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
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
    rows = answer(ghtrader(environment, "jobs", "list", "--json"))["runs"]
    (killed,) = [row for row in rows if row["id"] == executor.run_id]
    assert killed["status"] == "failure"
    shown = answer(ghtrader(environment, "jobs", "show", executor.run_id[:8], "--json"))
    assert any("process gone" in error for error in shown["errors"])
    done = ghtrader(environment, *arguments, "--json")
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
def test_bad_input_has_its_exit_code_and_two_lines(environment, tmp_path, code, arguments):
    home = tmp_path / "home"
    environment = {**environment, "GHTRADER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    done = ghtrader(environment, *arguments.split())
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "error: " in done.stderr
    assert not (home / "data").exists()


def test_nobody_at_the_exchange_and_a_wrong_password(environment, tmp_path):
    home = tmp_path / "home"
    environment = {**environment, "GHTRADER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    dead = {name: "http://127.0.0.1:9" for name in ("TQ_AUTH_URL", "TQ_CHINESE_HOLIDAY_URL", "TQ_CONT_TABLE_URL")}
    dead |= {name: "ws://127.0.0.1:9/md" for name in ("TQ_MD_URL", "TQ_TD_URL")}
    arguments = ["download", "--symbol", "SHFE.cu2505", "--start", FIRST, "--end", LAST]
    done = ghtrader({**environment, **dead}, *arguments)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    done = ghtrader({**environment, "TQSDK_PASSWORD": "wrong"}, *arguments)
    assert done.returncode == 2, done.stderr
    assert not (home / "data" / "ticks").exists()
