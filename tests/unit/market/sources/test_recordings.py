"""Recordings: both layouts are read as they are, and every kind of garbage is named by file, line and column."""

from __future__ import annotations

import gzip
import io
import zipfile
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import BadRecordingError, GhtraderError, UsageError
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, VALUE_COLUMNS, has_depth, table_hash
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.sources.recordings.reader import parse_recording, read_recording

CU_BYTES = CU1909.read_bytes()
CU_LINES = CU_BYTES.split(b"\n")
IF_BYTES = gzip.decompress(IF2101.read_bytes())
IF_LINES = IF_BYTES.split(b"\n")
NAME = "SHFE.cu1909.csv"


def cu(data: bytes, name: str = NAME, **kwargs: str) -> list:
    return parse_recording(data, name, **kwargs)


def fault(data: bytes, name: str = NAME, **kwargs: str) -> str:
    with pytest.raises(BadRecordingError) as caught:
        cu(data, name, **kwargs)
    assert name in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 1
    return caught.value.message


def test_tqsdk_sample_is_read_value_by_value() -> None:
    ((symbol, day, table),) = read_recording(CU1909)
    assert (symbol, day, table.num_rows) == ("SHFE.cu1909", date(2019, 9, 16), 200)
    assert table.schema.equals(RAW_TICK_SCHEMA)
    assert has_depth(table)
    frame = pd.read_csv(CU1909)
    assert table["datetime_ns"].to_pylist() == frame["datetime"].tolist()
    assert table["id"].to_pylist() == frame["id"].tolist()
    for name in VALUE_COLUMNS:
        expected = frame[name].fillna(0) if "volume" in name else frame[name]
        np.testing.assert_array_equal(table[name].to_numpy(), expected.to_numpy())


def test_wondertrader_sample_is_read_with_one_level() -> None:
    ((symbol, day, table),) = read_recording(IF2101)
    assert (symbol, day, table.num_rows) == ("CFFEX.IF2101", date(2021, 1, 4), 27955)
    assert not has_depth(table)
    first = table.slice(0, 1).to_pylist()[0]
    shanghai = timezone(timedelta(hours=8))
    moment = datetime(2021, 1, 4, 9, 29, 0, 400_000, shanghai)
    assert first["datetime_ns"] == int(moment.timestamp() * 1000) * 1_000_000
    assert first["average"] == 376560000.0 / 240 / 300
    assert (first["volume"], first["amount"], first["open_interest"]) == (240, 376560000.0, 90767)
    assert (first["bid_price1"], first["bid_volume1"], first["ask_price1"], first["ask_volume1"]) == (
        5230,
        1,
        5230.8,
        2,
    )
    for level in range(2, 6):
        assert np.isnan(table[f"bid_price{level}"].to_numpy()).all()
        assert not table[f"ask_volume{level}"].to_numpy().any()
    assert table["id"].to_pylist() == list(range(27955))


def test_every_container_gives_the_same_content(tmp_path: Path) -> None:
    want = table_hash(read_recording(CU1909)[0][2])
    frame = pd.read_csv(CU1909)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame), buffer)
    downloader = frame.rename(columns={name: f"SHFE.cu1909.{name}" for name in frame.columns if name in VALUE_COLUMNS})
    downloader = downloader.rename(columns={"datetime": "datetime_nano"}).assign(datetime="2019-09-16 14:01:33")
    variants = {
        "SHFE.cu1909.csv.gz": gzip.compress(CU_BYTES),
        "SHFE.cu1909.parquet": buffer.getvalue(),
        "dos_SHFE.cu1909.csv": CU_BYTES.replace(b"\n", b"\r\n"),
        "bom_SHFE.cu1909.csv": b"\xef\xbb\xbf" + CU_BYTES,
        "anything.csv": downloader.to_csv(index=False).encode(),
        "with_symbol.csv": frame.assign(symbol="SHFE.cu1909", duration=0).to_csv().encode(),
    }
    for name, data in variants.items():
        ((symbol, day, table),) = cu(data, name)
        assert (symbol, day, table_hash(table)) == ("SHFE.cu1909", date(2019, 9, 16), want), name


def test_contract_comes_from_columns_caller_or_file_name() -> None:
    assert cu(CU_BYTES, "ticks.csv", symbol="SHFE.cu1909")[0][0] == "SHFE.cu1909"
    assert cu(CU_BYTES, "cu1909.csv", variety="cu")[0][0] == "SHFE.cu1909"
    assert cu(CU_BYTES, "cu1909.csv")[0][0] == "SHFE.cu1909"
    assert "--symbol" in _hint(CU_BYTES, "ticks.csv")
    assert "not au" in fault(CU_BYTES, variety="au")
    assert "holds CFFEX.IF2101, not CFFEX.IF2102" in fault(IF_BYTES, "a.csv", symbol="CFFEX.IF2102")
    for bad in ({"variety": "xx"}, {"symbol": "nonsense"}, {"symbol": "KQ.m@SHFE.cu"}):
        with pytest.raises(UsageError):
            cu(CU_BYTES, **bad)


