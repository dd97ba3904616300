"""Every layout: one source day, written by the layouts' own libraries, comes back as the same ticks."""

from __future__ import annotations

import contextlib
import gzip
import io
import sqlite3
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, VALUE_COLUMNS, table_hash
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.recordings.contract_rows import ColumnMap, ReadOptions, RecordedDay, check_day
from ghtrader_market.sources.recordings.layouts.hftbacktest_npz import snapshots
from ghtrader_market.sources.recordings.layouts.mapped_columns import check_column_map, load_column_map
from ghtrader_market.sources.recordings.layouts.registry import LAYOUTS, layout_of
from ghtrader_market.sources.recordings.layouts.wondertrader_dsb import read_ticks
from ghtrader_market.sources.recordings.reader import parse_recording, read_days, read_recording
from ghtrader_market.sources.recordings.recording_file import RecordingFile

FOLDER = Path(__file__).parents[3] / "fixtures/recordings"
SOURCE = pd.read_csv(FOLDER / "tqsdk_SHFE.cu1910.csv")
CALENDAR = bundled_calendar()
BOOK = VALUE_COLUMNS[7:]
NO_AVERAGE = tuple(name for name in VALUE_COLUMNS if name != "average")


@dataclass(frozen=True)
class Case:
    """A file, its layout, and the tick columns it has."""

    file: str
    layout: str
    has: tuple[str, ...] = VALUE_COLUMNS
    to_seconds: bool = False


CASES = [
    Case("tqsdk_SHFE.cu1910.csv", "tqsdk"),
    Case("tqsdk_downloader.csv", "tqsdk-downloader"),
    Case("ctp_logger.csv", "ctp"),
    Case("ctp_vendor_gb18030.csv", "ctp", to_seconds=True),
    Case("ctp_dce_dates_bom.csv", "ctp"),
    Case("vnpy_database.db", "vnpy-database", NO_AVERAGE),
    Case("vnpy.csv", "vnpy-csv", NO_AVERAGE),
    Case("wondertrader.dsb", "wondertrader-dsb"),
    Case("wondertrader_dumped.csv", "wondertrader-csv"),
    Case("SHFE.cu1910.npz", "hftbacktest", ("last_price", *BOOK)),
    Case("parquet_zoned.parquet", "tqsdk"),
    Case("parquet_naive.parquet", "tqsdk"),
    Case("mapped.csv", "columns", ("last_price", "volume", "amount", *BOOK[:8])),
]


def read(path: Path, columns: ColumnMap | None = None, zone: str | None = None) -> list[RecordedDay]:
    options = ReadOptions(calendar=CALENDAR, columns=columns, time_zone=zone)
    file = RecordingFile(str(path), path=path)
    return [check_day(part, options) for part in read_days(file, options)]


def numbers(table: pa.Table, name: str) -> np.ndarray:
    return table[name].combine_chunks().to_numpy(zero_copy_only=False).astype(float)


