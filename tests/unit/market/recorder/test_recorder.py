"""The recorder's parts that need no service: what is accepted, what a journal keeps, when silence is a fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader.cli import run
from ghtrader_base.errors import BeyondCalendarError, IntegrityError
from ghtrader_base.lock_keys import ticks_key
from ghtrader_base.locks import read_holders
from ghtrader_base.settings import Settings
from ghtrader_market.ingest.validation import examine
from ghtrader_market.recorder.day_writer import QUIET_S, RecordedDays, accept, ordered_rows
from ghtrader_market.recorder.recorder import ticks_expected
from ghtrader_market.recorder.row_log import RowLog, journal_days, journal_path
from ghtrader_market.reference.holiday_list import save_holidays
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, table_hash
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake
from tests.support.waiting import PATIENCE_S

CALENDAR, CU = bundled_calendar(), get_variety("cu")
DAY = date(2025, 1, 6)
SYMBOL = "SHFE.cu2502"
TIMES = CALENDAR.sessions("cu", DAY)[-1][0] + 500_000_000 * np.arange(200)
Make = Callable[..., pa.Table]


def rows(ids: list[int], times: list[int]) -> pa.Table:
    table = RAW_TICK_SCHEMA.empty_table().to_pydict()
    blank = {name: [1] * len(ids) for name in table}
    return pa.table(blank | {"id": ids, "datetime_ns": times}, schema=RAW_TICK_SCHEMA)


def ids_of(table: pa.Table) -> list[int]:
    return table["id"].to_pylist()


def test_duplicates_disorder_and_gaps_are_told_apart() -> None:
    found = accept(rows([1, 2, 2, 3, 6, 5, 7], [10, 20, 20, 20, 15, 40, 30]), -1)
    assert ids_of(found.rows) == [1, 2, 3, 6, 7]  # 5 comes after 6
    assert (found.duplicates, found.missed) == (2, 2)
    ordered = ordered_rows(found.rows, [(0, 100)])
    assert (ids_of(ordered.mended.table), ordered.disordered) == ([1, 2, 7], 1)  # 3 says what 2 said; 6 runs backwards
    again = accept(rows([5, 6, 7, 8], [10, 20, 30, 40]), 7)
    assert (ids_of(again.rows), again.duplicates, again.missed) == ([8], 3, 0)
    late = accept(rows([12], [50]), 8)
    assert (ids_of(late.rows), late.missed) == ([12], 3)
    assert accept(rows([], []), 8).rows.num_rows == 0


packets = st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=8)


@given(packets, st.integers(0, 3))
def test_what_is_kept_rises_whatever_comes(found: list[list[int]], jitter: int) -> None:
    last_id = -1
    parts = []
    for packet in found:
        accepted = accept(rows(packet, [i * 10 + (i * 7) % (jitter * 10 + 1) for i in packet]), last_id)
        assert accepted.duplicates + accepted.rows.num_rows == len(packet)
        parts.append(accepted.rows)
        last_id = max([last_id, *ids_of(accepted.rows)])
    whole = pa.concat_tables([rows([], []), *parts])
    best: list[int] = []
    for number in (n for packet in found for n in packet):
        if not best or number > best[-1]:
            best.append(number)
    assert ids_of(whole) == best
    day = ordered_rows(whole, [(0, 1000)]).mended.table
    assert ids_of(day) == sorted(set(ids_of(day))) and (np.diff(day["datetime_ns"].to_numpy()) >= 0).all()
    if jitter == 0:  # with times that rise with the ids nothing is left out
        assert ids_of(day) == best


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64)) - 8 * 3600 * 10**9


@pytest.mark.parametrize(
    ("now", "newest", "expected"),
    [
        ("2025-01-06T10:00:00", "2025-01-06T09:58:00", True),
        ("2025-01-06T10:20:00", "2025-01-06T10:14:59", False),  # the break
        ("2025-01-06T10:30:10", "2025-01-06T10:14:59", False),  # open for 10 s only
        ("2025-01-06T10:30:40", "2025-01-06T10:14:59", True),
        ("2025-01-06T17:00:00", "2025-01-06T14:59:59", False),
        ("2025-01-06T22:00:00", None, True),
        ("2025-01-04T10:00:00", None, False),  # Saturday
        ("2025-01-28T22:00:00", "2025-01-27T15:00:00", False),  # Spring Festival
        ("2025-02-05T09:00:20", "2025-01-27T15:00:00", False),
        ("2025-02-05T09:05:00", "2025-01-27T15:00:00", True),  # the first session after it
        ("2026-01-28T22:00:00", "2025-01-06T09:58:00", True),  # a simulated market: only its own time tells
        ("2026-01-28T22:00:00", "2025-01-06T11:29:59.500", False),
    ],
)
def test_silence_is_a_fault_in_trading_hours_only(now: str, newest: str | None, expected: bool) -> None:
    market = ns(newest) if newest else -1
    assert ticks_expected(CALENDAR, CU, market, ns(now), 30.0) is expected


def test_behind_the_holiday_list_silence_is_no_fault() -> None:
    night = ns("2026-12-31 21:05:00")  # no night session begins before a holiday; the list ends and cannot even say so
    for market in (-1, ns("2026-12-31 15:00:00"), ns("2026-12-31 14:00:00")):
        assert not ticks_expected(CALENDAR, CU, market, night, 30.0)
    assert not ticks_expected(CALENDAR, CU, -1, ns("2027-01-04 09:05:00"), 30.0)


def test_a_journal_gives_back_what_was_appended(tmp_path: Path, make_ticks: Make) -> None:
    table = make_ticks(TIMES)
    nan = table.set_column(9, RAW_TICK_SCHEMA.field(9), pa.array(np.full(200, np.nan)))
    journal = RowLog(journal_path(tmp_path, SYMBOL, DAY))
    assert journal.read().num_rows == 0
    journal.append(table.slice(0, 70))
    journal.append(nan.slice(70))
    whole = pa.concat_tables([table.slice(0, 70), nan.slice(70)])
    assert table_hash(journal.read()) == table_hash(whole)
    journal.close()
    assert journal_days(tmp_path, SYMBOL) == [DAY] and journal_days(tmp_path, "SHFE.cu2503") == []
    again = RowLog(journal.path)
    assert table_hash(again.read()) == table_hash(whole)
    again.remove()
    assert journal_days(tmp_path, SYMBOL) == []


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 300, "bit"])
def test_a_torn_end_is_cut_off_and_the_next_rows_follow(tmp_path: Path, make_ticks: Make, cut: int | str) -> None:
    table = make_ticks(TIMES)
    journal = RowLog(tmp_path / "j.journal")
    journal.append(table.slice(0, 50))
    before = journal.path.stat().st_size
    journal.append(table.slice(50, 50))
    journal.close()
    data = bytearray(journal.path.read_bytes())
    if cut == "bit":
        data[-100] ^= 1
    else:
        del data[before + cut :]
    journal.path.write_bytes(data)
    mended = RowLog(journal.path)
    assert mended.read().equals(table.slice(0, 50))
    mended.append(table.slice(100, 10))
    assert ids_of(mended.read()) == [*range(50), *range(100, 110)]


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.journal"
    path.write_bytes(b"a letter to my aunt")
    with pytest.raises(IntegrityError, match="is no journal"):
        RowLog(path)
    assert path.read_bytes() == b"a letter to my aunt"


WRITER = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from ghtrader_market.recorder.row_log import RowLog
journal, table = RowLog(Path(sys.argv[1])), pq.read_table(sys.argv[2])
print("ready", flush=True)
while True:
    at = journal.read().num_rows % table.num_rows
    journal.append(table.slice(at, 7))
    print(at + min(7, table.num_rows - at), flush=True)
"""


