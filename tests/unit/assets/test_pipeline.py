"""Runs in this process: the packaged real day through every data stage, errors with their class, progress, metadata."""

from dataclasses import replace
from datetime import date

import pytest

from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.instance.run_registry import PID_TAG, SOURCE_TAG, executors
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.build_options import BuildOptions
from ghtrader_assets.runs.execute import run_assets
from ghtrader_assets.runs.inspect import describe_run, list_runs, run_events
from ghtrader_base.errors import BadRecordingError, FailedError, RefusedError, UsageError
from ghtrader_market.samples import CU1909
from ghtrader_market.stores.lake.lake import Lake

pytestmark = pytest.mark.clock

KEY = "2021-01-04|IF"
DAY = date(2021, 1, 4)


def test_the_real_day_reaches_features_and_labels(real_day):
    settings, runs = real_day
    assert all(run.success for run in runs.values())
    assert runs["import"].metadata[f"raw_ticks[{KEY}]"]["rows"] == 27955
    assert runs["schedule"].metadata["main_schedule[IF]"]["rows"] == 1
    main = runs["main"].metadata[f"main_l5[{KEY}]"]
    lake = Lake(settings.data)
    assert main["rows"] == lake.read_day("main_l5", "KQ.m@CFFEX.IF", DAY).num_rows > 27900
    assert main["underlying_contract"] == "CFFEX.IF2101"
    assert main["plot"].startswith("![KQ.m@CFFEX.IF 2021-01-04](data:image/png;base64,iVBOR")
    features = runs["datasets"].metadata[f"features[{KEY}]"]
    assert features["rows"] == main["rows"] and features["levels"] == 1 and "imbalance_5" in features["left_out"]
    assert features["content_hash"] == lake.manifest("features", "KQ.m@CFFEX.IF", DAY).content_hash
    counts = runs["datasets"].metadata[f"labels[{KEY}]"]["counts"]
    shown = [row.data for row in counts.records]
    assert [row["label"] for row in shown] == ["label_10", "label_50", "label_200"]
    assert all(row["none"] + row["down"] + row["flat"] + row["up"] == main["rows"] for row in shown)


def test_dagster_knows_what_was_made(real_day):
    import dagster as dg

    settings, runs = real_day
    with open_instance(settings) as instance:
        for name in ("raw_ticks", "main_l5", "features", "labels"):
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == {KEY}, name
        for asset, check in (("main_l5", "provenance_complete"), ("features", "coverage"), ("labels", "distribution")):
            (record,) = instance.event_log_storage.get_asset_check_execution_history(
                dg.AssetCheckKey(dg.AssetKey(asset), check), limit=1
            )
            assert record.event.dagster_event.event_specific_data.passed, (asset, record.event)
        run = instance.get_run_by_id(runs["main"].run_id)
        assert run.tags[SOURCE_TAG] == "cli" and int(run.tags[PID_TAG]) > 0
        assert run.remote_job_origin is not None and run.job_code_origin is not None
        row = next(row for row in list_runs(settings, instance, 20) if row.id == run.run_id)
        assert (row.what, row.status, row.detail) == ("main_l5", "success", KEY)
        shown = describe_run(settings, instance, run.run_id[:8])
        assert shown.materialized == {"main_l5": 1} and shown.errors == []
        assert any("main_l5" in event.message for event in run_events(settings, instance, run.run_id, False))
    assert executors(settings) == []


def test_the_packaged_day_of_2019_is_built(settings):
    flows.import_recordings(settings, [CU1909], variety="cu")
    flows.update_schedule(settings, "cu")
    (main,) = flows.build_main(settings, "cu", None, None)
    rows = main.metadata["main_l5[2019-09-16|cu]"]["rows"]
    assert 0 < rows <= 200 and main.metadata["main_l5[2019-09-16|cu]"]["underlying_contract"] == "SHFE.cu1909"
    assert Lake(settings.data).days("main_l5", "KQ.m@SHFE.cu") == [date(2019, 9, 16)]


