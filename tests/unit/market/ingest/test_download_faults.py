"""A source that breaks, is slow, turns away, or gives half: all other days come, and each reason is kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from ghtrader_base.errors import ConfigError, FailedError, LoginRefusedError, TimedOutError, UnreachableError
from ghtrader_market.ingest.download import FetchPolicy, download
from ghtrader_market.ingest.run_manifest import close_killed_runs
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import CU1909
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, empty_ticks
from ghtrader_market.sources.circuit_breaker import Policy
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.base import RECORDED
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import add_skips, no_data_days, skipped_days
from tests.support.waiting import PATIENCE_S

CALENDAR = bundled_calendar()
SYMBOL, OTHER = "SHFE.cu1911", "SHFE.cu1912"
DAYS = CALENDAR.days(date(2019, 9, 2), date(2019, 9, 30))
TICKS = read_recording(CU1909)[0][2]
LOTS = TICKS["volume"][-1].as_py()
QUICK = FetchPolicy(attempts=3, outage_s=60.0, breaker=Policy(pause_s=0.01, longest_s=0.05))
Fault = Callable[[str, date, int], pa.Table | None]


def ticks_of(day: date) -> pa.Table:
    shift = (day - date(2019, 9, 16)).days * 86_400_000_000_000
    return TICKS.set_column(1, RAW_TICK_SCHEMA.field(1), pa.array(TICKS["datetime_ns"].to_numpy() + shift))


class Faulty:
    """Whole days, unless `fault` raises or gives another table; `asked` keeps each request."""

    name, contiguous_ids = "faulty", True

    def __init__(self, fault: Fault, untraded: Iterable[date] = (), whole_ranges: bool = False) -> None:
        self._fault, self._untraded, self._whole_ranges = fault, set(untraded), whole_ranges
        self.asked: list[tuple[str, date, date]] = []
        self._lock = threading.Lock()

    def daily_bars(self, symbols: Iterable[str], start: date, end: date) -> pa.Table:
        days = [day for day in CALENDAR.days(start, end) if day not in self._untraded]
        rows = [{"symbol": symbol, "trading_day": day, "volume": LOTS} for symbol in symbols for day in days]
        return pa.Table.from_pylist(rows, schema=DAILY_BAR_SCHEMA)

    def ticks(self, symbol: str, start: date, end: date, progress=None) -> Iterator[tuple[date, pa.Table]]:
        with self._lock:
            self.asked.append((symbol, start, end))
            number = len(self.asked)
        if self._whole_ranges:  # as TqSdk: a range comes whole or not at all
            for day in CALENDAR.days(start, end):
                self._fault(symbol, day, number)
        for day in CALENDAR.days(start, end):
            table = self._fault(symbol, day, number)
            if table is None:
                table = empty_ticks() if day in self._untraded else ticks_of(day)
            yield day, table


def fetch(source: Faulty, lake: Lake, symbols=(SYMBOL,), policy: FetchPolicy = QUICK, **options):
    return download(source, lake, CALENDAR, symbols, DAYS[0], DAYS[-1], run_id="run", policy=policy, **options)


def manifest(lake: Lake) -> dict:
    (path,) = (lake.root / "manifests").glob("*.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TimedOutError("nothing for 60 s"), "timed-out"), (FailedError("the client broke"), "source-error")],
)
@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("bad", [DAYS[0], DAYS[2], DAYS[9], DAYS[-1]])
def test_one_bad_day_holds_nothing_up(
    tmp_path: Path, error: Exception, reason: str, bad: date, attempts: int
) -> None:
    def fault(symbol: str, day: date, number: int) -> None:
        if day == bad:
            raise error

    lake, source = Lake(tmp_path), Faulty(fault, whole_ranges=True)
    report = fetch(source, lake, policy=FetchPolicy(attempts, outage_s=60.0, breaker=QUICK.breaker))
    assert lake.days("ticks", SYMBOL) == [day for day in DAYS if day != bad]
    assert report.skipped == ((SYMBOL, bad, reason, error.message),)
    (entry,) = skipped_days(lake, SYMBOL).values()
    assert (entry.reason, entry.detail, entry.tries) == (reason, error.message, 1)
    assert manifest(lake)["skipped"] == {f"{SYMBOL} {bad}": {"reason": reason, "detail": error.message}}
    assert len(source.asked) < 25, "careful, not day by day for ever"
    again = fetch(Faulty(lambda *_: None), lake)
    assert again.written == ((SYMBOL, bad),) and skipped_days(lake, SYMBOL) == {}


def test_a_service_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    away = iter(range(8))

    def fault(symbol: str, day: date, number: int) -> None:
        if day == DAYS[5] and next(away, None) is not None:
            raise UnreachableError("it went away")

    lake, lines = Lake(tmp_path), []
    report = fetch(Faulty(fault), lake, symbols=(SYMBOL, OTHER), tell=lines.append)
    assert report.skipped == () and len(report.written) == 2 * len(DAYS)
    assert any("it went away" in line for line in lines) and any("left alone for" in line for line in lines)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreachableError("it went away"), "unreachable"),
        (LoginRefusedError("maintenance"), "login-refused"),
        (TimedOutError("silence"), "timed-out"),
    ],
)
def test_a_service_away_for_too_long_ends_the_run_with_everything_named(
    tmp_path: Path, error: UnreachableError, reason: str
) -> None:
    def fault(symbol: str, day: date, number: int) -> None:
        if day >= DAYS[5]:
            raise error

    lake = Lake(tmp_path)
    policy = FetchPolicy(attempts=2, outage_s=0.3, breaker=QUICK.breaker)
    began = time.monotonic()
    with pytest.raises(type(error), match=error.message) as caught:
        fetch(Faulty(fault), lake, symbols=(SYMBOL, OTHER), policy=policy)
    assert time.monotonic() - began < 10 and caught.value.exit_code == 4
    assert "contract-days are skipped" in caught.value.message and "update" in caught.value.hint
    for symbol in (SYMBOL, OTHER):
        assert lake.days("ticks", symbol) == DAYS[:5]
        ledger = skipped_days(lake, symbol)
        assert list(ledger) == DAYS[5:] and {entry.reason for entry in ledger.values()} == {reason}
    told = manifest(lake)
    assert told["state"] == "failed" and error.message in told["error"] and len(told["written"][SYMBOL]) == 5


def test_nobody_there_is_said_at_once_and_no_day_is_blamed(tmp_path: Path) -> None:
    def fault(symbol: str, day: date, number: int) -> None:
        raise UnreachableError("nobody")

    lake = Lake(tmp_path / "data")
    with pytest.raises(UnreachableError, match=r"^nobody$"):
        fetch(Faulty(fault), lake)
    assert not lake.root.exists()


def test_what_no_patience_mends_is_passed_on(tmp_path: Path) -> None:
    def fault(symbol: str, day: date, number: int) -> None:
        if day == DAYS[3]:
            raise ConfigError("wrong password")

    lake = Lake(tmp_path)
    with pytest.raises(ConfigError):
        fetch(Faulty(fault), lake)
    assert lake.days("ticks", SYMBOL) == DAYS[:3] and skipped_days(lake, SYMBOL) == {}


def test_a_range_cut_short_without_a_word_is_noticed(tmp_path: Path) -> None:
    """TqSdk ends a range at the first row that is missing, and says nothing: later days then look empty."""

    def fault(symbol: str, day: date, number: int) -> pa.Table | None:
        if number == 1 and day >= DAYS[4]:
            return ticks_of(day).slice(0, 50) if day == DAYS[4] else empty_ticks()
        return None

    lake = Lake(tmp_path)
    report = fetch(Faulty(fault, untraded=[DAYS[8]]), lake)
    assert report.skipped == () and no_data_days(lake, SYMBOL) == {DAYS[8]}
    assert lake.days("ticks", SYMBOL) == [day for day in DAYS if day != DAYS[8]]
    assert all(lake.manifest("ticks", SYMBOL, day).rows == 200 for day in lake.days("ticks", SYMBOL))


def test_a_day_that_is_and_stays_partial_is_named_and_not_stored(tmp_path: Path) -> None:
    def fault(symbol: str, day: date, number: int) -> pa.Table | None:
        return {DAYS[2]: ticks_of(day).slice(0, 50), DAYS[7]: empty_ticks()}.get(day)

    lake = Lake(tmp_path)
    report = fetch(Faulty(fault), lake)
    assert [(day, reason) for _, day, reason, _ in report.skipped] == [(DAYS[2], "partial"), (DAYS[7], "no-ticks")]
    assert lake.days("ticks", SYMBOL) == [day for day in DAYS if day not in (DAYS[2], DAYS[7])]
    assert no_data_days(lake, SYMBOL) == set()


def test_rows_that_came_twice_are_noted_in_the_day(tmp_path: Path) -> None:
    def fault(symbol: str, day: date, number: int) -> pa.Table | None:
        table = ticks_of(day).take([*range(100), 99, *range(100, 200)])
        return table.set_column(0, RAW_TICK_SCHEMA.field(0), pa.array(range(201)))

    lake = Lake(tmp_path)
    assert fetch(Faulty(fault), lake).skipped == ()
    assert lake.manifest("ticks", SYMBOL, DAYS[0]).details == TickDetails(dropped_duplicates=1)


def test_a_recorded_day_is_replaced_and_the_manifest_says_so(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write_day("ticks", SYMBOL, DAYS[3], ticks_of(DAYS[3]).slice(0, 80), source=RECORDED)
    report = fetch(Faulty(lambda *_: None), lake)
    assert report.present == 0 and len(report.written) == len(DAYS)
    replaced = lake.manifest("ticks", SYMBOL, DAYS[3])
    assert (replaced.rows, replaced.source) == (200, "faulty") and replaced.ticks.was_replaced


def test_the_next_run_puts_right_what_a_killed_one_left(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fetch(Faulty(lambda *_: None), lake)
    (path,) = (lake.root / "manifests").glob("*.json")
    done = json.loads(path.read_text())
    path.write_text(json.dumps({**done, "state": "running", "pid": 2**22 + 1, "written": {}}))
    # Killed between manifest and ledger: the day is here, and the ledger does not know it yet.
    add_skips(lake, SYMBOL, {DAYS[0]: ("partial", "")})
    key, day = lake.key_path("ticks", SYMBOL), lake.day_path("ticks", SYMBOL, DAYS[1])
    left = [key / "._no_data_dates.json.x1.tmp", day / ".part-000000000000.parquet.7.tmp", day / "part-0.parquet"]
    left += [day / "part-0.parquet.sha256", day / "._manifest.json.x2.tmp", key / "date=2019-10-08" / "part-1.parquet"]
    (key / "date=2019-10-08").mkdir()
    for each in left:
        each.write_text("")
    before = {file: file.read_bytes() for file in day.iterdir() if file not in left}
    report = fetch(Faulty(lambda *_: None), lake)
    assert report.present == len(DAYS) and not report.written
    assert {file: file.read_bytes() for file in day.iterdir()} == before
    assert not any(each.exists() for each in left) and not (key / "date=2019-10-08").exists()
    assert skipped_days(lake, SYMBOL) == {}
    closed = json.loads(path.read_text())
    assert closed["state"] == "killed" and closed["written"] == done["written"]
    assert close_killed_runs(lake) == []


def test_every_run_has_its_manifest(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fetch(Faulty(lambda *_: None, untraded=[DAYS[0]]), lake)
    told = manifest(lake)
    assert told["state"] == "done" and told["run_id"] == "run" and told["source"] == "faulty"
    assert told["asked"] == {f"ticks/{SYMBOL}": [str(DAYS[0]), str(DAYS[-1]), len(DAYS)]}
    assert told["written"] == {SYMBOL: [str(day) for day in DAYS[1:]]} and told["empty"] == {SYMBOL: [str(DAYS[0])]}
    fetch(Faulty(lambda *_: None), lake, symbols=(OTHER,))
    assert {path.name for path in (lake.root / "manifests").iterdir()} == {"run.json", "run-2.json"}


def test_a_stop_while_the_work_is_handed_out_ends_what_was_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal may come between two submissions; whoever is at work by then must hear of it."""

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *arguments, **named):
            super().submit(*arguments, **named)
            while not source.asked:
                time.sleep(0.01)
            raise KeyboardInterrupt

    def fault(symbol: str, day: date, number: int) -> None:
        raise FailedError("this source is closed")

    source = Faulty(fault)
    patient = FetchPolicy(attempts=3, outage_s=600.0, breaker=Policy(pause_s=60.0, longest_s=60.0))
    monkeypatch.setattr("ghtrader_market.ingest.download.ThreadPoolExecutor", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, Lake(tmp_path), symbols=(SYMBOL, OTHER), policy=patient)
    deadline = time.monotonic() + PATIENCE_S
    while any(thread.name.startswith("ingest") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread goes on asking a source that nobody waits for"
        time.sleep(0.01)
