"""Importing what people have: folders, rows that are judged, days without volume, memory that does not grow."""

from __future__ import annotations

import gzip
import os
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.ingest import import_recordings as importing
from ghtrader_market.ingest.import_recordings import import_recordings, recording_files
from ghtrader_market.ingest.report import ProgressLine
from ghtrader_market.reference.tick_schema import missing_columns, table_hash, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.lake.lake import Lake

FOLDER = Path(__file__).parents[3] / "fixtures/recordings"
CALENDAR = bundled_calendar()
DAY, MONDAY = date(2019, 9, 16), date(2019, 9, 23)
CU1910 = "SHFE.cu1910"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "data")


def with_rows(folder: Path, change: object) -> Path:
    """The source day with its rows changed by `change(frame) -> frame`."""
    path = folder / "SHFE.cu1910.csv"
    frame = pd.read_csv(FOLDER / "tqsdk_SHFE.cu1910.csv").drop(columns="id")
    change(frame).to_csv(path, index=False)
    return path


def with_stale_row(frame: pd.DataFrame) -> pd.DataFrame:
    """A front's last snapshot in front: a minute before the session, the volume of Friday's day."""
    stale = frame.iloc[[0]].assign(datetime=frame["datetime"].iloc[0] - 500_000_000, volume=120_000, amount=3e10)
    return pd.concat([stale, frame], ignore_index=True)


def with_swapped_rows(frame: pd.DataFrame) -> pd.DataFrame:
    order = list(range(len(frame)))
    order[30], order[31] = order[31], order[30]
    return frame.iloc[order]


def test_a_stale_row_costs_that_row(tmp_path: Path, lake: Lake) -> None:
    report = import_recordings([with_rows(tmp_path, with_stale_row)], lake, CALENDAR)
    assert report.written == ((CU1910, MONDAY),)
    assert report.row_notes == (
        (
            CU1910,
            MONDAY,
            "SHFE.cu1910.csv: line 2 left out: before the opening, with volume 120000 where 7360 follows",
        ),
    )
    assert report.to_json()["row_notes"] == [[CU1910, "2019-09-23", report.row_notes[0][2]]]
    assert lake.manifest("ticks", CU1910, MONDAY).ticks.stale_rows == 1
    whole = read_recording(FOLDER / "tqsdk_SHFE.cu1910.csv")[0][2]
    np.testing.assert_array_equal(values_matrix(lake.read_day("ticks", CU1910, MONDAY)), values_matrix(whole))


def test_a_swapped_pair_costs_nothing(tmp_path: Path, lake: Lake) -> None:
    report = import_recordings([with_rows(tmp_path, with_swapped_rows)], lake, CALENDAR)
    ((_, _, note),) = report.row_notes
    assert note == "SHFE.cu1910.csv: line 32 put in its place: had changed places with the row after it"
    assert lake.manifest("ticks", CU1910, MONDAY).details.to_json() == {
        "swapped_rows": 1, "origin": {"kind": "imported file", "layout": "tqsdk"},
    }  # fmt: skip
    whole = read_recording(FOLDER / "tqsdk_SHFE.cu1910.csv")[0][2]
    np.testing.assert_array_equal(values_matrix(lake.read_day("ticks", CU1910, MONDAY)), values_matrix(whole))


def test_counted_ids_rise_after_a_pair_changed_places(tmp_path: Path, lake: Lake) -> None:
    import_recordings([with_rows(tmp_path, with_swapped_rows)], lake, CALENDAR)
    assert lake.read_day("ticks", CU1910, MONDAY)["id"].to_pylist() == list(range(200))


def test_ids_of_a_file_that_do_not_rise_are_refused(tmp_path: Path, lake: Lake) -> None:
    path = tmp_path / "SHFE.cu1910.csv"
    frame = pd.read_csv(FOLDER / "tqsdk_SHFE.cu1910.csv")
    frame.loc[5, "id"] = frame.loc[4, "id"]
    frame.to_csv(path, index=False)
    with pytest.raises(BadRecordingError, match="line 7: its id does not rise"):
        import_recordings([path], lake, CALENDAR)
    assert lake.keys("ticks") == []


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("SHFE.cu1908", "SHFE.cu1908 was delivered in 2019-08 and did not trade on 2019-09-16"),
        ("SHFE.cu2502", "SHFE.cu2502 is not delivered before 2025-02 and did not trade on 2019-09-16"),
    ],
)
def test_a_contract_that_did_not_live_is_refused(tmp_path: Path, lake: Lake, symbol: str, message: str) -> None:
    frame = pd.read_csv(FOLDER / "tqsdk_SHFE.cu1910.csv")
    frame["datetime"] = pd.read_csv(CU1909)["datetime"]
    frame.to_csv(path := tmp_path / "ticks.csv", index=False)
    with pytest.raises(BadRecordingError, match=message):
        import_recordings([path], lake, CALENDAR, symbol=symbol)
    assert import_recordings([path], lake, CALENDAR, symbol="SHFE.cu1909").written


