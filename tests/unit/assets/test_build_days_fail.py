"""Through the pipeline: one day without segment_id fails by name, the others are built and reported."""

import json
import shutil
from datetime import date

import dagster as dg
import numpy as np
import pytest

from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.build_options import BuildOptions
from ghtrader_assets.runs.evening import Evening
from ghtrader_assets.runs.inspect import list_runs
from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError, UnreachableError, UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake

pytestmark = pytest.mark.clock

CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2025, 4, 1), date(2025, 4, 3))
CONTRACT, SYMBOL = "SHFE.cu2506", "KQ.m@SHFE.cu"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Settings:
    """Three days of one contract, declared as the main one, up to main_l5."""
    settings = load_settings(tmp_path_factory.mktemp("built"))
    lake = Lake(settings.data)
    for number, day in enumerate(DAYS):
        rng = np.random.default_rng(number)
        times = np.concatenate([np.arange(a, b, 30 * 10**9) for a, b in CALENDAR.sessions("cu", day)])
        n, values = len(times), np.zeros((27, len(times)))
        bid = 7000 + np.cumsum(rng.integers(-1, 2, n))
        values[COLUMN_INDEX["last_price"]] = values[COLUMN_INDEX["average"]] = bid * 10.0
        values[COLUMN_INDEX["volume"]], values[COLUMN_INDEX["amount"]] = np.arange(n), np.arange(n) * 350_000.0
        values[COLUMN_INDEX["open_interest"]] = 1000
        for level in range(1, 6):
            for side, price in (("bid", bid - level + 1), ("ask", bid + level)):
                values[COLUMN_INDEX[f"{side}_price{level}"]] = price * 10.0
                values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 60, n)
        lake.write_day("ticks", CONTRACT, day, table_from_values(np.arange(n), times, values), source="recording:test")
    declared = {str(day): CONTRACT for day in DAYS}
    (settings.data / "declared").mkdir(parents=True)

    (settings.data / "declared" / "cu.json").write_text(json.dumps(declared))
    flows.update_schedule(settings, "cu")
    flows.build_main(settings, "cu", None, None)
    return settings


@pytest.fixture
def home(built, tmp_path) -> Settings:
    """A home of its own with the same data."""
    settings = load_settings(tmp_path)
    shutil.copytree(built.data, settings.data)
    return settings


@pytest.mark.parametrize("blank", [False, True])
def test_a_day_without_segment_id_is_named_and_the_others_are_there(home, blank):
    import pyarrow as pa

    lake = Lake(home.data)
    table = lake.read_day("main_l5", SYMBOL, DAYS[1])
    place = table.schema.get_field_index("segment_id")
    changed = table.remove_column(place)
    if blank:
        changed = table.set_column(place, "segment_id", pa.nulls(table.num_rows, pa.int32()))
    manifest = lake.manifest("main_l5", SYMBOL, DAYS[1])
    lake.write_day(
        "main_l5", SYMBOL, DAYS[1], changed, schema=changed.schema, source=manifest.source, details=manifest.details
    )
    with pytest.raises(GhtraderError) as failure:
        flows.build_datasets(home, "cu", None, None)
    assert failure.value.exit_code == 1 and isinstance(failure.value, IntegrityError)
    assert "segment_id" in failure.value.message and str(DAYS[1]) in failure.value.message
    good = [DAYS[0], DAYS[2]]
    assert lake.days("features", SYMBOL) == lake.days("labels", SYMBOL) == good
    with open_instance(home) as instance:
        for name in ("features", "labels"):
            made = instance.get_materialized_partitions(dg.AssetKey(name))
            assert made == {f"{day}|cu" for day in good}
    (run,) = flows.build_datasets(home, "cu", None, None, BuildOptions(strict=False))
    assert run.success and lake.days("features", SYMBOL) == good


def test_one_contract_is_observed_and_its_days_are_not_the_main_series(home):
    run = flows.build_contract(home, CONTRACT, None, None, BuildOptions(labels="cost_aware", horizons=(5,)))
    assert set(run.metadata) == {f"observed {name}[{day}|cu]" for name in ("features", "labels") for day in DAYS}
    lake = Lake(home.data)
    assert lake.days("features", CONTRACT) == list(DAYS) and lake.days("features", SYMBOL) == []
    assert lake.manifest("labels", CONTRACT, DAYS[0]).label_spec.definition == "cost_aware"
    with open_instance(home) as instance:
        assert not instance.get_materialized_partitions(dg.AssetKey("features"))
    with pytest.raises(GhtraderError, match="no ticks of SHFE.cu2507"):
        flows.build_contract(home, "SHFE.cu2507", None, None)


def test_a_label_definition_that_is_none_is_refused(home):
    with pytest.raises(UsageError, match="unknown label definition"):
        flows.build_datasets(home, "cu", None, None, BuildOptions(labels="tomorrow"))


def _materialized(settings: Settings, asset: str) -> set[str]:
    with open_instance(settings) as instance:
        return instance.get_materialized_partitions(dg.AssetKey(asset))


def test_an_evening_builds_what_is_due_names_the_rest_and_does_nothing_twice(home):
    lake = Lake(home.data)
    lake.delete_day("main_l5", SYMBOL, DAYS[1])
    (lake.day_path("ticks", CONTRACT, DAYS[1]) / "_manifest.json").write_text("garbled")
    evening = Evening(settings=home, days=DAYS, materialized=lambda asset: _materialized(home, asset))
    away = UnreachableError("no quote service", "start it")
    missing = evening.attempt("cu", away)
    assert [(one.asset, one.later) for one in missing] == [("raw_ticks", True), ("main_l5", False)]
    assert str(DAYS[1]) in missing[1].error.message
    assert lake.days("features", SYMBOL) == lake.days("labels", SYMBOL) == [DAYS[0], DAYS[2]]
    assert _materialized(home, "features") == {f"{day}|cu" for day in (DAYS[0], DAYS[2])}
    with open_instance(home) as instance:
        before = instance.get_runs_count()
    again = evening.attempt("cu", away)
    with open_instance(home) as instance:
        (row,) = list_runs(home, instance, instance.get_runs_count() - before)
    assert (row.what, row.detail, row.status) == ("main_l5", f"{DAYS[1]}|cu", "failure")
    assert [str(one) for one in again] == [str(one) for one in missing]


def test_a_garbled_day_of_features_holds_up_no_other(home):
    lake = Lake(home.data)
    flows.build_datasets(home, "cu", DAYS[0], DAYS[1])
    (lake.day_path("features", SYMBOL, DAYS[0]) / "_manifest.json").write_text("garbled")
    with pytest.raises(IntegrityError, match=str(DAYS[0])):
        flows.build_datasets(home, "cu", None, None)
    assert _materialized(home, "features") == {f"{day}|cu" for day in DAYS}
    assert lake.manifest("features", SYMBOL, DAYS[2]).rows > 0
    flows.build_datasets(home, "cu", None, None, BuildOptions(overwrite=True))
    assert lake.manifest("features", SYMBOL, DAYS[0]).rows > 0


def test_days_without_ticks_are_named_and_the_others_of_the_range_are_built(home):
    lake = Lake(home.data)
    for day in DAYS:
        lake.delete_day("main_l5", SYMBOL, day)
    lake.delete_day("ticks", CONTRACT, DAYS[1])
    with pytest.raises(FailedError, match=f"1 of 3 days have no ticks of cu's main contract: {DAYS[1]}"):
        flows.build_main(home, "cu", DAYS[0], DAYS[2])
    assert lake.days("main_l5", SYMBOL) == [DAYS[0], DAYS[2]]
