"""The lake: what is written is read, whole or not at all, kill -9 included."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ghtrader_base.errors import BadRecordingError, ConfigError, FailedError, IntegrityError, UsageError
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, table_hash
from ghtrader_market.stores.base import TickStore
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.day_index import INDEX_NAME
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import MANIFEST
from tests.support.forked import Forks
from tests.support.waiting import until

SYMBOL = "SHFE.cu2502"
DAY = date(2025, 1, 6)
TIMES = 1_736_125_200_000_000_000 + 500_000_000 * np.arange(400)
Make = Callable[..., pa.Table]


def test_round_trip_keeps_rows_order_and_columns(tmp_path: Path, make_ticks: Make) -> None:
    lake, table = Lake(tmp_path), make_ticks(TIMES)
    details = TickDetails(dropped_duplicates=5)
    manifest = lake.write_day("ticks", SYMBOL, DAY, table, source="test", run_id="r1", details=details)
    assert lake.read_day("ticks", SYMBOL, DAY).equals(table)
    assert (manifest.rows, manifest.content_hash) == (400, table_hash(table))
    assert lake.manifest("ticks", SYMBOL, DAY) == manifest == lake.verify_day("ticks", SYMBOL, DAY)
    assert lake.read_day("ticks", SYMBOL, DAY, ["ask_price1", "id"]).column_names == ["ask_price1", "id"]
    assert (lake.keys("ticks"), lake.days("ticks", SYMBOL)) == ([SYMBOL], [DAY])
    assert lake.has_day("ticks", SYMBOL, DAY) and not lake.has_day("main_l5", SYMBOL, DAY)
    lake.delete_day("ticks", SYMBOL, DAY)
    assert lake.keys("ticks") == [] and not lake.has_day("ticks", SYMBOL, DAY)


def test_parquet_is_as_measured_best(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path)
    lake.write_day("ticks", SYMBOL, DAY, make_ticks(TIMES), source="test")
    metadata = pq.ParquetFile(lake.files("ticks")[0]).metadata
    assert metadata.num_row_groups == 1
    columns = {metadata.schema.column(i).name: metadata.row_group(0).column(i) for i in range(metadata.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "DELTA_BINARY_PACKED" in columns["datetime_ns"].encodings
    assert "BYTE_STREAM_SPLIT" in columns["amount"].encodings
    assert "RLE_DICTIONARY" in columns["bid_price1"].encodings


def test_equal_content_again_keeps_the_file_and_other_content_replaces_it(tmp_path: Path, make_ticks: Make) -> None:
    lake, table = Lake(tmp_path), make_ticks(TIMES)
    first = lake.write_day("ticks", SYMBOL, DAY, table, source="test")
    (path,) = lake.files("ticks")
    before = path.stat().st_ino
    assert lake.write_day("ticks", SYMBOL, DAY, table, source="test") == first
    assert path.stat().st_ino == before
    whole = lake.content_hash_of("ticks", SYMBOL)
    second = lake.write_day("ticks", SYMBOL, DAY, make_ticks(TIMES, seed=1), source="test")
    assert second.content_hash != first.content_hash and lake.content_hash_of("ticks", SYMBOL) != whole
    assert len(list(path.parent.glob("part-*.parquet"))) == 1
    lake.verify_day("ticks", SYMBOL, DAY)


def test_damage_is_found_and_a_rewrite_mends_it(tmp_path: Path, make_ticks: Make) -> None:
    lake, table = Lake(tmp_path), make_ticks(TIMES)
    lake.write_day("ticks", SYMBOL, DAY, table, source="test")
    (path,) = lake.files("ticks")
    whole = path.read_bytes()
    path.write_bytes(whole[:2_000] + bytes([whole[2_000] ^ 1]) + whole[2_001:])
    with pytest.raises(IntegrityError, match="sha256"):
        lake.verify_day("ticks", SYMBOL, DAY)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="cannot be read"):
        lake.read_day("ticks", SYMBOL, DAY)
    lake.write_day("ticks", SYMBOL, DAY, table, source="test")
    assert lake.verify_day("ticks", SYMBOL, DAY).rows == 400
    path.unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        lake.verify_day("ticks", SYMBOL, DAY)
    pq.write_table(table.slice(0, 10), path)
    with pytest.raises(IntegrityError, match="10 rows, its manifest says 400"):
        lake.read_day("ticks", SYMBOL, DAY)


def test_bad_input_leaves_nothing(tmp_path: Path, make_ticks: Make) -> None:
    lake, table = Lake(tmp_path / "data"), make_ticks(TIMES)
    with pytest.raises(IntegrityError, match="schema"):
        lake.write_day("ticks", SYMBOL, DAY, table.drop_columns(["amount"]), source="test")
    with pytest.raises(BadRecordingError, match=f"{SYMBOL} on {DAY}: time goes backwards"):
        lake.write_day("ticks", SYMBOL, DAY, table.take(pa.array(range(399, -1, -1))), source="test")
    with pytest.raises(UsageError, match="no dataset"):
        lake.write_day("tricks", SYMBOL, DAY, table, source="test")
    with pytest.raises(UsageError, match="cannot be a key"):
        lake.write_day("ticks", "../outside", DAY, table, source="test")
    assert not (tmp_path / "data").exists()
    with pytest.raises(FailedError, match="has no ticks"):
        lake.read_day("ticks", SYMBOL, DAY)


def test_unknown_columns_are_named(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path)
    lake.write_day("ticks", SYMBOL, DAY, make_ticks(TIMES), source="test")
    with pytest.raises(UsageError, match="no column bid_price6"):
        lake.read_day("ticks", SYMBOL, DAY, ["id", "bid_price6"])


def test_an_unwritable_home_is_a_matter_of_configuration(tmp_path: Path, make_ticks: Make) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError) as caught:
        Lake(tmp_path / "file" / "data").write_day("ticks", SYMBOL, DAY, make_ticks(TIMES), source="test")
    assert caught.value.exit_code == 2


def test_the_lake_keeps_the_contract_of_a_tick_store(tmp_path: Path, make_ticks: Make) -> None:
    lake, table = Lake(tmp_path / "data"), make_ticks(TIMES)
    assert isinstance(lake, TickStore)
    lake.init()
    assert lake.health().ok and lake.read_ticks(SYMBOL, DAY).schema == RAW_TICK_SCHEMA
    assert lake.write_ticks(SYMBOL, DAY, table) == 400
    assert lake.read_ticks(SYMBOL, DAY).equals(table) and lake.tick_days(SYMBOL) == [DAY]
    assert lake.read_ticks(SYMBOL, date(2025, 1, 7), ["id"]).num_rows == 0


WRITER_IMPORTS = """
import itertools
from datetime import date, timedelta
from pathlib import Path
import pyarrow.parquet as pq
from ghtrader_market.stores.lake.lake import Lake
"""
WRITER = """
ready, root, *files = map(Path, sys.argv[1:])
tables = [pq.read_table(f) for f in files]
lake = Lake(root)
ready.touch()
for table in itertools.cycle(tables):
    lake.write_day("ticks", "SHFE.cu2502", date(2025, 1, 6), table, source="test")
