"""Readiness: the six fields of good, thin, damaged, absent and outdated days; what is kept and when it is believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.ingest.import_recordings import import_recordings
from ghtrader_market.main_series.main_l5 import build_main_l5_day
from ghtrader_market.quality.readiness import Thresholds, day_quality, readiness, schedule_now
from ghtrader_market.quality.store import quality_path
from ghtrader_market.reference.roll_schedule import (
    load_schedule,
    save_schedule,
    schedule_from_open_interest,
    schedule_path,
)
from ghtrader_market.reference.tick_schema import COLUMN_INDEX as C
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.stores.lake.lake import Lake
from tests.support.copper_day import CONTRACT, DAY, whole_day

CALENDAR = bundled_calendar()
KEY = "KQ.m@SHFE.cu"
TicksOf = Callable[..., pa.Table]


@pytest.fixture
def store(settings: Settings, ticks_of: TicksOf) -> Callable[..., Lake]:
    """`store(values=None, keep=None, source="tqsdk")` writes the day's ticks, some rows of it, or bent ones."""

    def write(values: np.ndarray | None = None, keep: np.ndarray | None = None, source: str = "tqsdk") -> Lake:
        times, whole = whole_day()
        values = whole if values is None else values
        keep = np.ones(len(times), bool) if keep is None else keep
        lake = Lake(settings.data)
        lake.write_day("ticks", CONTRACT, DAY, ticks_of(times[keep], values[:, keep]), source=source)
        return lake

    return write


def states(settings: Settings, dataset: str = "ticks", symbol: str = CONTRACT, day: date = DAY) -> tuple[str, ...]:
    found = readiness(settings, dataset, symbol, day)
    assert bool(found.action_hint) is (found.reason_code != "ok")
    return (
        found.engineering_state,
        found.source_state,
        found.policy_state,
        found.overall_state,
        found.reason_code,
    )


def test_a_whole_day_is_ready(settings: Settings, store: Callable[..., Lake]) -> None:
    store()
    assert states(settings) == ("ok", "complete", "allowed", "ready", "ok")
    assert readiness(settings, "ticks", CONTRACT, DAY).ready


def test_a_clock_of_whole_seconds_harms_nothing(settings: Settings) -> None:
    """The recorded day with its times cut to the second: two rows a second, and the day is as ready as before."""
    lake = Lake(settings.data)
    import_recordings([Path(IF2101)], lake, CALENDAR, "IF")
    symbol, day = "CFFEX.IF2101", date(2021, 1, 4)
    before, table = readiness(settings, "ticks", symbol, day), lake.read_day("ticks", symbol, day)
    seconds = table["datetime_ns"].to_numpy() // 10**9 * 10**9
    lake.write_day("ticks", symbol, day, table.set_column(1, table.schema.field(1), pa.array(seconds)), source="test")
    found = day_quality(settings, "ticks", symbol, day)
    assert [(one.kind, one.count) for one in found.anomalies] == [("duplicate_time", 13_647)]
    assert found.readiness == before and before.overall_state == "ready"

    twice = np.sort(np.concatenate([np.arange(table.num_rows), np.arange(0, 30)]))
    lake.write_day("ticks", symbol, day, table.take(pa.array(twice)), source="test")
    found = day_quality(settings, "ticks", symbol, day)
    assert (found.readiness.overall_state, found.readiness.reason_code) == ("not_ready", "duplicate_row")


def test_a_day_that_is_not_here(settings: Settings, store: Callable[..., Lake]) -> None:
    assert states(settings) == ("missing", "unknown", "blocked", "not_ready", "missing")
    assert "ghtrader download --symbol" in readiness(settings, "ticks", CONTRACT, DAY).action_hint
    assert states(settings, "main_l5", KEY)[0] == "missing"
    with pytest.raises(UsageError, match="no quality of 'features'"):
        readiness(settings, "features", KEY, DAY)