def test_a_second_build_changes_nothing_and_says_so(real_day):
    settings, runs = real_day
    lines: list[str] = []
    (again,) = flows.build_datasets(settings, "IF", None, None, progress=lines.append)
    assert any("was there" in line for line in lines)
    assert lines[0].startswith("run ") and " done in " in lines[-1]
    name = f"features[{KEY}]"
    assert again.metadata[name]["content_hash"] == runs["datasets"].metadata[name]["content_hash"]


def test_bars_of_a_recorded_day_come_from_its_ticks(real_day):
    settings, _ = real_day
    run = run_assets(settings, ["daily_bars", "raw_ticks"], KEY)
    assert run.metadata[f"daily_bars[{KEY}]"]["rows"] == 1
    (bar,) = Lake(settings.data).read_day("daily_bars", "IF", DAY).to_pylist()
    assert bar["symbol"] == "CFFEX.IF2101" and bar["low"] <= bar["close"] <= bar["high"] and bar["volume"] > 0
    flows.update_schedule(settings, "IF")


@pytest.mark.parametrize(
    ("selection", "partition", "message"),
    [
        ("no_such", None, "no asset 'no_such'"),
        ("main_l5", "2021-01-03|IF", "no partition"),
        ("main_l5", "2021-01-04|zz", "no partition"),
        ("main_l5", "2021-01-04|SR", "SR is none of the varieties this home has partitions for: cu, au, ag, IF"),
        ("main_schedule", "SR", "SR is none of the varieties this home has partitions for: cu, au, ag, IF"),
        ("main_l5", ("2021-01-05|IF", "2021-01-04|IF"), "starts after it ends"),
        ("main_l5", None, "needs a partition"),
        (["main_l5", "main_schedule"], "IF", "no partition"),
    ],
)
def test_nonsense_is_refused_before_a_run_exists(settings, selection, partition, message):
    with pytest.raises(UsageError, match=message):
        run_assets(settings, selection, partition)
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == 0


def test_an_error_of_ours_leaves_as_itself(settings):
    with pytest.raises(FailedError, match="no daily bars and no ticks of cu") as caught:
        run_assets(settings, "main_schedule", "cu")
    assert "download-contract-range" in caught.value.hint
    with open_instance(settings) as instance:
        (row,) = list_runs(settings, instance, 5)
        assert row.status == "failure"
        shown = describe_run(settings, instance, row.id)
        assert "no daily bars and no ticks of cu" in shown.errors[0]


def test_a_garbled_recording_writes_nothing(settings, tmp_path):
    bad = tmp_path / "IF2101_20210104.csv.gz"
    bad.write_bytes(b"\x1f\x8b garbage")
    with pytest.raises(BadRecordingError):
        flows.import_recordings(settings, [bad], variety="IF")
    assert not list(settings.data.rglob("*.parquet"))


def test_another_configuration_is_refused_unless_overwritten(real_day):
    settings, _ = real_day
    lake = Lake(settings.data)
    manifest = lake.manifest("features", "KQ.m@CFFEX.IF", DAY)
    table = lake.read_day("features", "KQ.m@CFFEX.IF", DAY)
    other = replace(manifest.features, spec_hash="another")
    lake.write_day("features", "KQ.m@CFFEX.IF", DAY, table, source="main_l5", details=other)
    with pytest.raises(RefusedError):
        flows.build_datasets(settings, "IF", None, None)
    flows.build_datasets(settings, "IF", None, None, BuildOptions(overwrite=True))
    assert lake.manifest("features", "KQ.m@CFFEX.IF", DAY).content_hash == manifest.content_hash


def test_no_lock_file_and_no_executor_is_left(real_day):
    settings, _ = real_day
    assert list((settings.dagster / "run_locks").iterdir()) == []
