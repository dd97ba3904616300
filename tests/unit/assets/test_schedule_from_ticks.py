"""A schedule made of ticks: what is a stub, damaged or without open interest decides no roll, and the rest is done."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from ghtrader_assets.assets.daily_bars import bars_from_ticks
from ghtrader_assets.runs import flows
from ghtrader_base.errors import IntegrityError
from ghtrader_base.settings import Settings
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.day_details import Recording, TickDetails
from ghtrader_market.stores.lake.lake import Lake
from tests.support.copper_day import whole_day

pytestmark = pytest.mark.clock

CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2025, 2, 11), date(2025, 2, 14))
MAIN, NEXT = "SHFE.cu2503", "SHFE.cu2504"


def write(lake: Lake, symbol: str, day: date, held: Any, rows: int = 0, **kept: Any) -> None:
    times, values = whole_day(day, 60.0)
    values[COLUMN_INDEX["open_interest"]] = held
    n = rows or len(times)
    lake.write_day(
        "ticks",
        symbol,
        day,
        table_from_values(np.arange(n), times[:n], values[:, :n]),
        **({"source": "recording:x.csv"} | kept),
    )


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """Four days of two contracts, the first of which has more open interest on each of them."""
    lake = Lake(settings.data)
    for day in DAYS:
        write(lake, MAIN, day, 200_000)
        write(lake, NEXT, day, 90_000)
    return lake


def mains(settings: Settings) -> list[str]:
    return [day.contract for day in load_schedule(settings.data, "cu").days]


def test_the_open_interest_of_a_stub_decides_no_roll(lake: Lake, settings: Settings) -> None:
    """45 minutes of a recording, in which the next contract had the larger open interest: the day has no bar."""
    stub = {"source": "recorded", "details": TickDetails(recorded=Recording(missed=0, ended=False))}
    write(lake, NEXT, DAYS[2], 900_000, rows=45, **stub)
    (run,) = flows.update_schedule(settings, "cu")
    schedule = load_schedule(settings.data, "cu")
    assert NEXT not in {day.contract for day in schedule.days} and schedule.next_contract == MAIN
    assert [metadata["unfinished"] for metadata in run.metadata.values()] == [[str(DAYS[2])]]
    whole = {"source": "recorded", "details": TickDetails(recorded=Recording(missed=0, ended=True))}
    write(lake, NEXT, DAYS[2], 900_000, **whole)
    flows.update_schedule(settings, "cu")
    assert mains(settings) == [MAIN, MAIN, NEXT], "recorded to its end it does"


def test_a_damaged_contract_day_is_named_and_decides_no_roll(lake: Lake, settings: Settings) -> None:
    """The main contract's own ticks do not read on one day."""
    (file,) = lake.day_path("ticks", MAIN, DAYS[1]).rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(IntegrityError) as failure:
        flows.update_schedule(settings, "cu")
    assert str(DAYS[1]) in failure.value.message and failure.value.exit_code == 1
    assert mains(settings) == [MAIN] * 3, "the schedule is there, of all the others"
    made = bars_from_ticks(lake, "cu", DAYS)
    assert list(made.failed) == [(MAIN, DAYS[1])] and made.bars.num_rows == 2 * len(DAYS) - 1


def test_ticks_without_open_interest_decide_no_roll(lake: Lake, settings: Settings) -> None:
    """A recording that has none, or has it in its first rows alone."""
    write(lake, MAIN, DAYS[1], 0)
    times, _ = whole_day(DAYS[2], 60.0)
    write(lake, MAIN, DAYS[2], np.where(np.arange(len(times)) < 100, 200_000, 0))
    flows.update_schedule(settings, "cu")
    assert mains(settings) == [MAIN] * 3
    bars = bars_from_ticks(lake, "cu", DAYS).bars.to_pylist()
    held = {bar["trading_day"]: bar["open_interest"] for bar in bars if bar["symbol"] == MAIN}
    assert [held[day] for day in DAYS] == [200_000, None, 200_000, 200_000]