def test_kill_9_loses_nothing_that_was_flushed(tmp_path: Path, make_ticks: Make) -> None:
    import pyarrow.parquet as pq

    table, path = make_ticks(TIMES), tmp_path / "j.journal"
    pq.write_table(table, tmp_path / "t.parquet")
    for number in range(3):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", WRITER, str(path), str(tmp_path / "t.parquet")]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(0.01 + 0.02 * number)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(PATIENCE_S)
        told = writer.stdout.read().split()
        writer.stdout.close()
        kept = RowLog(path).read()
        assert kept.num_rows >= (int(told[-1]) if told and kept.num_rows < 200 else 0)
        assert kept.slice(0, 200).equals(table.slice(0, min(kept.num_rows, 200)))


# ---- days ----


def day_rows(make_ticks: Make, day: date, first_id: int, n: int = 120) -> pa.Table:
    """n rows at the start of a day's first session and, after it, at its close."""
    sessions = CALENDAR.sessions("cu", day)
    times = np.concatenate(
        [sessions[0][0] + 500_000_000 * np.arange(n - 20), sessions[-1][1] - 10**10 + 500_000_000 * np.arange(20)]
    )
    return make_ticks(times, seed=first_id, first_id=first_id)


NEXT = CALENDAR.next_day(DAY)


