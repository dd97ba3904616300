"""Which days are asked for and what is written, over a source that serves tables it was given."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import BadRecordingError, FailedError, NotListedError, RefusedError, UsageError
from ghtrader_market.ingest.download import ProgressLine, contiguous, download, wanted_days
from ghtrader_market.ingest.import_recordings import import_recordings, load_declared
from ghtrader_market.reference.tick_origin import UNKNOWN, OriginKind, TickOrigin
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, table_hash
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, ContractInfo, empty_ticks
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.base import RECORDED
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import no_data_days, skipped_days

CALENDAR = bundled_calendar()
DAY = date(2019, 9, 16)
TICKS = read_recording(CU1909)[0][2]
LOTS = TICKS["volume"][-1].as_py()


def ticks_of(day: date) -> pa.Table:
    shift = (day - DAY).days * 86_400_000_000_000
    return TICKS.set_column(1, RAW_TICK_SCHEMA.field(1), pa.array(TICKS["datetime_ns"].to_numpy() + shift))


class TableSource:
    """Serves what it holds: finished days in order, empty ones told as empty."""

    name = "tables"

    def __init__(self, empty: Iterable[date] = (), over: date = date.max, fails_on: date | None = None) -> None:
        self.empty, self.over, self.fails_on = set(empty), over, fails_on
        self.asked: list[tuple[str, date, date]] = []
        self.lock = threading.Lock()

    def daily_bars(self, symbols: Iterable[str], start: date, end: date) -> pa.Table:
        """Every day that is over and not empty was traded, as the ticks have it."""
        rows = [
            {"symbol": symbol, "trading_day": day, "volume": LOTS}
            for symbol in symbols
            for day in CALENDAR.days(start, min(end, self.over))
            if day not in self.empty
        ]
        return pa.Table.from_pylist(rows, schema=DAILY_BAR_SCHEMA)

    def ticks(self, symbol: str, start: date, end: date, progress=None) -> Iterator[tuple[date, pa.Table]]:
        with self.lock:
            self.asked.append((symbol, start, end))
        for number, day in enumerate(CALENDAR.days(start, min(end, self.over))):
            if day == self.fails_on:
                raise FailedError("the source broke", "mend it")
            if progress is not None:
                progress((number + 1) * TICKS.num_rows)
            yield day, empty_ticks() if day in self.empty else ticks_of(day)


def fetch(source: TableSource, lake: Lake, start: date, end: date, symbols=("SHFE.cu1911",), **options):
    return download(source, lake, CALENDAR, symbols, start, end, run_id="run", **options)


WEEK = (date(2019, 9, 9), date(2019, 9, 20))  # 9-13 is a holiday, 9-14 and 9-15 a weekend


def test_a_range_is_asked_for_once_and_written_by_day(tmp_path: Path) -> None:
    lake, source = Lake(tmp_path), TableSource()
    report = fetch(source, lake, *WEEK)
    days = CALENDAR.days(*WEEK)
    assert source.asked == [("SHFE.cu1911", *WEEK)]
    assert lake.days("ticks", "SHFE.cu1911") == days
    assert [day for _, day in report.written] == days
    assert report.rows == 200 * len(days) and report.empty == () and report.present == 0 and not report.pending
    manifest = lake.manifest("ticks", "SHFE.cu1911", days[0])
    assert (manifest.source, manifest.run_id, manifest.rows) == ("tables", "run", 200)
    assert report.to_json()["rows"] == report.rows


SEED_1, SEED_2 = (TickOrigin(kind=OriginKind.SIMULATED, world="driver", seed=seed) for seed in (1, 2))


class ToldSource(TableSource):
    """A source that says where its ticks come from."""

    def __init__(self, told: TickOrigin) -> None:
        super().__init__()
        self.told = told

    def origin(self) -> TickOrigin:
        """As it was told."""
        return self.told


def test_a_day_says_where_its_ticks_come_from(tmp_path: Path) -> None:
    lake, monday = Lake(tmp_path), WEEK[0]
    fetch(ToldSource(SEED_1), lake, monday, monday)
    fetch(TableSource(), lake, WEEK[1], WEEK[1])
    assert lake.manifest("ticks", "SHFE.cu1911", monday).details.origin == SEED_1
    assert lake.manifest("ticks", "SHFE.cu1911", WEEK[1]).details.stated_origin == UNKNOWN
    assert lake.index.origins("ticks") == {
        "SHFE.cu1911": {str(monday): "simulated: world driver, seed 1"}
    }
    assert [row.origin for row in lake.index.rows("ticks")] == ["simulated: world driver, seed 1", "source unknown"]


@pytest.mark.parametrize("recorded", [SEED_1, SEED_2, None])
def test_a_download_takes_the_place_of_a_recording_of_the_same_market_alone(
    tmp_path: Path, recorded: TickOrigin | None
) -> None:
    lake, day = Lake(tmp_path), WEEK[0]
    before = lake.write_day(
        "ticks", "SHFE.cu1911", day, ticks_of(day).slice(0, 40), source=RECORDED, details=TickDetails(origin=recorded)
    )
    report = fetch(ToldSource(SEED_1), lake, day, day)
    after = lake.manifest("ticks", "SHFE.cu1911", day)
    if recorded == SEED_2:
        assert after == before and report.written == ()
        (skipped,) = report.skipped
        assert skipped[2] == "other-origin" and "seed 2, and this is simulated: world driver, seed 1" in skipped[3]
        assert skipped_days(lake, "SHFE.cu1911")[day].reason == "other-origin"
    else:
        assert after.rows == 200 and after.details.origin == SEED_1 and not report.skipped


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fetch(TableSource(), lake, date(2019, 9, 11), date(2019, 9, 12))
    fetch(TableSource(), lake, date(2019, 9, 18), date(2019, 9, 18))
    source = TableSource()
    report = fetch(source, lake, *WEEK)
    assert source.asked == [
        ("SHFE.cu1911", date(2019, 9, 9), date(2019, 9, 10)),
        ("SHFE.cu1911", date(2019, 9, 16), date(2019, 9, 17)),
        ("SHFE.cu1911", date(2019, 9, 19), date(2019, 9, 20)),
    ]
    assert report.present == 3 and len(report.written) == 6
    again = TableSource()
    assert fetch(again, lake, *WEEK).written == () and again.asked == []


class ListedSource(TableSource):
    """Lists some contracts alone."""

    def __init__(self, *listed: str) -> None:
        super().__init__()
        self.listed = listed
        self.refused: list[str] = []

    def daily_bars(self, symbols: Iterable[str], start: date, end: date) -> pa.Table:
        (symbol,) = symbols
        if symbol not in self.listed:
            self.refused.append(symbol)
            raise NotListedError(f"the service does not know the contract {symbol}", "choose another")
        return super().daily_bars([symbol], start, end)


def test_a_contract_that_is_not_listed_costs_itself_and_is_asked_for_once(tmp_path: Path) -> None:
    lake, source = Lake(tmp_path), ListedSource("SHFE.cu1911")
    report = fetch(source, lake, *WEEK, symbols=("SHFE.cu1910", "SHFE.cu1911"))
    days = CALENDAR.days(*WEEK)
    assert lake.days("ticks", "SHFE.cu1911") == days and source.refused == ["SHFE.cu1910"]
    assert [row[:3] for row in report.skipped] == [("SHFE.cu1910", day, "not-listed") for day in days]
    assert skipped_days(lake, "SHFE.cu1910") == {} and not (tmp_path / "ticks/symbol=SHFE.cu1910").exists()


def test_where_none_is_listed_that_is_the_answer_and_nothing_is_written(tmp_path: Path) -> None:
    source = ListedSource()
    with pytest.raises(NotListedError, match="SHFE.cu1910") as caught:
        fetch(source, Lake(tmp_path / "lake"), *WEEK, symbols=("SHFE.cu1910",))
    assert caught.value.exit_code == 2 and source.refused == ["SHFE.cu1910"]
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("ledger", ["_skipped_days.json", "_no_data_dates.json"])
def test_a_contract_whose_ledger_does_not_read_holds_up_no_other(tmp_path: Path, ledger: str) -> None:
    lake, source, days = Lake(tmp_path), TableSource(), CALENDAR.days(*WEEK)
    folder = tmp_path / "ticks" / "symbol=SHFE.cu1910"
    folder.mkdir(parents=True)
    (folder / ledger).write_text("garbled")
    report = fetch(source, lake, *WEEK, symbols=("SHFE.cu1910", "SHFE.cu1911"))
    assert lake.days("ticks", "SHFE.cu1911") == days and {asked[0] for asked in source.asked} == {"SHFE.cu1911"}
    assert [row[:3] for row in report.skipped] == [("SHFE.cu1910", day, "damaged") for day in days]
    assert ledger in report.skipped_words()


def test_empty_days_are_remembered_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    lake, empty = Lake(tmp_path), date(2019, 9, 10)
    report = fetch(TableSource([empty], over=date(2019, 9, 18)), lake, *WEEK)
    assert no_data_days(lake, "SHFE.cu1911") == {empty}
    assert (tmp_path / "ticks" / "symbol=SHFE.cu1911" / "_no_data_dates.json").exists()
    assert report.empty == (("SHFE.cu1911", empty),)
    assert [day for _, day in report.pending] == [date(2019, 9, 19), date(2019, 9, 20)]
    source = TableSource()
    report = fetch(source, lake, *WEEK)
    assert source.asked == [("SHFE.cu1911", date(2019, 9, 19), date(2019, 9, 20))]
    assert report.known_empty == 1 and not report.pending
    assert empty not in lake.days("ticks", "SHFE.cu1911")


def test_several_contracts_at_once_each_within_its_life(tmp_path: Path) -> None:
    lake, source, lines = Lake(tmp_path), TableSource(), []
    contracts = [
        ContractInfo("SHFE.cu1909", date(2019, 9, 16)),
        ContractInfo("SHFE.cu1911", date(2019, 11, 15), listed=date(2019, 9, 11)),
        ContractInfo("SHFE.cu1912", date(2019, 12, 16)),
        ContractInfo("SHFE.cu2112", date(2021, 12, 15)),
    ]
    report = fetch(source, lake, *WEEK, symbols=contracts, workers=3, progress=lines.append)
    assert sorted(source.asked) == [
        ("SHFE.cu1909", WEEK[0], date(2019, 9, 16)),
        ("SHFE.cu1911", date(2019, 9, 11), WEEK[1]),
        ("SHFE.cu1912", *WEEK),
    ]
    assert all(isinstance(line, ProgressLine) and isinstance(line, str) for line in lines)
    assert lines[-1].days == lines[-1].days_wanted == len(report.written) == 21
    assert lines[-1].rows == report.rows == 21 * 200 and lines[-1].rate > 0
    assert [line.days for line in lines] == sorted(line.days for line in lines)


def test_wrong_wishes_are_refused_before_the_source_is_asked(tmp_path: Path) -> None:
    lake, source = Lake(tmp_path), TableSource()
    for start, end, symbol in (
        (WEEK[1], WEEK[0], "SHFE.cu1911"),
        (date(2019, 9, 13), date(2019, 9, 15), "SHFE.cu1911"),
        (*WEEK, "SHFE.zz1911"),
        (*WEEK, "nonsense"),
        (*WEEK, "SHFE.cu2112"),
    ):
        with pytest.raises(UsageError) as caught:
            fetch(source, lake, start, end, symbols=[symbol])
        assert caught.value.exit_code == 2 and caught.value.hint
    assert source.asked == [] and not (tmp_path / "ticks").exists()


@given(st.sets(st.dates(date(2019, 8, 1), date(2019, 11, 30))))
def test_contiguous_ranges_hold_the_days_and_no_others(some: set[date]) -> None:
    days = [day for day in some if CALENDAR.is_trading_day(day)]
    ranges = contiguous(days, CALENDAR)
    assert [day for first, last in ranges for day in CALENDAR.days(first, last)] == sorted(days)
    for (_, last), (first, _) in zip(ranges, ranges[1:], strict=False):
        assert CALENDAR.next_day(last) < first


@given(st.dates(date(2019, 1, 1), date(2020, 1, 1)), st.integers(0, 60))
def test_wanted_days_are_trading_days_of_the_life(start: date, length: int) -> None:
    end = start + (date(2019, 1, 1 + length % 28) - date(2019, 1, 1))
    info = ContractInfo("SHFE.cu1909", date(2019, 9, 16), date(2019, 3, 1))
    for day in wanted_days(info, CALENDAR, start, end):
        assert start <= day <= end and info.listed <= day <= info.expires and CALENDAR.is_trading_day(day)


# ---- recordings -----------------------------------------------------------------------------------------------------


def test_an_import_writes_the_days_and_declares_their_contract(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    report = import_recordings([CU1909, IF2101], lake, CALENDAR, run_id="run")
    assert report.written == (("CFFEX.IF2101", date(2021, 1, 4)), ("SHFE.cu1909", DAY))
    assert report.declared == {"IF": {date(2021, 1, 4): "CFFEX.IF2101"}, "cu": {DAY: "SHFE.cu1909"}}
    assert load_declared(tmp_path, "cu") == {DAY: "SHFE.cu1909"}
    assert load_declared(tmp_path, "au") == {}
    assert lake.manifest("ticks", "SHFE.cu1909", DAY).source == "recording:SHFE.cu1909_20190916_sample.csv"
    assert table_hash(lake.read_day("ticks", "SHFE.cu1909", DAY)) == table_hash(TICKS)
    again = import_recordings([CU1909], lake, CALENDAR)
    assert again.written == () and again.present == 1


def test_one_bad_file_leaves_nothing_of_the_others(tmp_path: Path) -> None:
    bad = tmp_path / "SHFE.cu1910.csv"
    bad.write_bytes(CU1909.read_bytes().replace(b"8240", b"x", 3))
    lake = Lake(tmp_path / "data")
    with pytest.raises(BadRecordingError, match="line 2, column open_interest"):
        import_recordings([CU1909, IF2101, bad], lake, CALENDAR)
    assert not (tmp_path / "data").exists()
    with pytest.raises(UsageError):
        import_recordings([], lake, CALENDAR)


def changed(tmp_path: Path) -> Path:
    path = tmp_path / "SHFE.cu1909.csv"
    path.write_bytes(b"\n".join(CU1909.read_bytes().split(b"\n")[:100]))
    return path


def test_stored_ticks_are_never_replaced(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data")
    import_recordings([CU1909], lake, CALENDAR)
    with pytest.raises(RefusedError, match="here already with other ticks") as caught:
        import_recordings([IF2101, changed(tmp_path)], lake, CALENDAR)
    assert caught.value.exit_code == 3 and "remove" in caught.value.hint
    assert lake.keys("ticks") == ["SHFE.cu1909"]
    assert table_hash(lake.read_day("ticks", "SHFE.cu1909", DAY)) == table_hash(TICKS)


def test_two_files_that_disagree_are_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data")
    other = tmp_path / "SHFE.cu1909.csv"
    lines = CU1909.read_text().split("\n")
    other.write_text("\n".join([*lines[:99], lines[99].replace(",47", ",48", 1), *lines[100:]]))
    with pytest.raises(BadRecordingError, match="and differ"):
        import_recordings([CU1909, other], lake, CALENDAR)
    assert lake.keys("ticks") == []
    assert import_recordings([CU1909, CU1909], lake, CALENDAR).rows == 200


@pytest.mark.parametrize("together", [True, False])
def test_a_day_with_several_contracts_declares_none(tmp_path: Path, together: bool) -> None:
    other = tmp_path / "SHFE.cu1910.csv"
    other.write_bytes(CU1909.read_bytes())
    lake = Lake(tmp_path / "data")
    if together:
        import_recordings([CU1909, other], lake, CALENDAR)
    else:
        import_recordings([CU1909], lake, CALENDAR)
        assert load_declared(lake.root, "cu") == {DAY: "SHFE.cu1909"}
        import_recordings([other], lake, CALENDAR)
    assert load_declared(lake.root, "cu") == {}
    assert lake.keys("ticks") == ["SHFE.cu1909", "SHFE.cu1910"]


def test_the_table_source_is_no_friendlier_than_a_real_one() -> None:
    (found,) = list(TableSource().ticks("SHFE.cu1911", DAY, DAY))
    assert found[0] == DAY and np.all(CALENDAR.trading_day_of(found[1]["datetime_ns"].to_numpy()) == np.datetime64(DAY))