def test_ticks_of_the_future_are_refused(lake: Lake) -> None:
    last = int(pd.read_csv(CU1909)["datetime"].iloc[-1])
    with pytest.raises(BadRecordingError, match="SHFE.cu1909 2019-09-16: ticks of the future"):
        import_recordings([CU1909], lake, CALENDAR, now_ns=last - 7_200_000_000_000)
    assert lake.keys("ticks") == []
    assert import_recordings([CU1909], lake, CALENDAR, now_ns=last).written


def with_repeats(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame.iloc[:10], frame.iloc[9:30], frame.iloc[29:30], frame.iloc[29:]], ignore_index=True)


def test_rows_that_stand_twice_are_stored_once_as_a_download_has_them(tmp_path: Path, lake: Lake) -> None:
    (once,) = read_recording(with_rows(tmp_path, lambda frame: frame))
    report = import_recordings([with_rows(tmp_path, with_repeats)], lake, CALENDAR)
    (note,) = report.row_notes
    assert note[2] == "SHFE.cu1910.csv: 3 rows left out: they repeat the row before them, the first in line 12"
    manifest = lake.manifest("ticks", CU1910, MONDAY)
    assert manifest is not None and manifest.details.dropped_duplicates == 3
    assert table_hash(lake.read_day("ticks", CU1910, MONDAY)) == table_hash(once[2])
    assert import_recordings([with_rows(tmp_path, lambda frame: frame)], lake, CALENDAR).present == 1