def test_days_roll_with_the_night_session(settings: Settings, make_ticks: Make) -> None:
    first, second = day_rows(make_ticks, DAY, 0), day_rows(make_ticks, NEXT, 120)
    other = day_rows(make_ticks, DAY, 0, 60)
    with RecordedDays(settings) as days:
        for symbol in (SYMBOL, "SHFE.cu2503"):
            days.begin(symbol)
        assert days.take([(SYMBOL, first.slice(0, 100)), ("SHFE.cu2503", other)]) == 160
        days.flush()
        assert not days.seal_what_is_over(days.heard) and days.sealed == {}
        days.take([(SYMBOL, first.slice(100)), (SYMBOL, second.slice(0, 30))])  # the evening of DAY is NEXT's night
        assert days.seal_what_is_over(days.heard)
        assert {key: value.rows for key, value in days.sealed.items()} == {
            (SYMBOL, DAY): 120, ("SHFE.cu2503", DAY): 60,
        }  # fmt: skip
        days.take([(SYMBOL, second)])
        assert not days.seal_what_is_over(days.heard) and days.seal_what_is_over(days.heard + QUIET_S) is False
        assert days.sealed[SYMBOL, NEXT].to_json() == {
            "symbol": SYMBOL, "day": str(NEXT), "rows": 120, "missed": 0, "state": "ended",
        }  # fmt: skip
    assert days.lake.read_day("ticks", SYMBOL, DAY).equals(first)
    assert days.lake.read_day("ticks", SYMBOL, NEXT).equals(second)
    assert days.lake.manifest("ticks", SYMBOL, NEXT).source == "recorded"
    assert list((settings.data / "recording").rglob("*.journal")) == []


@pytest.mark.parametrize("cuts", [(), (1,), (1, 60, 101), (40, 100, 140)])
def test_a_stale_row_costs_itself_and_a_download_of_the_day_is_the_same(
    settings: Settings, make_ticks: Make, cuts: tuple[int, ...]
) -> None:
    """Yesterday's last state, a minute before each opening; a swapped pair; a row that came twice."""
    night, morning = CALENDAR.sessions("cu", DAY)[:2]
    times = np.concatenate([
        [night[0] - 60 * 10**9], night[0] + 500_000_000 * np.arange(99),
        [morning[0] - 60 * 10**9], morning[0] + 500_000_000 * np.arange(98), [CALENDAR.sessions("cu", DAY)[-1][1]],
    ])  # fmt: skip
    table = make_ticks(times, first_id=500)
    volume, amount = (table[name].to_numpy().copy() for name in ("volume", "amount"))
    volume[[0, 100]], amount[[0, 100]] = 120_000, 4.4e10
    for index, column in (("volume", volume), ("amount", amount)):
        place = RAW_TICK_SCHEMA.get_field_index(index)
        table = table.set_column(place, RAW_TICK_SCHEMA.field(index), pa.array(column))
    order = np.arange(200)
    order[[150, 151]], order[121] = [151, 150], 120
    table = table.take(pa.array(order)).set_column(0, RAW_TICK_SCHEMA.field("id"), pa.array(500 + np.arange(200)))

    downloaded = examine(table, int(volume[-1]), True, CALENDAR.sessions("cu", DAY))
    assert not downloaded.reason and downloaded.table.num_rows == 197
    assert downloaded.details.to_json() == {"dropped_duplicates": 1, "stale_rows": 2, "swapped_rows": 1}
    assert "volume 120000" in downloaded.notes[0] and "before the opening" in downloaded.notes[0]

    told: list[str] = []
    edges = [0, *cuts, 200]
    for start, end in zip(edges, edges[1:], strict=False):
        with RecordedDays(settings, tell=told.append) as days:
            days.begin(SYMBOL)
            days.take([(SYMBOL, table.slice(start, end - start))])
            days.seal_all()
    stored, manifest = days.lake.read_day("ticks", SYMBOL, DAY), days.lake.manifest("ticks", SYMBOL, DAY)
    assert table_hash(stored) == table_hash(downloaded.table)
    recorded = manifest.details.to_json()
    assert recorded.pop("recorded") == {"missed": 0, "ended": True} and recorded == downloaded.details.to_json()
    assert sum("volume 120000" in line for line in told) == 2