"""


def test_kill_9_at_any_moment_leaves_the_old_day_or_the_new_one(tmp_path: Path, make_ticks: Make) -> None:
    times = 1_736_125_200_000_000_000 + 500_000_000 * np.arange(20_000)
    tables = [make_ticks(times, seed=seed) for seed in (1, 2)]
    files = []
    for seed, table in enumerate(tables):
        files.append(str(tmp_path / f"{seed}.parquet"))
        pq.write_table(table, files[-1])
    allowed = {table_hash(table) for table in tables}
    lake, rng, seen = Lake(tmp_path / "data"), np.random.default_rng(3), set()
    lake.write_day("ticks", SYMBOL, DAY, tables[0], source="test")
    with Forks(WRITER_IMPORTS, WRITER) as forks:
        for number in range(8):
            ready = tmp_path / f"ready{number}"
            writer = forks.start(ready, lake.root, *files)
            until(ready.exists)
            time.sleep(float(rng.uniform(0.0, 0.15)))
            os.kill(writer, signal.SIGKILL)
            assert forks.wait(writer) == -signal.SIGKILL
            manifest = lake.verify_day("ticks", SYMBOL, DAY)
            assert manifest.content_hash in allowed and manifest.rows == 20_000
            seen.add(manifest.content_hash)
    lake.write_day("ticks", SYMBOL, DAY, tables[0], source="test")
    left = sorted(path.name for path in lake.day_path("ticks", SYMBOL, DAY).iterdir() if "part-" in path.name)
    assert len(left) == 2, f"the next write sweeps what killed writers left: {left}"
    assert (lake.day_path("ticks", SYMBOL, DAY) / MANIFEST).exists()
    assert seen <= allowed


# ---- days by themselves, and ranges as streams ----


def several(lake: Lake, make_ticks: Make, count: int, rows: int = 400) -> list[date]:
    days = [DAY + timedelta(n) for n in range(count)]
    times = TIMES[0] + 500_000_000 * np.arange(rows)
    for n, day in enumerate(days):
        lake.write_day("ticks", SYMBOL, day, make_ticks(times + n * 86_400 * 10**9, seed=n), source="test")
    return days


def test_reading_a_day_touches_that_days_files_only(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path / "data")
    days = several(lake, make_ticks, 4)
    expected = lake.read_day("ticks", SYMBOL, days[1])
    for path in [p for day in (days[0], *days[2:]) for p in lake.day_path("ticks", SYMBOL, day).iterdir()]:
        path.write_bytes(b"whoever reads this fails")
    (lake.root / INDEX_NAME).write_bytes(b"nor is the index asked")
    assert lake.read_day("ticks", SYMBOL, days[1]).equals(expected)
    assert lake.read_ticks(SYMBOL, days[1], ["id"]).num_rows == 400
    assert lake.read_range("ticks", SYMBOL, days[1], days[1]).read_all().equals(expected)
    assert lake.verify_day("ticks", SYMBOL, days[1]).rows == 400
    with pytest.raises(IntegrityError):
        lake.read_day("ticks", SYMBOL, days[2])


def test_a_range_is_a_stream_in_order_of_days(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path)
    days = several(lake, make_ticks, 5)
    reader = lake.read_range("ticks", SYMBOL, days[1], days[3] + timedelta(30), ["datetime_ns", "id"], batch_rows=150)
    assert reader.schema.names == ["datetime_ns", "id"]
    batches = list(reader)
    assert max(batch.num_rows for batch in batches) <= 150
    whole = pa.concat_tables([lake.read_day("ticks", SYMBOL, day, ["datetime_ns", "id"]) for day in days[1:]])
    assert pa.Table.from_batches(batches).combine_chunks().equals(whole.combine_chunks())
    with pytest.raises(FailedError, match="has no ticks"):
        lake.read_range("ticks", SYMBOL, date(2020, 1, 1), date(2020, 1, 9))
    with pytest.raises(UsageError, match="no column bid_price6"):
        lake.read_range("ticks", SYMBOL, days[0], days[1], ["bid_price6"])
    (path,) = lake.day_path("ticks", SYMBOL, days[2]).glob("part-*.parquet")
    pq.write_table(make_ticks(TIMES[:10]), path)
    with pytest.raises(IntegrityError, match="10 rows, its manifest says 400"):
        lake.read_range("ticks", SYMBOL, days[0], days[4]).read_all()


def test_a_range_takes_the_memory_of_a_day(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path)
    days = several(lake, make_ticks, 12, rows=20_000)
    before, peak, rows = pa.total_allocated_bytes(), 0, 0
    for batch in lake.read_range("ticks", SYMBOL, days[0], days[-1]):
        rows += batch.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    day = lake.read_day("ticks", SYMBOL, days[0]).nbytes
    assert rows == 240_000 and peak < 4 * day, f"{peak / day:.1f} days"
