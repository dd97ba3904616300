"""A day written to a full disk: the old day or the new one, never a mixture, and the same write with room ends well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from ghtrader_base.errors import DiskFullError
from ghtrader_market.audit.audit import audit_lake
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, table_hash
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import CU1909
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import add_no_data, add_skips, no_data_days, skipped_days
from tests.support.failing_disk import nothing_grows, small_disk

SYMBOL, DAY = "SHFE.cu1909", date(2019, 9, 16)
TICKS = read_recording(CU1909)[0][2]
OTHER = TICKS.set_column(0, RAW_TICK_SCHEMA.field(0), pa.array(range(TICKS.num_rows), pa.int64()))
STEPS = (0, 200, 2_000, 8_000, 1 << 20)
"""Bytes a file may grow to: the write fails at the index, the rows, the sidecar, the manifest."""


@contextmanager
def written(root: Path) -> Iterator[Lake]:
    lake = Lake(root)
    lake.write_day("ticks", SYMBOL, DAY, TICKS, source="test")
    yield lake


def held(lake: Lake) -> str:
    return table_hash(lake.read_ticks(SYMBOL, DAY))


def assert_whole(lake: Lake, table: pa.Table) -> None:
    """The day is `table`'s, its files are in order, and the audit finds nothing."""
    lake.verify_day("ticks", SYMBOL, DAY)
    assert held(lake) == table_hash(table)
    found = audit_lake(lake, bundled_calendar(), dataset="ticks")
    assert found.ok and found.days == 1, found.findings
    assert not list(lake.root.rglob("*.tmp"))


@pytest.mark.parametrize("most", STEPS)
def test_files_that_may_not_grow(tmp_path: Path, most: int) -> None:
    with written(tmp_path / "data") as lake:
        with nothing_grows(tmp_path, most):
            try:
                lake.write_day("ticks", SYMBOL, DAY, OTHER, source="test")
            except DiskFullError:
                refused = True
            else:
                refused = False
            assert lake.index.days_from("ticks", SYMBOL, "test") == {DAY}, "looking goes on"
        assert refused == (most < 1 << 20)
        assert_whole(lake, TICKS if refused else OTHER)
        lake.write_day("ticks", SYMBOL, DAY, OTHER, source="test")
        assert_whole(lake, OTHER)


@pytest.mark.parametrize("scarce", ["room", "inodes"])
def test_a_disk_of_its_own_filled_step_by_step(tmp_path: Path, scarce: str) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk, written(disk.folder / "data") as lake:
        for left in range(0, 9) if scarce == "inodes" else range(0, 120_000, 20_000):
            now, then = (TICKS, OTHER) if held(lake) == table_hash(TICKS) else (OTHER, TICKS)
            if scarce == "inodes":
                disk.leave_inodes(left)
            else:
                disk.leave(left)
            try:
                lake.write_day("ticks", SYMBOL, DAY, then, source="test")
            except DiskFullError as exc:
                assert str(disk.folder) in exc.message and "make room" in exc.hint
                assert_whole(lake, now)
            disk.empty()
            lake.write_day("ticks", SYMBOL, DAY, then, source="test")
            assert_whole(lake, then)


def test_the_notes_of_days_stay_as_they_were(tmp_path: Path) -> None:
    with written(tmp_path / "data") as lake:
        first, second = date(2019, 9, 17), date(2019, 9, 18)
        add_skips(lake, SYMBOL, {first: ("timed-out", "x")})
        add_no_data(lake, SYMBOL, [first])
        with nothing_grows(tmp_path):
            for write in (lambda: add_skips(lake, SYMBOL, {second: ("timed-out", "x")}),
                          lambda: add_no_data(lake, SYMBOL, [second])):  # fmt: skip
                with pytest.raises(DiskFullError):
                    write()
        assert list(skipped_days(lake, SYMBOL)) == [first] and no_data_days(lake, SYMBOL) == {first}