def test_a_stopped_day_goes_on_where_it_stopped(settings: Settings, make_ticks: Make) -> None:
    table = day_rows(make_ticks, DAY, 0)
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, table.slice(0, 40))])
        days.seal_all()
        assert days.sealed[SYMBOL, DAY].state == "unfinished"
    with RecordedDays(settings) as days:  # killed: the journal stays
        assert days.begin(SYMBOL).last_id == 39
        days.take([(SYMBOL, table.slice(20, 40))])
        days.flush()
    with RecordedDays(settings) as days:
        log = days.begin(SYMBOL)
        assert (log.last_id, log.open_days) == (59, [DAY])
        days.take([(SYMBOL, table.slice(70))])
        assert (log.missed, log.duplicates) == (10, 0)
        days.seal_all()
    manifest = days.lake.manifest("ticks", SYMBOL, DAY)
    assert (manifest.rows, manifest.details.to_json()) == (110, {"recorded": {"missed": 10, "ended": True}})


def test_a_kill_between_lake_and_journal_doubles_nothing(settings: Settings, make_ticks: Make, monkeypatch) -> None:
    table = day_rows(make_ticks, DAY, 0)

    def killed(name: str) -> None:
        raise KeyboardInterrupt(name)

    with RecordedDays(settings) as days, pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("ghtrader_market.recorder.day_writer.failpoint", killed)
        days.begin(SYMBOL)
        days.take([(SYMBOL, table)])
        days.seal_all()
    assert len(journal_days(settings.data, SYMBOL)) == 1
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        days.seal_all()
    assert days.lake.read_day("ticks", SYMBOL, DAY).equals(table) and journal_days(settings.data, SYMBOL) == []


def test_a_downloaded_day_is_never_mixed_with_a_recorded_one(settings: Settings, make_ticks: Make) -> None:
    table = day_rows(make_ticks, DAY, 0)
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, table.slice(0, 40))])
        days.flush()
        days.lake.write_day("ticks", SYMBOL, DAY, table, source="tqsdk")
        days.seal_all()
        assert days.sealed[SYMBOL, DAY].state == "kept as tqsdk has it"
        assert days.lake.read_day("ticks", SYMBOL, DAY).equals(table)
        days.lake.delete_day("ticks", SYMBOL, DAY)
        days.lake.write_day("ticks", SYMBOL, DAY, table.slice(0, 40), source="recorded", run_id="r")
        partial = days.lake.manifest("ticks", SYMBOL, DAY)
        replaced = days.lake.write_day("ticks", SYMBOL, DAY, table, source="tqsdk")
        assert replaced.details.to_json() == {
            "replaced": {"source": "recorded", "run_id": "r", "rows": 40, "content_hash": partial.content_hash}
        }
        assert days.lake.write_day("ticks", SYMBOL, DAY, table, source="tqsdk").details == replaced.details


SEED_1, SEED_2 = (TickOrigin(kind=OriginKind.SIMULATED, world="driver", seed=seed) for seed in (1, 2))


def recording(settings: Settings, origin: TickOrigin) -> RecordedDays:
    days = RecordedDays(settings)
    days.origin = origin
    return days