def test_damage_blocks_from_its_share_on_and_some_at_once(settings: Settings, store: Callable[..., Lake]) -> None:
    times, values = whole_day()
    few, many = int(0.001 * len(times)), int(0.001 * len(times)) + 1
    for rows, state in ((few, "degraded"), (many, "not_ready")):
        bent = values.copy()
        bent[C["bid_price1"], 200 : 200 + rows] = bent[C["ask_price1"], 200 : 200 + rows] + 10
        store(bent)
        assert states(settings)[1:] == (
            "anomalous",
            "blocked" if state == "not_ready" else "allowed",
            state,
            "crossed_book",
        )
    assert not readiness(settings, "ticks", CONTRACT, DAY).ready
    assert "--accept-quality" in readiness(settings, "ticks", CONTRACT, DAY).action_hint


def test_a_missing_night_blocks_a_download_and_not_a_recording(
    settings: Settings, store: Callable[..., Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    day_only = whole_day()[0] >= CALENDAR.sessions("cu", DAY)[1][0]
    store(keep=day_only)
    assert states(settings) == ("ok", "partial", "blocked", "not_ready", "night_missing")
    store(keep=day_only, source="recording:mine.csv")
    assert states(settings) == ("ok", "partial", "allowed", "degraded", "night_missing")
    monkeypatch.setenv("GHTRADER_QUALITY_PARTIAL_RECORDINGS", "false")
    assert states(load_settings(settings.home))[3] == "not_ready"


def test_a_hole_blocks_from_its_length_on(settings: Settings, store: Callable[..., Lake]) -> None:
    n = len(whole_day()[0])
    for rows, state in ((100, "degraded"), (600, "not_ready")):
        store(keep=(np.arange(n) < 200) | (np.arange(n) >= 200 + rows))
        assert states(settings)[3:] == (state, "gap")


def test_events_of_the_market_are_told_and_block_nothing(settings: Settings, store: Callable[..., Lake]) -> None:
    values = whole_day()[1]
    values[[C[f"ask_price{i}"] for i in range(1, 6)], 3000:] = np.nan
    store(values)
    assert states(settings) == ("ok", "anomalous", "allowed", "degraded", "limit_move")


def test_corrupt_files(settings: Settings, store: Callable[..., Lake]) -> None:
    lake = store()
    (path,) = lake.files("ticks")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert states(settings) == ("corrupt", "unknown", "blocked", "not_ready", "corrupt")
    path.unlink()
    assert states(settings)[0] == "corrupt"
    path.write_bytes(whole)
    assert states(settings)[0] == "ok"
    (path.parent / "_manifest.json").write_text("{")
    assert states(settings)[0] == "corrupt"


def test_main_l5_is_outdated_when_ticks_or_schedule_change(
    settings: Settings, store: Callable[..., Lake], ticks_of: TicksOf
) -> None:
    lake = store()
    bars = [{"symbol": CONTRACT, "trading_day": day, "open_interest": 1.0} for day in (CALENDAR.previous_day(DAY), DAY)]
    schedule = schedule_from_open_interest("cu", pa.Table.from_pylist(bars))
    save_schedule(settings.data, schedule)
    build_main_l5_day(lake, CALENDAR, schedule, DAY)
    assert states(settings, "main_l5", KEY) == ("ok", "complete", "allowed", "ready", "ok")
    store(whole_day(seed=7)[1])
    assert states(settings, "main_l5", KEY) == ("outdated", "unknown", "blocked", "not_ready", "outdated")
    build_main_l5_day(lake, CALENDAR, schedule, DAY)
    assert states(settings, "main_l5", KEY)[3] == "ready"
    earlier = {"symbol": CONTRACT, "trading_day": date(2025, 2, 7), "open_interest": 1.0}
    save_schedule(settings.data, schedule_from_open_interest("cu", pa.Table.from_pylist([earlier, *bars])))
    assert load_schedule(settings.data, "cu").get(DAY) != schedule.get(DAY)
    assert states(settings, "main_l5", KEY)[0] == "outdated"


def test_a_schedule_is_read_once_for_many_days(settings: Settings, store: Callable[..., Lake]) -> None:
    lake = store()
    bars = [{"symbol": CONTRACT, "trading_day": day, "open_interest": 1.0} for day in (CALENDAR.previous_day(DAY), DAY)]
    save_schedule(settings.data, schedule := schedule_from_open_interest("cu", pa.Table.from_pylist(bars)))
    build_main_l5_day(lake, CALENDAR, schedule, DAY)
    assert schedule_now(settings, CONTRACT) is None and schedule_now(settings, KEY) == schedule
    before = readiness(settings, "main_l5", KEY, DAY, calendar=CALENDAR)
    schedule_path(settings.data, "cu").write_text("{")
    assert readiness(settings, "main_l5", KEY, DAY, calendar=CALENDAR, schedule=schedule) == before, "not read again"
    assert schedule_now(settings, KEY) is None
    assert readiness(settings, "main_l5", KEY, DAY).action_hint == "ghtrader main-schedule --var cu"


def test_what_is_kept_is_believed_for_the_same_file_and_thresholds_only(
    settings: Settings, store: Callable[..., Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = store(keep=np.arange(len(whole_day()[0])) % 100 > 40)
    first = day_quality(settings, "ticks", CONTRACT, DAY)
    path = quality_path(lake, "ticks", CONTRACT, DAY)
    kept = path.read_text()
    assert day_quality(settings, "ticks", CONTRACT, DAY) == first and first.anomalies and path.read_text() == kept
    path.write_text(kept.replace('"ok"', '"told"', 1))
    assert readiness(settings, "ticks", CONTRACT, DAY).engineering_state == "told", "it is read, not counted again"
    path.write_text("{")
    assert day_quality(settings, "ticks", CONTRACT, DAY) == first, "garbage is counted again"
    path.write_text(kept.replace('"ok"', '"told"', 1))
    monkeypatch.setenv("GHTRADER_QUALITY_GAP_S", "1000")
    stricter = load_settings(settings.home)
    assert Thresholds.of(stricter).hash != Thresholds.of(settings).hash
    assert readiness(stricter, "ticks", CONTRACT, DAY).engineering_state == "ok"
    (file,) = lake.files("ticks")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert readiness(stricter, "ticks", CONTRACT, DAY).engineering_state == "corrupt"


def test_both_real_recordings(settings: Settings) -> None:
    lake = Lake(settings.data)
    import_recordings([Path(IF2101)], lake, CALENDAR, "IF")
    import_recordings([Path(CU1909)], lake, CALENDAR)
    index_day = day_quality(settings, "ticks", "CFFEX.IF2101", date(2021, 1, 4))
    assert index_day.anomalies == () and index_day.profile.levels == 1
    assert index_day.readiness.to_json() | {"action_hint": ""} == {
        "dataset": "ticks",
        "symbol": "CFFEX.IF2101",
        "day": "2021-01-04",
        "engineering_state": "ok",
        "source_state": "one_level",
        "policy_state": "allowed",
        "overall_state": "ready",
        "reason_code": "one_level",
        "action_hint": "",
    }
    # One hour of a day: nothing in it is odd, and what lies before it is missing, as it is.
    copper = day_quality(settings, "ticks", "SHFE.cu1909", date(2019, 9, 16))
    assert {anomaly.kind for anomaly in copper.anomalies} == {"gap", "session_missing"}
    assert copper.profile.levels == 5 and copper.readiness.overall_state == "degraded"


def test_a_day_that_a_newer_list_calls_a_holiday_is_not_ready_and_named(
    settings: Settings, store: Callable[..., Lake]
) -> None:
    store()
    for calendar in (
        TradingCalendar([*CALENDAR.holidays, DAY], CALENDAR.first, CALENDAR.last),
        TradingCalendar(CALENDAR.holidays, CALENDAR.first, date(2025, 1, 31)),
    ):
        found = readiness(settings, "ticks", CONTRACT, DAY, calendar=calendar)
        assert (found.overall_state, found.reason_code) == ("not_ready", "no_trading_day") and found.action_hint
