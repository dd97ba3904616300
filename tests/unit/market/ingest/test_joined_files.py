"""A day that lies in several files is stored as the day that one file would have held."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ghtrader_base.errors import BadRecordingError, RefusedError
from ghtrader_market.ingest import import_recordings as importing
from ghtrader_market.ingest.import_recordings import import_recordings
from ghtrader_market.ingest.report import IngestReport
from ghtrader_market.reference.tick_schema import table_hash
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake

FOLDER = Path(__file__).parents[3] / "fixtures/recordings"
CALENDAR = bundled_calendar()
CU1910, MONDAY = "SHFE.cu1910", date(2019, 9, 23)
CTP = pd.read_csv(FOLDER / "ctp_logger.csv", dtype=str, keep_default_na=False)
TQSDK = pd.read_csv(FOLDER / "tqsdk_SHFE.cu1910.csv")
MORNING = int(np.flatnonzero(CTP["UpdateTime"].str.startswith("09"))[0])
"""The first row of the day session."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "data")


def files(folder: Path, frame: pd.DataFrame = CTP, **rows: object) -> list[Path]:
    """Files of these rows of the day, named as they are called."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, which in rows.items():
        paths.append(folder / f"cu1910_{name}.csv")
        (which if isinstance(which, pd.DataFrame) else frame.iloc[which]).to_csv(paths[-1], index=False)
    return paths


def whole_day(folder: Path, frame: pd.DataFrame = CTP) -> str:
    """Hash of the day as one file has it."""
    lake = Lake(folder / "whole")
    import_recordings(files(folder / "one", frame, day=slice(None)), lake, CALENDAR, symbol=CU1910)
    return table_hash(lake.read_day("ticks", CU1910, MONDAY))


def assert_whole(lake: Lake, report: IngestReport, folder: Path, frame: pd.DataFrame = CTP) -> None:
    assert report.written == ((CU1910, MONDAY),) and report.rows == len(frame)
    assert table_hash(lake.read_day("ticks", CU1910, MONDAY)) == whole_day(folder, frame)


def test_night_and_day_session_apart(tmp_path: Path, lake: Lake) -> None:
    paths = files(tmp_path / "recorded", b_night=slice(MORNING), a_day=slice(MORNING, None))
    report = import_recordings([tmp_path / "recorded"], lake, CALENDAR)
    assert_whole(lake, report, tmp_path)
    assert report.row_notes == ((CU1910, MONDAY, "joined of cu1910_b_night.csv, cu1910_a_day.csv"),)
    manifest = lake.manifest("ticks", CU1910, MONDAY)
    assert manifest.source == "recording:cu1910_a_day.csv, cu1910_b_night.csv"
    assert manifest.ticks.to_json() == {"origin": {"kind": "imported file", "layout": "ctp"}}
    assert import_recordings(paths, lake, CALENDAR).present == 1, "the order of files makes no difference"


def test_a_logger_that_was_restarted_and_files_that_overlap(tmp_path: Path, lake: Lake) -> None:
    paths = files(
        tmp_path / "recorded", first=slice(90), second=slice(70, 150), third=slice(150, None), all_again=slice(70, 150)
    )
    report = import_recordings(paths, lake, CALENDAR)
    assert_whole(lake, report, tmp_path)
    ((_, _, note),) = report.row_notes
    assert note.endswith("cu1910_first.csv, cu1910_second.csv, cu1910_third.csv; rows of more than one of them: 20")


def test_two_loggers_that_each_missed_rows_make_the_whole_day(tmp_path: Path, lake: Lake) -> None:
    rows = np.arange(len(CTP))
    paths = files(tmp_path / "recorded", one=rows[rows % 7 != 3], two=rows[rows % 7 != 5], part=slice(40, 60))
    assert_whole(lake, import_recordings(paths, lake, CALENDAR), tmp_path)


@pytest.mark.parametrize("again", [0, 1, 6])
def test_a_file_may_end_between_two_snapshots_of_one_second(tmp_path: Path, lake: Lake, again: int) -> None:
    pairs = CTP["UpdateTime"].iloc[np.arange(len(CTP)) // 2 * 2].tolist()
    of_seconds = CTP.assign(UpdateTime=pairs, UpdateMillisec="0")
    paths = files(tmp_path / "recorded", of_seconds, one=slice(101), two=slice(101 - again, None))
    assert_whole(lake, import_recordings(paths, lake, CALENDAR), tmp_path, of_seconds)


def test_ids_of_the_files_stay(tmp_path: Path, lake: Lake) -> None:
    numbered = TQSDK.assign(id=TQSDK["id"] + 5000)
    paths = files(tmp_path / "recorded", numbered, one=slice(120), two=slice(100, None))
    import_recordings(paths, lake, CALENDAR, symbol=CU1910)
    assert lake.read_day("ticks", CU1910, MONDAY)["id"].to_pylist() == numbered["id"].tolist()


def test_little_memory_reads_the_files_again(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_KEPT_BYTES", 0)
    paths = files(tmp_path / "recorded", one=slice(120), two=slice(100, None))
    report = import_recordings(paths, lake, CALENDAR)
    monkeypatch.undo()
    assert_whole(lake, report, tmp_path)


def test_two_things_of_one_moment_are_refused_by_their_places(tmp_path: Path, lake: Lake) -> None:
    other = CTP.iloc[100:].copy()
    other.iloc[12, other.columns.get_loc("BidVolume1")] = "77"
    paths = files(tmp_path / "recorded", one=slice(150), two=other)
    was = int(float(CTP["BidVolume1"].iloc[112]))
    with pytest.raises(BadRecordingError, match=f"bid_volume1 is {was} in line 114 and 77 in line 14") as caught:
        import_recordings(paths, lake, CALENDAR)
    assert "one.csv and " in caught.value.message and "import one of them" in caught.value.hint
    assert lake.keys("ticks") == []


def test_the_same_snapshots_under_another_clock_are_refused(tmp_path: Path, lake: Lake) -> None:
    late = TQSDK.drop(columns="id").assign(datetime=TQSDK["datetime"] + 37_000_000)
    paths = files(tmp_path / "recorded", TQSDK.drop(columns="id"), one=slice(None), two=late)
    with pytest.raises(BadRecordingError, match="and differ: 0 rows of the 199 in the time that both cover are alike"):
        import_recordings(paths, lake, CALENDAR, symbol=CU1910)
    assert lake.keys("ticks") == []


def test_volumes_that_begin_anew_in_the_second_file_are_refused(tmp_path: Path, lake: Lake) -> None:
    anew = CTP.iloc[MORNING:].copy()
    anew["Volume"] = (anew["Volume"].astype(int) - int(anew["Volume"].iloc[0])).astype(str)
    paths = files(tmp_path / "recorded", night=slice(MORNING), day=anew)
    with pytest.raises(BadRecordingError, match=r"cumulative volume falls at line 2 of cu1910_day.csv"):
        import_recordings(paths, lake, CALENDAR)
    assert lake.keys("ticks") == []


def test_files_of_different_columns_are_refused(tmp_path: Path, lake: Lake) -> None:
    bare = CTP.iloc[MORNING:].drop(columns=["OpenInterest"])
    paths = files(tmp_path / "recorded", night=slice(MORNING), day=bare)
    with pytest.raises(BadRecordingError, match="only one of them has open_interest"):
        import_recordings(paths, lake, CALENDAR)


def test_a_session_that_comes_later_says_to_import_both(tmp_path: Path, lake: Lake) -> None:
    night, day = files(tmp_path / "recorded", night=slice(MORNING), day=slice(MORNING, None))
    import_recordings([night], lake, CALENDAR)
    with pytest.raises(RefusedError) as caught:
        import_recordings([day], lake, CALENDAR)
    assert "import all files of the day at once" in caught.value.hint


def test_a_night_under_a_date_that_may_be_either_is_refused(tmp_path: Path, lake: Lake) -> None:
    """DCE's ActionDay is Monday on a Friday night: read as a date, the night would be Tuesday's."""
    soy = CTP.drop(columns="TradingDay").assign(InstrumentID="m2001", ActionDay="20190923")
    evening = soy[soy["UpdateTime"].between("21:00:00", "22:59:59")]
    day = soy[soy["UpdateTime"].between("09:00:00", "11:29:59")]
    (night,) = files(tmp_path / "recorded", night=evening)
    with pytest.raises(BadRecordingError, match="ActionDay: DCE prints the trading day") as caught:
        import_recordings([night], lake, CALENDAR)
    assert "TradingDay" in caught.value.hint and lake.keys("ticks") == []
    (both,) = files(tmp_path / "both", day=pd.concat([evening, day]))
    assert import_recordings([both], lake, CALENDAR).written == (("DCE.m2001", MONDAY),)
    (stated,) = files(tmp_path / "stated", night=evening.assign(TradingDay="20190923", InstrumentID="m2005"))
    assert import_recordings([stated], lake, CALENDAR).written == (("DCE.m2005", MONDAY),)
