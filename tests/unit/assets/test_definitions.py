"""What the code location offers, loaded as the server loads it: names, partitions, lineage; no network, no files."""

import subprocess
import sys
import textwrap

import dagster as dg
import pytest

from ghtrader_assets.build_definitions import build_defs
from ghtrader_assets.definitions import defs
from ghtrader_assets.partitions import PARTITIONS
from ghtrader_models.families.table import FAMILIES
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.clock

MODELS = [f"model_{family}" for family in FAMILIES]
BENCHMARKS = [f"benchmark_{family}" for family in FAMILIES]
LINEAGE = {
    "trading_calendar": (None, set()),
    "contracts": (PARTITIONS.varieties, set()),
    "daily_bars": (PARTITIONS.day_variety, {"trading_calendar", "contracts"}),
    "main_schedule": (PARTITIONS.varieties, {"daily_bars"}),
    "raw_ticks": (PARTITIONS.day_variety, {"daily_bars"}),
    "main_l5": (PARTITIONS.day_variety, {"raw_ticks", "main_schedule"}),
    "features": (PARTITIONS.day_variety, {"main_l5"}),
    "labels": (PARTITIONS.day_variety, {"main_l5"}),
    **{name: (PARTITIONS.horizon_variety, {"features", "labels"}) for name in (*MODELS, *BENCHMARKS)},
    "benchmark_report": (PARTITIONS.horizon_variety, {*MODELS, *BENCHMARKS}),
    "champion": (PARTITIONS.horizon_variety, {"benchmark_report"}),
}


def test_assets_partitions_and_lineage():
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): (
            graph.get(key).partitions_def,
            {parent.to_user_string() for parent in graph.get(key).parent_keys},
        )
        for key in graph.get_all_asset_keys()
    }
    assert found.keys() == LINEAGE.keys()
    for name, (partitions, parents) in LINEAGE.items():
        assert found[name] == (partitions, parents), name


def test_day_assets_take_a_range_in_one_run():
    graph = defs.resolve_asset_graph()
    for name in ("daily_bars", "raw_ticks", "main_l5", "features", "labels"):
        assert graph.get(dg.AssetKey(name)).backfill_policy == dg.BackfillPolicy.single_run(), name


def test_checks_jobs_and_schedule():
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.asset_check_keys} == {
        "raw_ticks:verified_and_monotonic",
        "main_l5:provenance_complete",
        "main_l5:readiness",
        "features:coverage",
        "labels:distribution",
        "benchmark_report:has_baselines",
        "trading_calendar:holiday_list",
    }
    repository = defs.get_repository_def()
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert jobs == {
        *("download_contract", "update_variety", "import_recordings", "daily_update", "compare_families", "sweep"),
        *("build_contract", "train_contract", "benchmark_contract"),
    }
    (schedule,) = repository.schedule_defs
    assert schedule.cron_schedule == "30 17 * * 1-5"
    assert schedule.execution_timezone == "Asia/Shanghai"
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    (sensor,) = repository.sensor_defs
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_resources_can_be_replaced():
    marker = dg.ResourceDefinition.hardcoded_resource("mine")
    assert build_defs(resource_overrides={"source": marker}).resources["source"] is marker


def test_a_mapping_reads_all_days_of_the_same_variety_only():
    graph = defs.resolve_asset_graph()
    mapping = graph.get_partition_mapping(dg.AssetKey("model_xgboost"), dg.AssetKey("features"))
    downstream = PARTITIONS.horizon_variety.subset_with_partition_keys(["50|cu"])
    upstream = mapping.get_upstream_mapped_partitions_result_for_partitions(
        downstream, PARTITIONS.horizon_variety, PARTITIONS.day_variety
    ).partitions_subset.get_partition_keys()
    assert {key.split("|")[1] for key in upstream} == {"cu"}
    assert len(upstream) == len(PARTITIONS.trading_days.get_partition_keys())


def test_loading_touches_neither_network_nor_disk(tmp_path):
    code = textwrap.dedent(
        """
        import socket, sys, time
        def refuse(*_): raise AssertionError("network at import")
        socket.socket.connect = refuse
        socket.getaddrinfo = refuse
        started = time.monotonic()
        import ghtrader_assets.definitions as d
        d.defs.get_repository_def()
        heavy = "tqsdk mlflow sklearn xgboost lightgbm torch matplotlib numba ghtrader_exchange".split()
        assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules)
        print(time.monotonic() - started)
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:ghtrader_assets", "-c", code],
        env={"GHTRADER_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert list(tmp_path.iterdir()) == []