def changed_rows() -> np.ndarray:
    """Rows of the source day at which the book or the volume differs from the row before."""
    values = SOURCE[["volume", *BOOK]].to_numpy()
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    return np.append(True, ~same.all(axis=1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_the_same_ticks_come_back(case: Case) -> None:
    path = FOLDER / case.file
    mapping = load_column_map(FOLDER / "mapped.toml") if case.layout == "columns" else None
    if mapping is None:
        assert layout_of(RecordingFile(str(path), path=path)).name == case.layout
    (part,) = read(path, mapping)
    assert (part.contract, part.day) == ("SHFE.cu1910", date(2019, 9, 23))
    assert part.table.schema.equals(RAW_TICK_SCHEMA)
    source = SOURCE[changed_rows()] if case.layout == "hftbacktest" else SOURCE
    times = source["datetime"].to_numpy()
    np.testing.assert_array_equal(
        part.table["datetime_ns"].to_numpy(), times // 1_000_000_000 * 1_000_000_000 if case.to_seconds else times
    )
    for name in VALUE_COLUMNS:
        found = numbers(part.table, name)
        if name in case.has:
            wanted = source[name].fillna(0).to_numpy() if "volume" in name else source[name].to_numpy()
            if name == "average" and case.layout.startswith("wondertrader"):
                wanted = (source["amount"] / source["volume"] / 5).to_numpy()
            tolerance = 1e-12 if name == "average" else 0.0
            np.testing.assert_allclose(found, wanted, rtol=tolerance, equal_nan=True, err_msg=name)
        elif name in BOOK and "volume" in name:
            assert not found.any(), name  # a level that is absent has no price and 0 lots
        else:
            assert np.isnan(found).all(), name


def test_what_a_layout_lacks_is_null_and_no_zero() -> None:
    (part,) = read(FOLDER / "SHFE.cu1910.npz")
    for name in ("volume", "open_interest"):
        assert part.table[name].null_count == part.table.num_rows
    assert np.isnan(part.table["amount"].to_numpy()).all()


def test_ctp_nights_are_dated_by_the_trading_day() -> None:
    """Friday evening and Saturday morning belong to Monday, whatever the calendar date beside them says."""
    first, last = (int(SOURCE["datetime"].iloc[row]) for row in (1, 119))
    assert (pd.Timestamp(first), pd.Timestamp(last)) == (
        pd.Timestamp("2019-09-20 13:00:00.5"),
        pd.Timestamp("2019-09-20 16:59:59.5"),
    )
    for name in ("ctp_logger.csv", "ctp_dce_dates_bom.csv"):
        (part,) = read(FOLDER / name)
        found = part.table["datetime_ns"].to_numpy()
        assert (int(found[1]), int(found[119])) == (first, last)


def ctp(**columns: list[object]) -> bytes:
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame(
        {
            "InstrumentID": ["cu1910"] * count,
            "LastPrice": 47_800.0,
            "Volume": range(count),
            "BidPrice1": 47_790.0,
            "BidVolume1": 3,
            "AskPrice1": 47_810.0,
            "AskVolume1": 4,
        }
    )
    return frame.assign(**columns).to_csv(index=False).encode()


def moments(data: bytes, name: str = "a.csv") -> list[tuple[str, str]]:
    """Trading day and Shanghai time of each row."""
    return [
        (str(day), str(pd.Timestamp(ns + 8 * 3_600_000_000_000)))
        for _, day, table in parse_recording(data, name)
        for ns in table["datetime_ns"].to_pylist()
    ]


def test_ctp_without_a_trading_day() -> None:
    """ActionDay says the date; where it is the trading day (evenings before the day of the same date), that."""
    clock = ["21:00:01", "00:10:00", "09:00:01"]
    wanted = [
        ("2019-09-23", "2019-09-20 21:00:01"),
        ("2019-09-23", "2019-09-21 00:10:00"),
        ("2019-09-23", "2019-09-23 09:00:01"),
    ]
    assert moments(ctp(UpdateTime=clock, ActionDay=["20190920", "20190921", "20190923"])) == wanted
    assert moments(ctp(UpdateTime=clock, ActionDay=["20190923"] * 3)) == wanted
    assert moments(ctp(UpdateTime=clock), "cu1910_20190923.csv") == wanted
    assert moments(ctp(UpdateTime=clock, TradingDay=[20190923.0] * 3, ActionDay=[None] * 3)) == wanted
    assert moments(ctp(Update_Time=["9:00:01.500"], trading_day=["2019-09-23"])) == [
        ("2019-09-23", "2019-09-23 09:00:01.500000")
    ]
    with pytest.raises(BadRecordingError, match="a.csv does not say its trading day"):
        parse_recording(ctp(UpdateTime=clock), "a.csv")
    with pytest.raises(BadRecordingError, match="2019-09-21 is not a trading day"):
        parse_recording(ctp(UpdateTime=clock, TradingDay=["20190921"] * 3), "a.csv")
    with pytest.raises(BadRecordingError, match=r"line 3, column TradingDay: is empty"):
        parse_recording(ctp(UpdateTime=clock, TradingDay=["20190923", None, "20190923"]), "a.csv")
    with pytest.raises(BadRecordingError, match=r"line 2, column UpdateTime: '25:00:00' is no time of day"):
        parse_recording(ctp(UpdateTime=["25:00:00"], TradingDay=["20190923"]), "a.csv")


def test_czce_prints_the_calendar_date_and_units_at_night() -> None:
    """Both dates are Friday's in the evening; the average is that of a unit and the turnover that of a lot's price."""
    clock, days = ["21:00:01", "09:00:01"], ["20190920", "20190923"]
    data = ctp(
        UpdateTime=clock,
        TradingDay=days,
        ActionDay=days,
        InstrumentID=["SR001"] * 2,
        LastPrice=5_500.0,
        Volume=[10, 20],
        Turnover=[55_000.0, 110_000.0],
        AveragePrice=5_500.0,
    )
    assert moments(data) == [("2019-09-23", "2019-09-20 21:00:01"), ("2019-09-23", "2019-09-23 09:00:01")]
    ((symbol, _, table),) = parse_recording(data, "a.csv")
    assert symbol == "CZCE.SR001"
    assert table["average"].to_pylist() == [5_500.0] * 2
    assert table["amount"].to_pylist() == [550_000.0, 1_100_000.0]  # ten tons a lot
    by_trading_day = data.replace(b"20190920", b"20190923")
    assert moments(by_trading_day) == moments(data)


def test_a_loggers_file_holds_several_contracts() -> None:
    data = ctp(
        UpdateTime=["09:00:01"] * 3, TradingDay=["20190923"] * 3, InstrumentID=["cu1910", "AG1912", "nosuch1910"]
    )
    options = ReadOptions(calendar=CALENDAR, variety="ag")
    assert [part.contract for part in read_days(RecordingFile("a.csv", data), options)] == ["SHFE.ag1912"]
    assert parse_recording(data, "a.csv", symbol="SHFE.cu1910")[0][0] == "SHFE.cu1910"
    with pytest.raises(BadRecordingError, match="nosuch1910"):
        parse_recording(data, "a.csv")


def test_an_unknown_table_shows_its_columns_and_the_layouts() -> None:
    with pytest.raises(BadRecordingError) as caught:
        parse_recording(b"when,price\n1,2\n", "a.csv")
    assert caught.value.message == "a.csv has no layout known here: its columns are when, price"
    assert all(layout.name in (caught.value.hint or "") for layout in LAYOUTS)


def test_a_layout_can_be_forced() -> None:
    options = ReadOptions(calendar=CALENDAR)
    file = RecordingFile(str(FOLDER / "vnpy.csv"), path=FOLDER / "vnpy.csv")
    with pytest.raises(BadRecordingError, match="columns missing: UpdateTime"):
        list(read_days(file, options, "ctp"))
    with pytest.raises(UsageError, match="there is no layout 'nosuch'"):
        list(read_days(file, options, "nosuch"))
    with pytest.raises(BadRecordingError, match="is a SQLite database, no table"):
        list(read_days(RecordingFile("x.db", (FOLDER / "vnpy_database.db").read_bytes()), options, "tqsdk"))


def test_packed_containers_are_read_too() -> None:
    for name in ("vnpy_database.db", "wondertrader.dsb", "parquet_zoned.parquet"):
        packed = parse_recording(gzip.compress((FOLDER / name).read_bytes()), f"{name}.gz")
        assert table_hash(packed[0][2]) == table_hash(read_recording(FOLDER / name)[0][2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE dbtickdata SET last_price = 'abc' WHERE id = 3", "row 3, column last_price: 'abc' is not a number"),
        ("UPDATE dbtickdata SET last_price = x'ff00' WHERE id = 3", r"row 3, column last_price: .* is not a number"),
        ("UPDATE dbtickdata SET datetime = 5 WHERE id = 3", r"column datetime: .* is not a"),
        ("UPDATE dbtickdata SET last_price = 'abc'", "row 1, column last_price: 'abc' is not a number"),
        ("ALTER TABLE dbtickdata DROP COLUMN last_price", "columns missing: last_price"),
        ("ALTER TABLE dbtickdata RENAME COLUMN exchange TO market", "columns missing in dbtickdata: exchange"),
    ],
)
def test_odd_cells_of_a_database_are_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "odd.db"
    path.write_bytes((FOLDER / "vnpy_database.db").read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(change)
        database.commit()
    with pytest.raises(BadRecordingError, match=message):
        read(path)


@pytest.mark.parametrize("name", ["vnpy_database.db", "wondertrader.dsb", "SHFE.cu1910.npz", "parquet_zoned.parquet"])
def test_a_cut_off_file_is_named(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    for length in (17, len(data) // 2, len(data) - 7):
        with pytest.raises(BadRecordingError, match=name):
            parse_recording(data[:length], name)


def test_wondertrader_blocks_of_other_kinds_are_named() -> None:
    data = (FOLDER / "wondertrader.dsb").read_bytes()
    assert len(read_ticks(data, "a.dsb")) == 200
    with pytest.raises(BadRecordingError, match="holds 1-minute bars"):
        read_ticks(data[:8] + (21).to_bytes(2, "little") + data[10:], "a.dsb")
    with pytest.raises(BadRecordingError, match="version 9"):
        read_ticks(data[:10] + (9).to_bytes(2, "little") + data[12:], "a.dsb")


def test_times_without_a_zone_that_are_utc_are_refused_with_the_option() -> None:
    path = FOLDER / "parquet_naive_utc.parquet"
    with pytest.raises(BadRecordingError) as caught:
        read(path)
    assert "the times do not say their zone; read as Asia/Shanghai" in caught.value.message
    assert "--time-zone UTC" in (caught.value.hint or "")
    (part,) = read(path, zone="UTC")
    np.testing.assert_array_equal(part.table["datetime_ns"].to_numpy(), SOURCE["datetime"].to_numpy())
    with pytest.raises(BadRecordingError, match="read as UTC"):
        read(FOLDER / "parquet_naive.parquet", zone="UTC")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, r"has no table \[columns\]"),
        ({"columns": {"last_price": "p"}}, "does not say where the time stands"),
        ({"columns": {"datetime": "t"}}, "names no price"),
        ({"columns": {"datetime": "t", "last": "p"}}, "there is no tick column last"),
        ({"columns": {"datetime": "t", "last_price": "p"}, "volume": "each"}, "volume is 'of the day' or 'per row'"),
        ({"columns": {"datetime": "t", "last_price": "p"}, "time_zone": "Nowhere"}, "there is no time zone 'Nowhere'"),
        ({"columns": {}, "more": 1}, "nothing is called more"),
    ],
)
def test_a_wrong_map_is_refused(document: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_column_map(document, "map.toml")


def test_a_map_of_other_columns_names_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text('[columns]\ndatetime = "when"\nlast_price = "price"\n')
    table = tmp_path / "SHFE.cu1910.csv"
    table.write_text("when,cost\n2019-09-23 09:00:01,47800\n")
    with pytest.raises(BadRecordingError, match="columns missing: price"):
        read(table, load_column_map(path))
    table.write_text("when,price\n2019-09-23 09:00:01,47800\n")
    ((symbol, found),) = [(part.contract, part.table) for part in read(table, load_column_map(path))]
    assert (symbol, found["last_price"].to_pylist()) == ("SHFE.cu1910", [47800.0])
    path.write_text("columns")
    with pytest.raises(UsageError, match="is no TOML"):
        load_column_map(path)


@pytest.mark.parametrize("wrong", ["the trading day", "the evening's date", "the next calendar day"])
def test_wondertraders_nights_are_dated_by_the_trading_day_where_the_date_is_wrong(wrong: str) -> None:
    table = pd.read_csv(FOLDER / "wondertrader_dumped.csv")
    ticks = read_ticks((FOLDER / "wondertrader.dsb").read_bytes(), "a.dsb").copy()
    (right,) = days_of("wondertrader_dumped.csv", (FOLDER / "wondertrader_dumped.csv").read_bytes())
    for dates, clock, trading in (
        (written := table["actiondate"].to_numpy(copy=True), table["actiontime"].to_numpy(), table["tradingdate"]),
        (ticks["action_date"], ticks["action_time"], ticks["trading_date"]),
    ):
        early, evening = clock < 60_000_000, clock > 200_000_000
        if wrong == "the trading day":
            dates[early | evening] = trading[early | evening]
        elif wrong == "the evening's date":
            dates[early] = dates[evening].min()
        else:
            dates[evening] = dates[early].max()
    table["actiondate"] = written
    block = (FOLDER / "wondertrader.dsb").read_bytes()[:10] + (3).to_bytes(2, "little") + ticks.tobytes()
    for name, data in (("a.csv", table.to_csv(index=False).encode()), ("a.dsb", block)):
        (day,) = days_of(name, data)
        assert (day.contract, day.day) == (right.contract, right.day)
        assert day.table["datetime_ns"].equals(right.table["datetime_ns"]), name
    table["tradingdate"] = 20190924
    with pytest.raises(BadRecordingError, match="trading day 2019-09-24 does not fit its time"):
        days_of("a.csv", table.to_csv(index=False).encode())


def test_events_without_a_price_change_no_book() -> None:
    events = np.load(FOLDER / "SHFE.cu1910.npz")["data"]
    odd = np.repeat(events[:3], 4)
    odd["ev"] = events["ev"][:3].repeat(4) | np.uint64(1 << 30)
    odd["px"] = [np.nan, 0.0, 1.7976931348623157e308, -1.0] * 3
    odd["ev"][8:] = (odd["ev"][8:] & ~np.uint64(0xFF)) | np.uint64(2)  # trades
    odd["qty"], odd["exch_ts"], odd["local_ts"] = 7.0, events["exch_ts"][40], events["local_ts"][40]
    mixed = np.concatenate([events[:40], odd, events[40:]])
    plain, found = (snapshots(each) for each in (events, mixed))
    assert plain[0].tolist() == found[0].tolist()
    for name, column in plain[2].items():
        np.testing.assert_array_equal(column, found[2][name], name)


def test_parquet_in_single_precision_and_with_durations() -> None:
    table = pd.read_csv(FOLDER / "ctp_logger.csv")
    (right,) = days_of("ctp.csv", table.to_csv(index=False).encode())
    with np.errstate(over="ignore"):
        narrow = {name: "float32" for name in table if "Price" in name and name != "AveragePrice"}
        odd = table.assign(UpdateTime=pd.to_timedelta(table["UpdateTime"])).astype(narrow)
    odd.loc[3, "LastPrice"] = 780.02  # as single precision 780.02001953125
    assert np.isinf(odd["AskPrice5"]).any(), "DBL_MAX became infinity"
    buffer = io.BytesIO()
    odd.to_parquet(buffer)
    (day,) = days_of("ctp.parquet", buffer.getvalue())
    for name in ("datetime_ns", *BOOK):
        np.testing.assert_array_equal(day.table[name].to_numpy(), right.table[name].to_numpy(), name)
    assert day.table["last_price"][3].as_py() == 780.02
    odd["UpdateTime"] = odd["UpdateTime"] + pd.Timedelta(days=1)
    buffer = io.BytesIO()
    odd.to_parquet(buffer)
    with pytest.raises(BadRecordingError, match="are no time of day"):
        days_of("ctp.parquet", buffer.getvalue())


def days_of(name: str, data: bytes) -> list[RecordedDay]:
    """The days of a file that is given as bytes, each checked."""
    options = ReadOptions(calendar=CALENDAR)
    return [check_day(day, options) for day in read_days(RecordingFile(name, data=data), options)]
