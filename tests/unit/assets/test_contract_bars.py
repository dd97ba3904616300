"""One contract whose daily bars the source does not give costs itself alone, and is asked for again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from ghtrader_assets.assets.daily_bars import read_bars, traded_symbols, write_bars
from ghtrader_assets.assets.tick_download import bar_volumes
from ghtrader_assets.runs.due_days import bars_due
from ghtrader_base.errors import FailedError, GhtraderError, TimedOutError, UnreachableError
from ghtrader_market.ingest.contract_bars import bars_of_contracts
from ghtrader_market.reference.roll_schedule import schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, ContractInfo
from ghtrader_market.stores.lake.lake import Lake

CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2025, 2, 10), date(2025, 2, 12))
HELD = {"SHFE.cu2503": 5000, "SHFE.cu2504": 3000, "SHFE.cu2505": 100}
CONTRACTS = [ContractInfo(symbol, date(2025, int(symbol[-2:]), 15)) for symbol in HELD]


class Bars:
    """Gives the bars of all contracts but those that fail."""

    name = "bars"

    def __init__(self, failing: dict[str, GhtraderError]) -> None:
        self.failing = failing
        self.asked: list[str] = []

    def daily_bars(self, symbols: Iterable[str], start: date, end: date) -> pa.Table:
        rows = []
        for symbol in symbols:
            self.asked.append(symbol)
            if symbol in self.failing:
                raise self.failing[symbol]
            for day in CALENDAR.days(start, end):
                prices = dict.fromkeys(("open", "high", "low", "close"), 78_000.0)
                rows.append(
                    {"symbol": symbol, "trading_day": day, "volume": 10, "open_interest": HELD[symbol], **prices}
                )
        return pa.Table.from_pylist(rows, schema=DAILY_BAR_SCHEMA)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "data")


def update(lake: Lake, failing: dict[str, GhtraderError], days: list[date] = DAYS) -> dict[str, GhtraderError]:
    found = bars_of_contracts(Bars(failing), list(HELD), days[0], days[-1])
    write_bars(lake, "cu", found.with_unknown(lake, "cu", CONTRACTS), "bars", "run")
    return found.failed


@pytest.mark.parametrize("symbol", list(HELD))
@pytest.mark.parametrize("error", [TimedOutError("nothing came in 60 s"), FailedError("an answer nobody can read")])
def test_the_others_are_stored_and_the_one_is_named_and_due_again(
    lake: Lake, symbol: str, error: GhtraderError
) -> None:
    assert update(lake, {symbol: error}) == {symbol: error}
    bars = read_bars(lake, "cu")
    assert traded_symbols(bars) == sorted(set(HELD) - {symbol})
    assert bars.num_rows == 9 and bars_due(lake, "cu", DAYS) == DAYS
    assert sorted(bar_volumes(bars)) == traded_symbols(bars), "a day without ticks is not taken for one without trade"
    # What is not known decides no roll: cu2504 with fewer lots than cu2503 never becomes main in its place.
    mains = {day.contract for day in schedule_from_open_interest("cu", bars, calendar=CALENDAR).days}
    assert mains == {"SHFE.cu2504" if symbol == "SHFE.cu2503" else "SHFE.cu2503"}
    assert update(lake, {}) == {} and bars_due(lake, "cu", DAYS) == []


def test_a_bar_that_is_stored_stays_where_the_source_does_not_give_it_again(lake: Lake) -> None:
    update(lake, {}, DAYS[:2])
    assert list(update(lake, {"SHFE.cu2503": TimedOutError("nothing came")})) == ["SHFE.cu2503"]
    assert bars_due(lake, "cu", DAYS) == DAYS[2:], "only the day whose bar was never had"
    rows = read_bars(lake, "cu", DAYS[:2]).to_pylist()
    assert [row["open_interest"] for row in rows if row["symbol"] == "SHFE.cu2503"] == [5000, 5000]


def test_two_in_a_row_are_the_services_fault() -> None:
    failing: dict[str, GhtraderError] = {symbol: TimedOutError("nothing came") for symbol in HELD}
    source = Bars(failing)
    with pytest.raises(TimedOutError):
        bars_of_contracts(source, list(HELD), DAYS[0], DAYS[-1])
    assert source.asked == ["SHFE.cu2503", "SHFE.cu2503", "SHFE.cu2504"]


def test_a_service_that_is_away_is_asked_once() -> None:
    source = Bars({"SHFE.cu2503": UnreachableError("no quote service")})
    with pytest.raises(UnreachableError):
        bars_of_contracts(source, list(HELD), DAYS[0], DAYS[-1])
    assert source.asked == ["SHFE.cu2503"]


def test_a_damaged_file_or_a_pipe_in_its_place_is_not_waited_for(lake: Lake) -> None:
    update(lake, {})
    (path,) = lake.day_path("daily_bars", "cu", DAYS[1]).glob("*.parquet")
    path.unlink()
    os.mkfifo(path)
    assert bars_due(lake, "cu", DAYS) == [DAYS[1]]
    manifest = lake.day_path("daily_bars", "cu", DAYS[0]) / "_manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)
    assert bars_due(lake, "cu", DAYS) == DAYS[:2]
