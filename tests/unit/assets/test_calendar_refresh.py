"""The holiday list is refreshed by the asset and by `update`, and a list that cannot be right changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime

import dagster as dg
import numpy as np
import pytest

from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.partitions import build_partitions
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.runs.execute import run_assets
from ghtrader_base.settings import Settings
from ghtrader_market.reference.holiday_list import calendar_state
from ghtrader_market.reference.tick_schema import table_from_values
from ghtrader_market.reference.trading_calendar import SHANGHAI, bundled_calendar, holidays_path, load_calendar
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake
from tests.support.copper_day import whole_day
from tests.support.served_text import served_bytes, served_text

pytestmark = pytest.mark.clock

STORED = date(2026, 11, 27)
OF_2027 = [f"2027-{text}" for text in (
    "01-01", "02-05", "02-08", "02-09", "02-10", "02-11", "04-05", "05-03", "05-04", "10-01", "10-04", "10-05",
)]  # fmt: skip
WHOLE = [*map(str, bundled_calendar().holidays), *OF_2027]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    with served_text() as (url, body):
        monkeypatch.setenv("TQ_CHINESE_HOLIDAY_URL", url)
        yield body


def test_lists_served_one_after_the_other(listed: dict[str, bytes], settings: Settings) -> None:
    settings = settings.model_copy(update={"tq_chinese_holiday_url": listed["url"].decode()})
    times, values = whole_day(STORED, 60.0)
    table = table_from_values(np.arange(len(times)), times, values)
    Lake(settings.data).write_day("ticks", "SHFE.cu2701", STORED, table, source="tqsdk")
    resource = HomeResource(home=str(settings.home))
    year_end = datetime(2026, 12, 31, 21, tzinfo=SHANGHAI)
    with TqSdkSource(settings) as source:
        for text, told in (
            (json.dumps(WHOLE)[:-20], "not usable"),
            (json.dumps([*WHOLE, str(STORED)]), f"it calls {STORED} a holiday, and ticks of that day are stored"),
            (json.dumps([day for day in WHOLE if day < "2026-06"]), "it breaks off on 2026-05-05"),
        ):
            listed["it"] = text.encode()
            assert told in resource.refresh_calendar(source)
            assert told in calendar_state(settings).refused and not holidays_path(settings.data).exists()
            assert build_partitions(load_calendar(settings), ("cu",), year_end).last_day == date(2026, 12, 31)
        listed["it"] = json.dumps(WHOLE).encode()
        assert "reaches 2027-12-31 now" in resource.refresh_calendar(source)
    assert resource.calendar.next_day(date(2026, 12, 31)) == date(2027, 1, 4)
    assert build_partitions(load_calendar(settings), ("cu",), year_end).last_day == date(2026, 12, 31)
    new_year = build_partitions(load_calendar(settings), ("cu",), datetime(2027, 1, 4, 17, 30, tzinfo=SHANGHAI))
    assert new_year.last_day == date(2027, 1, 4) and new_year.split([date(2027, 1, 1)])[0] == []
    assert Lake(settings.data).has_day("ticks", "SHFE.cu2701", STORED)


def test_the_asset_refreshes_and_its_check_warns(listed: dict[str, bytes], settings: Settings, monkeypatch) -> None:
    listed["it"] = json.dumps(WHOLE).encode()
    monkeypatch.setenv("GHTRADER_HOME", str(settings.home))
    made = run_assets(settings, "trading_calendar").metadata["trading_calendar"]
    assert made["last"] == "2027-12-31" and made["refreshed"] == "the holiday list reaches 2027-12-31 now"
    monkeypatch.setenv("TQ_CHINESE_HOLIDAY_URL", "http://127.0.0.1:1/none.json")
    made = run_assets(settings, "trading_calendar").metadata["trading_calendar"]
    assert made["last"] == "2027-12-31" and "no holiday list at http://127.0.0.1:1" in made["refreshed"]
    with open_instance(settings) as instance:
        (record,) = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("trading_calendar"), "holiday_list"), limit=1
        )
    found = record.event.dagster_event.event_specific_data
    left = (date(2027, 12, 31) - datetime.now(SHANGHAI).date()).days
    assert found.passed is (left >= 60) and found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["days_left"].value == left


def test_a_torn_answer_stops_no_update(settings: Settings) -> None:
    resource = HomeResource(home=str(settings.home))
    with served_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n[1,") as url:
        settings = settings.model_copy(update={"tq_chinese_holiday_url": url})
        with TqSdkSource(settings) as source:
            told = resource.refresh_calendar(source)
    assert "breaks off after 3 bytes" in told and f"the holiday list at hand reaches {bundled_calendar().last}" in told