def test_alike_snapshots_of_one_second_stay_where_the_clock_shows_seconds(tmp_path: Path, lake: Lake) -> None:
    def of_seconds(frame: pd.DataFrame) -> pd.DataFrame:
        return with_repeats(frame.assign(datetime=frame["datetime"] // 10**9 * 10**9))

    assert import_recordings([with_rows(tmp_path, of_seconds)], lake, CALENDAR).row_notes == ()


def test_a_fall_in_a_session_still_refuses_the_file(tmp_path: Path, lake: Lake) -> None:
    def fallen(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[140, "volume"] = 1
        return frame

    with pytest.raises(BadRecordingError, match="SHFE.cu1910 2019-09-23: cumulative volume falls at line 142"):
        import_recordings([with_rows(tmp_path, fallen)], lake, CALENDAR)
    assert lake.keys("ticks") == []


def test_a_day_without_volume_says_so(lake: Lake) -> None:
    import_recordings([FOLDER / "SHFE.cu1910.npz"], lake, CALENDAR)
    extra = lake.manifest("ticks", CU1910, MONDAY).details.to_json()
    assert extra == {
        "missing_columns": ["average", "highest", "lowest", "volume", "amount", "open_interest"],
        "volume_missing": True,
        "origin": {"kind": "imported file", "layout": "hftbacktest"},
    }
    stored = lake.read_day("ticks", CU1910, MONDAY)
    assert list(missing_columns(stored)) == extra["missing_columns"]
    assert import_recordings([FOLDER / "SHFE.cu1910.npz"], lake, CALENDAR).present == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two layouts, one of them deeper, and what else lies in such folders."""
    found = tmp_path / "recordings"
    (found / "2021").mkdir(parents=True)
    shutil.copy(CU1909, found / "SHFE.cu1909.csv")
    shutil.copy(IF2101, found / "2021/IF2101_20210104.csv.gz")
    (found / "README.md").write_text("what this is")
    (found / ".hidden.csv").write_text("nothing")
    return found


def test_a_folder_is_read_whole_and_says_what_it_left_out(folder: Path, lake: Lake) -> None:
    lines: list[ProgressLine] = []
    report = import_recordings([folder], lake, CALENDAR, progress=lines.append)
    assert report.written == (("CFFEX.IF2101", date(2021, 1, 4)), ("SHFE.cu1909", DAY))
    assert report.left_out == (str(folder / "README.md"),)
    assert [(line.days, line.days_wanted, line.rows) for line in lines] == [(1, 2, 27_955), (2, 2, 28_155)]
    assert lines[-1].startswith("2/2 files, 28,155 ticks")
    assert recording_files([folder])[0] == [folder / "2021/IF2101_20210104.csv.gz", folder / "SHFE.cu1909.csv"]
    (empty := folder / "empty").mkdir()
    with pytest.raises(UsageError, match="no file to import"):
        import_recordings([empty], lake, CALENDAR)


def test_a_file_of_no_layout_in_a_folder_is_named(folder: Path, lake: Lake) -> None:
    (folder / "orders.csv").write_text("order,price\n1,2\n")
    with pytest.raises(BadRecordingError, match=r"orders.csv has no layout known here: its columns are order, price"):
        import_recordings([folder], lake, CALENDAR)
    assert lake.keys("ticks") == []


def test_links_and_pipes_of_a_folder_are_named(folder: Path, tmp_path: Path) -> None:
    before, _ = recording_files([folder])
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.csv").symlink_to(folder / "nowhere.csv")
    os.mkfifo(folder / "pipe.csv")
    files, left_out = recording_files([folder])
    assert files == before
    assert {"linked", "loop", "gone.csv", "pipe.csv"} <= {path.name for path in left_out}


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, lake: Lake) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(BadRecordingError, match="pipe.csv is a pipe or a device, no file"):
        import_recordings([tmp_path / "pipe.csv"], lake, CALENDAR)


def test_memory_is_bounded_by_reading_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, again = Lake(tmp_path / "kept"), Lake(tmp_path / "again")
    import_recordings([folder], kept, CALENDAR)
    monkeypatch.setattr(importing, "_KEPT_BYTES", 100_000)  # room for copper alone
    import_recordings([folder], again, CALENDAR)
    for contract in ("SHFE.cu1909", "CFFEX.IF2101"):
        assert kept.content_hash_of("ticks", contract) == again.content_hash_of("ticks", contract)


def test_a_file_that_changes_meanwhile_is_refused(folder: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_KEPT_BYTES", 0)
    path = folder / "SHFE.cu1909.csv"

    def change(line: ProgressLine) -> None:
        if line.days == line.days_wanted:
            path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:100]))

    with pytest.raises(BadRecordingError, match="changed while it was imported"):
        import_recordings([path], lake, CALENDAR, progress=change)
    assert lake.keys("ticks") == []


def test_several_layouts_of_one_day_agree(lake: Lake) -> None:
    """What TqSdk's client, its downloader and a Parquet file say of the day is the same to the bit."""
    names = ["tqsdk_downloader.csv", "parquet_zoned.parquet", "parquet_naive.parquet"]
    report = import_recordings([FOLDER / name for name in names], lake, CALENDAR)
    assert report.written == ((CU1910, MONDAY),)
    hashes = {table_hash(read_recording(FOLDER / name)[0][2]) for name in names}
    assert hashes == {lake.manifest("ticks", CU1910, MONDAY).content_hash}


def test_a_contract_that_did_not_trade_does_not_refuse_the_folder(folder: Path, lake: Lake) -> None:
    """Loggers make a file with a header for each contract they subscribe."""
    header, *_ = (folder / "SHFE.cu1909.csv").read_text().split("\n")
    (folder / "SHFE.cu1912.csv").write_text(header + "\n")
    (folder / "SHFE.cu2001.csv").touch()
    with gzip.open(folder / "SHFE.cu2002.csv.gz", "wb") as file:
        file.write(header.encode())
    report = import_recordings([folder], lake, CALENDAR)
    assert len(report.written) == 2
    names = sorted(Path(name).name for name in report.left_out)
    assert names == ["README.md", "SHFE.cu1912.csv", "SHFE.cu2001.csv", "SHFE.cu2002.csv.gz"]
    with pytest.raises(BadRecordingError, match="SHFE.cu1912.csv holds no ticks"):
        import_recordings([folder / "SHFE.cu1912.csv"], lake, CALENDAR)


def test_a_folder_without_a_tick_is_refused(tmp_path: Path, lake: Lake) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/SHFE.cu1912.csv").touch()
    with pytest.raises(UsageError, match="no file holds a tick"):
        import_recordings([tmp_path / "empty"], lake, CALENDAR)


def test_a_last_line_that_a_killed_logger_cut_off_costs_that_row(tmp_path: Path, lake: Lake) -> None:
    path = with_rows(tmp_path, lambda frame: frame)
    whole = read_recording(path)[0][2]
    path.write_bytes(path.read_bytes()[:-90])
    report = import_recordings([path], lake, CALENDAR)
    assert report.row_notes == ((CU1910, MONDAY, "SHFE.cu1910.csv: line 201 left out: it is cut off"),)
    stored = lake.read_day("ticks", CU1910, MONDAY)
    assert table_hash(stored) == table_hash(whole.slice(0, whole.num_rows - 1))
