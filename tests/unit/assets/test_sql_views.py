"""SQL views over a home that the pipeline filled, and over an empty one."""

import pytest

from ghtrader_assets.results.run_metrics import SCHEMA, run_metrics
from ghtrader_base.errors import UsageError
from ghtrader_market.sql.query import query

pytestmark = pytest.mark.clock


def test_views_hold_what_the_manifests_say(real_day):
    settings, runs = real_day
    found = query(settings.data, "select symbol, date, count(*) as n from ticks_main_l5_v2 group by all").to_pylist()
    rows = runs["main"].metadata["main_l5[2021-01-04|IF]"]["rows"]
    assert [(row["symbol"], str(row["date"]), row["n"]) for row in found] == [("KQ.m@CFFEX.IF", "2021-01-04", rows)]
    joined = "select count(*) as n from features_all join labels_all using (symbol, date, datetime_ns)"
    assert query(settings.data, joined).to_pylist()[0]["n"] >= rows


def test_explain_analyze_is_no_way_to_write(real_day):
    settings, _ = real_day
    with pytest.raises(UsageError):
        query(settings.data, f"explain analyze copy (select 1) to '{settings.data}/x.csv'")
    assert not (settings.data / "x.csv").exists()


def test_an_empty_home_has_no_views_and_an_empty_metrics_table(settings):
    metrics = run_metrics(settings)
    assert metrics.schema == SCHEMA
    assert query(settings.data, "select count(*) n from run_metrics", metrics=lambda: metrics).to_pylist() == [{"n": 0}]
    with pytest.raises(UsageError, match="ticks_raw_v2"):
        query(settings.data, "select * from ticks_raw_v2")
