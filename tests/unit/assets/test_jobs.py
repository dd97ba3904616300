"""What the daily update is told to refresh, and how days become ranges."""

import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from ghtrader_assets.checks import TICKS_CHECK
from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.jobs.daily_update import daily_targets
from ghtrader_assets.runs.execute import run_job
from ghtrader_assets.runs.flows import contiguous, dataset_days, require_finished_days
from ghtrader_base.errors import BadRecordingError, ConfigError, FailedError, UsageError
from ghtrader_market.samples import IF2101

FIXTURES = Path(__file__).parents[2] / "fixtures/recordings"


def test_targets():
    assert daily_targets("SHFE:cu, SHFE:au,cu,").keys == ["cu", "au"]
    assert daily_targets("ag").keys == ["ag"]
    assert daily_targets("SHFE : cu").keys == ["cu"]
    with pytest.raises(ConfigError):
        daily_targets(" ,")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("SHFE:zz", "unknown variety 'zz'"),
        ("CFFEX:au", "au trades on SHFE"),
        ("SHFE:", "unknown variety ''"),
        ("DCE:m", "GHTRADER_VARIETIES does not name m"),
    ],
)
def test_one_wrong_target_costs_itself_alone(wrong, why):
    targets = daily_targets(f"SHFE:cu,{wrong},ag", ("cu", "au", "ag"))
    assert targets.keys == ["cu", "ag"]
    assert {item: error.message for item, error in targets.wrong.items()} == {wrong: why}


@pytest.mark.clock
def test_days_without_a_gap_are_one_range():
    days = [date(2025, 4, 3), date(2025, 4, 7), date(2025, 4, 8), date(2025, 4, 10)]
    assert contiguous(days) == [(date(2025, 4, 3), date(2025, 4, 8)), (date(2025, 4, 10), date(2025, 4, 10))]
    assert contiguous([]) == []


@pytest.mark.clock
def test_days_outside_the_pipeline_are_refused(settings):
    with pytest.raises(UsageError, match="leaves the days"):
        require_finished_days(settings, date(2009, 12, 2), date(2009, 12, 4))
    with pytest.raises(FailedError, match="main-l5|main_l5"):
        dataset_days(settings, "cu", None, None)


def test_an_imported_day_is_checked_like_a_downloaded_one(settings):
    config = {"ops": {"read_recordings": {"config": {"paths": [str(IF2101)], "variety": "IF"}}}}
    run_job(settings, "import_recordings", run_config=config)
    key = dg.AssetKey("raw_ticks")
    with open_instance(settings) as instance:
        check_key = dg.AssetCheckKey(key, TICKS_CHECK)
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([check_key])[check_key]
        latest = instance.fetch_materializations(key, limit=1).records[0]
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    assert evaluation.passed and evaluation.metadata["days"].value == 1
    assert evaluation.target_materialization_data.storage_id == latest.storage_id


def test_an_import_takes_what_the_command_says_of_the_files(settings, tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("mapped.csv", "mapped.toml"):
        shutil.copy(FIXTURES / name, folder / name)
    said = {"columns": str(folder / "mapped.toml"), "time_zone": "Asia/Shanghai", "variety": "cu"}
    lines = []
    config = {"ops": {"read_recordings": {"config": {"paths": [str(folder)], **said}}}}
    run = run_job(settings, "import_recordings", run_config=config, progress=lines.append)
    assert run.success
    assert any(line.startswith("1/1 files, 200 ticks") for line in lines)
    assert any("left out of the folder" in line and "mapped.toml" in line for line in lines)
    with pytest.raises(BadRecordingError, match="times do not say their zone"):
        said = {"paths": [str(FIXTURES / "parquet_naive_utc.parquet")]}
        run_job(settings, "import_recordings", run_config={"ops": {"read_recordings": {"config": said}}})