def _hint(data: bytes, name: str) -> str:
    with pytest.raises(BadRecordingError) as caught:
        cu(data, name)
    return caught.value.hint


def with_line(number: int, line: bytes) -> bytes:
    return b"\n".join([*CU_LINES[:number], line, *CU_LINES[number + 1 :]])


def test_garbage_is_named() -> None:
    assert "is empty" in fault(b"")
    assert "is empty" in fault(b"\n \n")
    assert "neither CSV" in fault(b"\0\1\2\3 binary")
    assert "not UTF-8" in fault(CU_BYTES[:500] + b"\xff\xfe" + CU_BYTES[500:])
    assert "no ticks" in fault(CU_LINES[0])
    assert "has no layout known here: its columns are a, b" in fault(b"a,b\n1,2\n")
    assert "columns missing: average" in fault(CU_BYTES.replace(b"average", b"avg", 1))
    assert "column id stands twice" in fault(CU_BYTES.replace(b"datetime", b"id", 1))
    assert "line 1 holds numbers" in fault(b"1,2.5,3\n4,5,6\n")
    assert "line 9, column last_price: 'abc' is not a number" in fault(with_line(8, replaced(8, "last_price", b"abc")))
    assert "line 9, column volume: is empty" in fault(with_line(8, replaced(8, "volume", b"")))
    assert "line 9, column volume: 7.5 is no whole number" in fault(with_line(8, replaced(8, "volume", b"7.5")))
    assert "line 9, column bid_volume1: -3 is no whole" in fault(with_line(8, replaced(8, "bid_volume1", b"-3")))
    assert "line 9, column amount: is infinite" in fault(with_line(8, replaced(8, "amount", b"1e999")))
    assert "line 9, column datetime: '1.5' is not a whole" in fault(with_line(8, replaced(8, "datetime", b"1.5")))
    assert "line 9, column datetime: 1568613 is no time" in fault(with_line(8, replaced(8, "datetime", b"1568613")))
    assert "line 9, column datetime: is empty" in fault(with_line(8, replaced(8, "datetime", b"")))
    assert "line 9 has 2 cells where the header has 29" in fault(with_line(8, b"1,2"))
    assert "line 51, column datetime: the header stands again" in fault(with_line(50, CU_LINES[0]))
    assert "line 201, column datetime: time goes backwards" in fault(with_line(200, CU_LINES[5]))
    assert "cumulative volume falls at line 9" in fault(with_line(8, replaced(8, "volume", b"1")))
    assert "some depth columns" in fault(CU_BYTES.replace(b"ask_price4", b"ask_price6", 1))


def replaced(line: int, column: str, cell: bytes) -> bytes:
    cells = CU_LINES[line].split(b",")
    cells[CU_LINES[0].decode().split(",").index(column)] = cell
    return b",".join(cells)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_of_spreadsheets(encoding: str, ending: str) -> None:
    text = CU_BYTES.decode().replace("\r", "").replace("\n", ending)
    assert table_hash(cu(text.encode(encoding))[0][2]) == table_hash(cu(CU_BYTES)[0][2])


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_that_end_with_a_comma_where_the_header_does_not(ending: str) -> None:
    lines = CU_BYTES.decode().rstrip("\n").split("\n")
    ended = ending.join([lines[0], *(f"{line}," for line in lines[1:])]).encode()
    assert table_hash(cu(ended)[0][2]) == table_hash(cu(CU_BYTES)[0][2])
    more = ending.join([lines[0], *(f"{line}," for line in lines[1:9]), f"{lines[9]},7", f"{lines[10]},"]).encode()
    assert "line 10 has 30 cells where the header has 29" in fault(more)


@pytest.mark.parametrize("cell", [b"1.#INF", b"-1.#IND", b"1.#QNAN"])
def test_what_windows_prints_for_no_price_is_an_absent_level(cell: bytes) -> None:
    table = cu(with_line(8, replaced(8, "ask_price5", cell)))[0][2]
    assert np.isnan(table["ask_price5"][7].as_py()) and table["ask_volume5"][7].as_py() == 0


def test_times_in_a_pandas_index_without_a_name() -> None:
    frame = pd.read_csv(CU1909).drop(columns="id")
    frame.index = pd.to_datetime(frame.pop("datetime"), utc=True).dt.tz_convert("Asia/Shanghai").array
    frame.to_parquet(buffer := io.BytesIO())
    ((_, _, table),) = parse_recording(buffer.getvalue(), "SHFE.cu1909.parquet")
    assert table["datetime_ns"].to_pylist() == pd.read_csv(CU1909)["datetime"].tolist()