def test_rows_of_two_markets_never_stand_in_one_day(settings: Settings, make_ticks: Make) -> None:
    table = day_rows(make_ticks, DAY, 0)
    with recording(settings, SEED_1) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, table.slice(0, 40))])
        days.flush()  # and killed
    with recording(settings, SEED_2) as days:
        days.begin(SYMBOL)  # what the other one left goes into the lake as its own
        assert days.lake.manifest("ticks", SYMBOL, DAY).details.origin == SEED_1
        assert days.take([(SYMBOL, table.slice(0, 60))]) == 60, "the ids of another market are not these"
        days.seal_all()
        (problem,) = days.problems
        assert "recorded before of simulated: world driver, seed 1, now of simulated: world driver, seed 2" in problem
        kept = Path(problem.rpartition(" ")[2])
        assert RowLog(kept).read().num_rows == 60 and kept.suffix == ".kept1"
        assert days.lake.read_day("ticks", SYMBOL, DAY).equals(table.slice(0, 40))
    with recording(settings, SEED_1) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, table)])
        days.seal_all()
        found = days.lake.manifest("ticks", SYMBOL, DAY)
        assert found.rows == 120 and found.details.origin == SEED_1 and not days.problems


def test_rows_of_an_older_version_make_a_day_of_unknown_source(settings: Settings, make_ticks: Make) -> None:
    table = day_rows(make_ticks, DAY, 0)
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, table.slice(0, 40))])
        days.seal_all()
    with recording(settings, SEED_1) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, table)])
        days.seal_all()
        found = days.lake.manifest("ticks", SYMBOL, DAY)
        assert found.rows == 120 and found.details.origin is None


def test_rows_that_make_no_day_stay_in_the_journal(settings: Settings, make_ticks: Make) -> None:
    table = day_rows(make_ticks, DAY, 0)
    falling = table.set_column(6, RAW_TICK_SCHEMA.field(6), pa.array(np.arange(120)[::-1]))
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        days.take([(SYMBOL, falling)])
        days.seal_all()
        assert "cumulative volume falls" in days.problems[0] and days.sealed == {}
    assert journal_days(settings.data, SYMBOL) == [DAY]


def test_a_symbol_is_recorded_once(settings: Settings) -> None:
    with RecordedDays(settings) as days:
        days.begin(SYMBOL)
        assert any(held.name == ticks_key(SYMBOL) for held in read_holders(settings.locks))
    assert not read_holders(settings.locks)


@pytest.mark.clock
def test_the_command_says_what_it_needs(home: Path, capsys) -> None:
    assert run(["record"]) == 2
    assert run(["record", "--symbols", "KQ.m@SHFE.cu"]) == 2
    assert run(["record", "--symbol", "KQ.m@SHFE.cu", "--var", "au"]) == 2
    assert run(["record", "--symbol", "SHFE.cu2502"]) == 2
    assert run(["record", "--symbols", "SHFE.xx2502"]) == 2
    assert run(["record", "--var", "cu"]) == 2  # no credentials
    assert "TQSDK_USER" in capsys.readouterr().err


def test_rows_behind_the_holiday_list_are_refused_until_it_is_refreshed(settings: Settings, make_ticks: Make) -> None:
    last, following = date(2026, 12, 31), date(2027, 1, 4)
    whole = TradingCalendar([*CALENDAR.holidays, date(2027, 1, 1)], CALENDAR.first, date(2027, 12, 31))
    symbol = "SHFE.cu2702"

    def rows_of(day: date, first: int) -> pa.Table:
        return make_ticks(whole.sessions("cu", day)[0][0] + 500_000_000 * np.arange(120), first_id=first)

    with RecordedDays(settings) as days:
        days.begin(symbol)
        assert days.take([(symbol, rows_of(last, 0))]) == 120
        with pytest.raises(BeyondCalendarError, match="2026-12-31, not for the trading day of 2027-01-04"):
            days.take([(symbol, rows_of(following, 500))])
        assert days.waiting_rows == 120, "what was taken before is kept"
        save_holidays(settings.data, [*CALENDAR.holidays, date(2027, 1, 1), date(2027, 10, 1)], "vendor")
        assert days.take([(symbol, rows_of(following, 500))]) == 120
        days.seal_all()
    assert Lake(settings.data).days("ticks", symbol) == [last, following]
