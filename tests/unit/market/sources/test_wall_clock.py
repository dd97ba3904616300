"""Times of recordings: whatever way they are written, and no wall clock is taken for UTC."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.samples import CU1909
from ghtrader_market.sources.recordings.columns import Columns
from ghtrader_market.sources.recordings.reader import parse_recording
from ghtrader_market.sources.recordings.wall_clock import (
    Clock,
    Moments,
    days_of,
    epoch_ns,
    local_to_utc,
    read_moments,
    require_zone,
    time_of_day_ns,
    utc_times,
)

CALENDAR, CU = bundled_calendar(), get_variety("cu")
SAMPLE = pd.read_csv(CU1909)
HOUR = 3_600_000_000_000
MOMENT = 1_568_613_693_500_000_000
"""2019-09-16 14:01:33.5 in Shanghai."""
ZONED = pd.Timestamp(MOMENT, tz="Asia/Shanghai")


def text(*cells: str) -> Columns:
    return Columns("a.csv", pa.table({"t": list(cells)}), lines=True)


def typed(values: object, kind: pa.DataType | None = None) -> Columns:
    return Columns("a.parquet", pa.table({"t": pa.array(values, kind)}), lines=False)


@pytest.mark.parametrize(
    ("column", "clock"),
    [
        (text(str(MOMENT)), Clock.EPOCH),
        (text(f"{MOMENT}.0"), Clock.EPOCH),
        (text("1568613693.5"), Clock.EPOCH),
        (text("1568613693500"), Clock.EPOCH),
        (typed([1568613693500000]), Clock.EPOCH),
        (typed([1568613693.5]), Clock.EPOCH),
        (typed([MOMENT], pa.uint64()), Clock.EPOCH),
        (text("20190916140133500"), Clock.WALL),
        (typed([20190916140133500]), Clock.WALL),
        (text("2019-09-16 14:01:33.500"), Clock.WALL),
        (text("2019-09-16T14:01:33.5"), Clock.WALL),
        (text("2019/9/16 14:01:33.500000"), Clock.WALL),
        (text("20190916 14:01:33:500"), Clock.WALL),
        (text("2019-09-16 14:01:33.500+08:00"), Clock.ZONED),
        (text("2019-09-16 06:01:33.500 +0000"), Clock.ZONED),
        (text("2019-09-16T06:01:33.500Z"), Clock.ZONED),
        (typed([ZONED.tz_localize(None)], pa.timestamp("ms")), Clock.WALL),
        (typed([ZONED], pa.timestamp("us", "Asia/Shanghai")), Clock.ZONED),
        (typed([ZONED], pa.timestamp("ns", "America/New_York")), Clock.ZONED),
        (typed(["2019-09-16 14:01:33.500"]), Clock.WALL),
    ],
    ids=str,
)
def test_one_moment_in_many_ways(column: Columns, clock: Clock) -> None:
    moments = read_moments(column, "t")
    assert moments.clock is clock
    assert utc_times(moments, CU, CALENDAR, None, "a").tolist() == [MOMENT]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (text("yesterday"), r"a.csv: line 2, column t: 'yesterday' is not a time"),
        (text("2019-09-16 14:01:33", "2019-09-31 14:01:33"), r"line 3, column t: '2019-09-31 14:01:33' is not a time"),
        (text("2019-09-16 14:01:33", ""), r"line 3, column t: is empty"),
        (text(str(MOMENT), "7"), r"line 3, column t: 7 is no time between 1995 and 2100"),
        (text("20190916140133500", "20190931140133500"), r"line 3, column t: 20190931140133500 is no time"),
        (typed([ZONED, None], pa.timestamp("ns", "UTC")), r"a.parquet: row 2, column t: is empty"),
        (typed([date(2019, 9, 16)]), r"column t: .* is not a whole number"),
        (
            typed([datetime(2019, 9, 16), datetime(3000, 1, 1)], pa.timestamp("us")),
            r"row 2, column t: .* is not a time",
        ),
        (
            typed([datetime(2019, 9, 16), datetime(3000, 1, 1)], pa.timestamp("us", "UTC")),
            r"row 2, column t: .* is not",
        ),
    ],
    ids=str,
)
def test_what_is_no_time_is_named(column: Columns, message: str) -> None:
    with pytest.raises(BadRecordingError, match=message):
        read_moments(column, "t")


@given(st.integers(-(10**6), 10**6), st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]))
def test_epoch_numbers_of_any_unit(offset_s: int, unit: int) -> None:
    ns = (1_568_613_693 + offset_s) * 1_000_000_000
    assert epoch_ns(np.array([ns // unit])).tolist() == [ns]
    assert epoch_ns(np.array([ns / unit])).tolist() == [pytest.approx(ns, abs=512)]


@settings(deadline=None)
@given(st.datetimes(pd.Timestamp("2006-01-01").to_pydatetime(), pd.Timestamp("2026-12-31").to_pydatetime()))
def test_a_zone_shifts_like_the_systems_own(moment: object) -> None:
    wall = pd.Timestamp(moment)
    for zone in ("Asia/Shanghai", "UTC", "Europe/Berlin"):
        stamp = wall.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
        found = int(local_to_utc(np.array([wall.value]), zone)[0])
        assert abs(found - stamp.value) <= HOUR if zone == "Europe/Berlin" else found == stamp.value


def naive(frame: pd.DataFrame, hours: int) -> bytes:
    """The frame as Parquet, its times as timestamps without a zone so many hours ahead of UTC."""
    import io

    import pyarrow.parquet as pq

    times = pa.array(frame["datetime"].to_numpy() + hours * HOUR).cast(pa.timestamp("ns"))
    table = pa.Table.from_pandas(frame.drop(columns="datetime")).append_column("datetime", times)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_fourteen_oclock_without_a_zone_is_fourteen_oclock_in_shanghai() -> None:
    """It was taken for UTC: 22:01, and the trading day after."""
    ((symbol, day, table),) = parse_recording(naive(SAMPLE, 8), "SHFE.cu1909.parquet")
    assert (symbol, day) == ("SHFE.cu1909", date(2019, 9, 16))
    np.testing.assert_array_equal(table["datetime_ns"].to_numpy(), SAMPLE["datetime"].to_numpy())


def test_six_oclock_without_a_zone_is_refused() -> None:
    with pytest.raises(BadRecordingError) as caught:
        parse_recording(naive(SAMPLE, 0), "SHFE.cu1909.parquet")
    assert caught.value.message == (
        "SHFE.cu1909.parquet, column datetime: the times do not say their zone; read as Asia/Shanghai, 0% of the rows "
        "lie in a session of cu, as UTC 100%"
    )
    assert caught.value.hint == (
        "say which zone its clock shows: --time-zone UTC where it is another one; --time-zone Asia/Shanghai takes it "
        "as it was read, rows outside of the sessions included"
    )


def test_rows_after_the_night_of_copper_are_not_said_to_be_utc() -> None:
    """Its night ends at 01:00, and 02:00 as UTC is in the morning: both readings are named, and either is taken."""
    late = hours_of("2019-09-17", "02:00", 20)
    shown = Moments(late + 8 * HOUR, Clock.WALL, "t")
    with pytest.raises(BadRecordingError) as caught:
        utc_times(shown, CU, CALENDAR, None, "a.csv")
    assert "--time-zone UTC where" in caught.value.hint and "--time-zone Asia/Shanghai takes" in caught.value.hint
    assert (utc_times(shown, CU, CALENDAR, "Asia/Shanghai", "a.csv") == late).all()


def hours_of(day: str, first: str, count: int, seconds: int = 60) -> np.ndarray:
    """UTC epoch ns of a stretch of Shanghai time."""
    start = pd.Timestamp(f"{day} {first}", tz="Asia/Shanghai").value
    return start + np.arange(count) * seconds * 1_000_000_000


def whole_day() -> np.ndarray:
    night = hours_of("2019-09-16", "21:00", 240)
    morning, late, afternoon = (
        hours_of("2019-09-17", first, count) for first, count in (("09:00", 75), ("10:30", 60), ("13:30", 90))
    )
    return np.concatenate([night, morning, late, afternoon])


def test_epoch_numbers_that_count_the_wall_clock_are_refused() -> None:
    numbers = Moments(whole_day() + 8 * HOUR, Clock.EPOCH, "ts")
    with pytest.raises(BadRecordingError, match="read as UTC, .* as Asia/Shanghai 100%"):
        utc_times(numbers, CU, CALENDAR, None, "a.npz")
    assert (utc_times(numbers, CU, CALENDAR, "Asia/Shanghai", "a.npz") == whole_day()).all()
    right = Moments(whole_day(), Clock.EPOCH, "ts")
    assert (utc_times(right, CU, CALENDAR, None, "a.npz") == whole_day()).all()
    with pytest.raises(BadRecordingError) as caught:
        utc_times(right, CU, CALENDAR, "Asia/Shanghai", "a.npz")
    assert caught.value.hint == "leave out --time-zone: as UTC they fit"


def test_a_stretch_of_the_night_is_no_afternoon() -> None:
    """Epoch numbers are UTC where they fit, and a clock without a zone is Shanghai's where it fits."""
    night = hours_of("2019-09-16", "21:30", 60)
    assert (utc_times(Moments(night, Clock.EPOCH, "t"), CU, CALENDAR, None, "a") == night).all()
    assert (utc_times(Moments(night + 8 * HOUR, Clock.WALL, "t"), CU, CALENDAR, None, "a") == night).all()


