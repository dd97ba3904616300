"""Daily bars that were damaged on the disk: asked for again by the next evening, and no other day waits for them."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from ghtrader_assets.assets.daily_bars import read_bars, write_bars
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.due_days import bars_due, ticks_due
from ghtrader_assets.runs.evening import Evening
from ghtrader_base.errors import IntegrityError
from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA
from ghtrader_market.stores.lake.daily_bars import damaged_bars
from ghtrader_market.stores.lake.lake import Lake

pytestmark = pytest.mark.clock

CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2025, 2, 10), date(2025, 2, 14))
MAIN = "SHFE.cu2503"


def bar(day: date, held: int) -> dict[str, object]:
    prices = dict.fromkeys(("open", "high", "low", "close", "settlement"), 78_000.0)
    return {"symbol": MAIN, "trading_day": day, "volume": 100, "open_interest": held, **prices}


def table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=DAILY_BAR_SCHEMA)


@pytest.fixture
def lake(settings: Settings) -> Lake:
    lake = Lake(settings.data)
    write_bars(lake, "cu", table(*(bar(day, 1000) for day in DAYS)), "test", "")
    return lake


def file_of(lake: Lake, day: date):
    (path,) = lake.day_path("daily_bars", "cu", day).glob("*.parquet")
    return path


def damage(lake: Lake, day: date) -> None:
    file_of(lake, day).write_bytes(b"PAR1" + bytes(200) + b"PAR1")


def edit(lake: Lake, day: date) -> None:
    """Another open interest in a file that reads well."""
    path, other = file_of(lake, day), Lake(lake.root.parent / "other")
    write_bars(other, "cu", table(bar(day, 9000)), "test", "")
    path.write_bytes(file_of(other, day).read_bytes())


@pytest.mark.parametrize("spoil", [damage, edit])
@pytest.mark.parametrize("day", [DAYS[0], DAYS[2]])
def test_damaged_bars_are_due_and_hold_up_no_other_day(lake: Lake, settings: Settings, spoil, day: date) -> None:
    spoil(lake, day)
    assert list(damaged_bars(lake, "cu")) == [day]
    evening = Evening(settings=settings, days=DAYS[3:], materialized=lambda _: [f"{each}|cu" for each in DAYS])
    assert bars_due(lake, "cu", DAYS[3:]) == evening._bars(lake, "cu", DAYS[3:]) == [day]
    assert ticks_due(lake, "cu", DAYS) == DAYS, "of none of them are ticks here"
    with pytest.raises(IntegrityError, match=r"cannot be read|not those that their manifest names"):
        flows.update_schedule(settings, "cu")
    write_bars(lake, "cu", table(bar(day, 1000)), "test", "")
    assert damaged_bars(lake, "cu") == {} and bars_due(lake, "cu", DAYS) == []
    assert set(read_bars(lake, "cu")["open_interest"].to_pylist()) == {1000}
