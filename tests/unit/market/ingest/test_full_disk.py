"""A download onto a full disk ends as what it is: no fault of the source, no day given up or called empty."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from ghtrader_base.errors import DiskFullError, NoRoomError, UnwritableError
from ghtrader_market.ingest.download import FetchPolicy, IngestReport, download
from ghtrader_market.ingest.import_recordings import import_recordings
from ghtrader_market.samples import CU1909
from ghtrader_market.sources.tqsdk.worker import as_error
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import no_data_days, skipped_days
from tests.support.failing_disk import nothing_grows, small_disk
from tests.unit.market.ingest.test_download_faults import CALENDAR, DAYS, SYMBOL, Faulty, ticks_of


class FullOnTheWay(Faulty):
    """A source whose own cache meets a full disk at a day, as a TqSdk process tells it."""

    def ticks(self, symbol: str, start: date, end: date, progress=None) -> Iterator[tuple[date, pa.Table]]:
        for day, table in super().ticks(symbol, start, end, progress):
            if day == DAYS[5]:
                raise DiskFullError("the disk is full: TqSdk cannot write its cache", "make room")
            yield day, table


def whole(symbol: str, day: date, tries: int) -> pa.Table | None:
    return ticks_of(day)


def fetch(source: Faulty, lake: Lake) -> IngestReport:
    return download(source, lake, CALENDAR, [SYMBOL], DAYS[0], DAYS[-1], run_id="run", policy=FetchPolicy())


def assert_nothing_was_given_up(lake: Lake) -> None:
    assert skipped_days(lake, SYMBOL) == {} and no_data_days(lake, SYMBOL) == set()
    for day in lake.days("ticks", SYMBOL):
        lake.verify_day("ticks", SYMBOL, day)
    report = fetch(Faulty(whole), lake)
    assert len(lake.days("ticks", SYMBOL)) == len(DAYS) and report.skipped == ()


@pytest.mark.parametrize("most", [0, 3_000, 12_000])
def test_the_lake_is_full(tmp_path: Path, most: int) -> None:
    lake = Lake(tmp_path / "data")
    if most:
        lake.write_day("ticks", SYMBOL, DAYS[0], ticks_of(DAYS[0]), source="test")
    source = Faulty(whole)
    with nothing_grows(tmp_path, most), pytest.raises(UnwritableError):
        fetch(source, lake)
    assert len(source.asked) <= 1, "a full disk is no reason to ask again"
    assert_nothing_was_given_up(lake)


def test_the_source_has_no_room_for_its_cache(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data")
    with pytest.raises(DiskFullError, match="TqSdk cannot write its cache"):
        fetch(FullOnTheWay(whole), lake)
    assert lake.days("ticks", SYMBOL) == DAYS[:5]
    assert_nothing_was_given_up(lake)


def test_what_tqsdk_raises_on_a_full_disk_is_told_as_such() -> None:
    error = as_error(OSError(28, "No space left on device"))
    assert type(error) is DiskFullError and "TqSdk cannot write its cache" in error.message


def test_an_import_onto_a_full_disk_is_taken_up_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data")
    with nothing_grows(tmp_path, 2_000), pytest.raises(UnwritableError):
        import_recordings([CU1909], lake, CALENDAR)
    assert import_recordings([CU1909], lake, CALENDAR).rows > 0
    assert import_recordings([CU1909], lake, CALENDAR).present == 1


def test_days_that_cannot_fit_are_refused_before_they_are_asked_for(tmp_path: Path) -> None:
    lake, source = Lake(tmp_path / "data"), Faulty(whole)
    lots = {SYMBOL: dict.fromkeys(DAYS, 10)}
    with small_disk(tmp_path / "data", "2m") as disk:
        disk.leave(300_000)
        with pytest.raises(NoRoomError, match="a download of 20 contract-days needs at least 400.0 kB, and [0-9.]+ kB"):
            download(source, lake, CALENDAR, [SYMBOL], DAYS[0], DAYS[-1], volumes=lots)
    assert source.asked == []