def test_another_zone_is_what_the_user_says() -> None:
    shown = Moments(whole_day() + HOUR, Clock.WALL, "t")  # London in September
    with pytest.raises(BadRecordingError) as caught:
        utc_times(shown, CU, CALENDAR, None, "a.csv")
    assert "--time-zone" in (caught.value.hint or "")
    assert (utc_times(shown, CU, CALENDAR, "Europe/London", "a.csv") == whole_day()).all()
    with pytest.raises(UsageError, match="there is no time zone 'Shanghai'"):
        require_zone("Shanghai")


def test_dates_and_times_of_day() -> None:
    want = np.array(["2019-09-16", "NaT"], "datetime64[D]")
    for cells in (["20190916", ""], ["2019-09-16", "0"], ["2019/9/16", "#N/A"], ["20190916.0", "nan"]):
        np.testing.assert_array_equal(days_of(text(*cells), "t"), want)
    np.testing.assert_array_equal(days_of(typed([date(2019, 9, 16), None]), "t"), want)
    np.testing.assert_array_equal(days_of(typed([20190916, None]), "t"), want)
    at_night = pd.Timestamp("2019-09-16 00:00:00.5", tz="Asia/Shanghai")
    for stamp in (at_night, at_night.tz_localize(None)):
        for unit in ("s", "ms", "us", "ns"):
            stamps = pa.array([stamp, None], pa.timestamp("ns", stamp.tz and "Asia/Shanghai"))
            cells = stamps.cast(pa.timestamp(unit, stamps.type.tz), safe=False)
            np.testing.assert_array_equal(days_of(typed(cells), "t"), want)
    with pytest.raises(BadRecordingError, match="line 3, column t: 20190931 is no date"):
        days_of(text("20190916", "20190931"), "t")
    noon = (14 * 3600 + 93) * 1_000_000_000
    for cell, ns in (("14:01:33", 0), ("14:01:33.500", 500_000_000), ("140133", 0), ("140133500", 500_000_000)):
        assert time_of_day_ns(text(cell), "t").tolist() == [noon + ns]
    with pytest.raises(BadRecordingError, match="line 2, column t: '14:61:00' is no time of day"):
        time_of_day_ns(text("14:61:00"), "t")
