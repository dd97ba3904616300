"""A recorder on a full disk: nothing that is on it is spoilt, rows wait in memory, and what is missing is said."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import DiskFullError
from ghtrader_base.settings import Settings
from ghtrader_market.recorder.day_writer import RecordedDays
from ghtrader_market.recorder.recorder import Recorder
from ghtrader_market.recorder.row_log import RowLog, journal_path
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from tests.support.failing_disk import nothing_grows, small_disk

DAY, SYMBOL = date(2025, 1, 6), "SHFE.cu2502"
OPEN_NS = bundled_calendar().sessions("cu", DAY)[-1][0]


def rows(first: int, count: int) -> pa.Table:
    ids = np.arange(first, first + count)
    columns = {name: np.ones(count) for name in RAW_TICK_SCHEMA.names}
    columns |= {"id": ids, "datetime_ns": OPEN_NS + ids * 500_000_000}
    columns["volume"] = ids
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in RAW_TICK_SCHEMA], RAW_TICK_SCHEMA)


def ids_of(table: pa.Table) -> list[int]:
    return table["id"].to_pylist()


def test_half_a_frame_is_taken_back(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "x.journal")
    log.append(rows(0, 3))
    with nothing_grows(tmp_path, most=log.path.stat().st_size + 100), pytest.raises(DiskFullError, match="x.journal"):
        log.append(rows(3, 50))
    log.append(rows(53, 2))
    assert ids_of(log.read()) == [0, 1, 2, 53, 54], "what comes later is read too"
    log.close()


def test_rows_wait_until_there_is_room_and_none_is_written_twice(settings: Settings) -> None:
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, rows(0, 10))])
        days.flush()
        days.take([(SYMBOL, rows(10, 10))])
        with nothing_grows(settings.data), pytest.raises(DiskFullError):
            days.flush()
        assert days.waiting_rows == 10 and days.oldest_waiting is not None
        days.take([(SYMBOL, rows(20, 5))])
        days.flush()
        assert days.waiting_rows == 0 and ids_of(days.logs[SYMBOL].journals[DAY].read()) == list(range(25))
        days.seal_all()
        assert days.problems == [] and Lake(settings.data).read_ticks(SYMBOL, DAY).num_rows == 25


def test_rows_that_are_let_go_are_named_and_asked_for_again(settings: Settings) -> None:
    with RecordedDays(settings) as days:
        log = days.begin(SYMBOL)
        days.take([(SYMBOL, rows(0, 10))])
        days.flush()
        days.take([(SYMBOL, rows(10, 7))])
        (span,) = days.forget_waiting()
        assert span == f"{SYMBOL} from 2025-01-06 13:30:05 to 2025-01-06 13:30:08"
        assert (log.last_id, log.rows, days.waiting_rows) == (9, 10, 0)
        days.take([(SYMBOL, rows(10, 12))])
        days.flush()
        assert ids_of(log.journals[DAY].read()) == list(range(22)) and log.missed == 0


def test_a_day_that_does_not_get_into_the_lake_stays_in_its_journal(settings: Settings) -> None:
    path = journal_path(settings.data, SYMBOL, DAY)
    said: list[str] = []
    with RecordedDays(settings, tell=said.append) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, rows(0, 300))])
        days.flush()
        days.take([(SYMBOL, rows(300, 10))])
        with nothing_grows(settings.data):
            days.seal_all()
        lost, stays = days.problems
        assert f"not recorded: {SYMBOL} from 2025-01-06 13:32:30 to" in lost and f"the rows stay in {path}" in stays
        assert said == days.problems and days.sealed == {}
    assert path.exists() and not Lake(settings.data).has_day("ticks", SYMBOL, DAY)
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        days.seal_all()
        assert days.problems == [] and not path.exists()
    assert ids_of(Lake(settings.data).read_ticks(SYMBOL, DAY)) == list(range(300))


class FullRecorder(Recorder):
    """A recorder whose disk may be tried again at once."""

    def again(self) -> None:
        self._disk_again = 0.0


@pytest.mark.clock
def test_the_recording_goes_on_says_so_once_and_bounds_what_waits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghtrader_market.recorder.recorder.MOST_WAITING", 30)
    said: list[str] = []
    recorder = FullRecorder(settings, [SYMBOL], tell=said.append)
    days = recorder._days
    with days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, rows(0, 5))])
        recorder._flush()
        with nothing_grows(settings.data):
            for first in range(5, 35, 10):
                days.take([(SYMBOL, rows(first, 10))])
                recorder.again()
                recorder._flush()
            assert days.waiting_rows == 0 and len(said) == 2, said
            assert "ticks are kept in memory, and written once there is room" in said[0]
            assert said[1].startswith(f"too many rows wait for the disk: {SYMBOL} from 2025-01-06 13:30:02 to")
            recorder.again()
            assert not recorder._disk_takes_writes() and len(said) == 2
        recorder.again()
        assert recorder._disk_takes_writes() and said[2:] == ["the disk takes writes again"]
        days.take([(SYMBOL, rows(5, 40))])  # asked for after the last row that is on disk
        recorder._flush()
        assert ids_of(days.logs[SYMBOL].journals[DAY].read()) == list(range(45)) and days.logs[SYMBOL].missed == 0


@pytest.mark.parametrize("scarce", ["room", "inodes"])
def test_a_disk_of_its_own_that_is_full(tmp_path: Path, scarce: str) -> None:
    from ghtrader_base.settings import load_settings

    with small_disk(tmp_path / "disk") as disk:
        settings = load_settings(disk.folder / "home")
        with RecordedDays(settings) as days:
            days.begin(SYMBOL)
            days.take([(SYMBOL, rows(0, 5000))])
            if scarce == "room":
                disk.leave(1 << 16)
            else:
                disk.leave_inodes(0)
            with pytest.raises(DiskFullError, match="no inodes are left" if scarce == "inodes" else "disk is full"):
                days.flush()
            disk.empty()
            days.seal_all()
            assert days.problems == []
        assert Lake(settings.data).read_ticks(SYMBOL, DAY).num_rows == 5000
        Lake(settings.data).verify_day("ticks", SYMBOL, DAY)