def test_half_a_character_of_utf16_is_named() -> None:
    assert "cut-off or damaged UTF-16" in fault(CU_BYTES.decode().encode("utf-16")[:-1])


def test_a_zip_of_other_files_is_named() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("a.csv", CU_BYTES)
    assert "is a zip archive of other files (a.csv ...)" in fault(buffer.getvalue(), "a.zip")


def test_broken_containers_are_named(tmp_path: Path) -> None:
    packed = gzip.compress(CU_BYTES)
    for cut in (3, 12, len(packed) // 2, len(packed) - 3):
        assert "cut-off gzip" in fault(packed[:cut], "half.csv.gz")
    assert "cut-off gzip" in fault(packed[:2000] + b"zzzz" + packed[2004:], "bits.csv.gz")
    assert "is no gzip" in fault(CU_BYTES, "plain.csv.gz")
    assert "broken Parquet" in fault(b"PAR1" + b"x" * 100, "broken.parquet")
    with pytest.raises(BadRecordingError, match="no such file"):
        read_recording(tmp_path / "absent.csv")
    with pytest.raises(BadRecordingError, match="cannot be read"):
        read_recording(tmp_path)


def test_text_in_a_parquet_number_is_named() -> None:
    frame = pd.read_csv(CU1909).astype({"last_price": str})
    frame.loc[7, "last_price"] = "n/a?"
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    assert "row 8, column last_price: 'n/a?' is not a number" in fault(buffer.getvalue(), "SHFE.cu1909.parquet")


def test_wondertrader_garbage_is_named() -> None:
    def line(number: int, column: str, cell: bytes) -> bytes:
        cells = IF_LINES[number].split(b",")
        cells[IF_LINES[0].decode().split(",").index(column)] = cell
        return b"\n".join([*IF_LINES[:number], b",".join(cells), *IF_LINES[number + 1 : 200]])

    assert "line 9, column action_time: 96000000 is no time of day" in fault(
        line(8, "action_time", b"96000000"), "a.csv"
    )
    assert "line 9, column action_date: 20210230 is no date" in fault(line(8, "action_date", b"20210230"), "a.csv")
    assert "line 9, column trading_date: trading day 2021-01-05" in fault(line(8, "trading_date", b"20210105"), "a.csv")
    assert "line 9, column price: is empty" in fault(line(8, "price", b""), "a.csv")
    assert "no variety in the table" in fault(line(8, "code", b"ZZ2101"), "a.csv")
    assert "is no symbol" in fault(line(8, "code", b""), "a.csv")
    assert "columns missing: code" in fault(IF_BYTES.replace(b"code", b"kode", 1), "a.csv")


def test_a_weekend_recording_is_refused() -> None:
    shift = 5 * 86_400_000_000_000  # 2019-09-16 is a Monday: to Saturday afternoon, which belongs to Monday
    frame = pd.read_csv(CU1909)
    frame["datetime"] += shift
    assert cu(frame.to_csv(index=False).encode())[0][1] == date(2019, 9, 23)
    frame["datetime"] += 365 * 86_400_000_000_000 * 60
    assert "the holiday list speaks for" in fault(frame.to_csv(index=False).encode())


@given(st.binary(max_size=300))
def test_no_bytes_escape_as_another_error(data: bytes) -> None:
    try:
        parse_recording(data, NAME)
    except GhtraderError:
        pass
    else:
        raise AssertionError("arbitrary bytes were taken for ticks")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.integers(0, len(CU_BYTES) - 1),
    st.integers(0, 40),
    st.binary(max_size=6) | st.sampled_from([b",", b"\n", b'"', b"-", b"nan", b"e", b"1e400"]),
    st.booleans(),
)
def test_damage_gives_ticks_or_a_named_fault(start: int, length: int, patch: bytes, zipped: bool) -> None:
    data = CU_BYTES[:start] + patch + CU_BYTES[start + length :]
    try:
        found = parse_recording(gzip.compress(data, 1) if zipped else data, NAME)
    except BadRecordingError as exc:
        assert NAME in exc.message and exc.hint
    else:
        for symbol, _, table in found:
            assert symbol == "SHFE.cu1909"
            assert table.schema.equals(RAW_TICK_SCHEMA)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(0, 31))
def test_damaged_gzip_is_always_named(keep: int, bit: int) -> None:
    packed = bytearray(gzip.compress(b"\n".join(CU_LINES[:20]), mtime=0))
    position = keep % len(packed)
    if position in range(4, 10) or position == 3:  # flags and time stamp of the header carry no content
        position = 12
    packed[position] ^= 1 << (bit % 8)
    try:
        ((_, _, table),) = parse_recording(bytes(packed), "SHFE.cu1909.csv.gz")
    except BadRecordingError:
        return
    assert table_hash(table) == table_hash(parse_recording(b"\n".join(CU_LINES[:20]), NAME)[0][2])
