"""What a schedule says of the next day is what the stored bars say of it, or nobody can tell."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_market.main_series.next_contract import why_not_next
from ghtrader_market.reference.roll_schedule import RollSchedule, schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA
from ghtrader_market.stores.lake.lake import Lake

CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2025, 1, 20), date(2025, 3, 7))
CONTRACTS = ("SHFE.cu2502", "SHFE.cu2503", "SHFE.cu2504")


def bars_of(day: date, interest: tuple[int, ...]) -> pa.Table:
    rows = [
        dict.fromkeys(DAILY_BAR_SCHEMA.names, 1) | {"symbol": symbol, "trading_day": day, "open_interest": lots}
        for symbol, lots in zip(CONTRACTS, interest, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=DAILY_BAR_SCHEMA)


def lake_of(root: Path, interest: list[tuple[int, ...] | None]) -> tuple[Lake, pa.Table]:
    """A lake with each day's open interest of `CONTRACTS`; None is a day without bars."""
    lake = Lake(root)
    tables = [DAILY_BAR_SCHEMA.empty_table()]
    for day, lots in zip(DAYS, interest, strict=False):
        if lots is not None:
            tables.append(bars_of(day, lots))
            lake.write_day("daily_bars", "cu", day, tables[-1], source="test")
    return lake, pa.concat_tables(tables)


def edited(schedule: RollSchedule, contract: str) -> RollSchedule:
    return RollSchedule(schedule.variety, schedule.days, contract)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.none() | st.tuples(*[st.integers(0, 99)] * len(CONTRACTS)), min_size=3, max_size=8))
def test_what_the_rule_says_is_never_gainsaid(
    tmp_path_factory: pytest.TempPathFactory, interest: list[tuple[int, ...] | None]
) -> None:
    lake, bars = lake_of(tmp_path_factory.mktemp("lake"), interest)
    schedule = schedule_from_open_interest("cu", bars, calendar=CALENDAR)
    assert why_not_next(lake, schedule, CALENDAR) == ""


def test_another_contract_is_gainsaid(tmp_path: Path) -> None:
    lake, bars = lake_of(tmp_path, [(9, 5, 1)] * 4)
    schedule = schedule_from_open_interest("cu", bars, calendar=CALENDAR)
    why = why_not_next(lake, edited(schedule, "SHFE.cu2512"), CALENDAR)
    assert why == f"SHFE.cu2512 is to trade after {DAYS[3]}, the daily bars say SHFE.cu2502"
    assert why_not_next(Lake(tmp_path / "empty"), edited(schedule, "SHFE.cu2512"), CALENDAR) == "", "nobody can tell"


def test_bars_may_be_newer_than_the_schedule(tmp_path: Path) -> None:
    lake, bars = lake_of(tmp_path, [(9, 5, 1), (9, 5, 1), (9, 5, 1), (5, 9, 1)])
    before = schedule_from_open_interest("cu", bars.slice(0, 9), calendar=CALENDAR)
    assert before.next_contract == "SHFE.cu2502" and why_not_next(lake, before, CALENDAR) == ""
    assert "the daily bars say SHFE.cu2502" in why_not_next(lake, edited(before, "SHFE.cu2504"), CALENDAR)


def test_after_a_declared_day_nobody_can_tell(tmp_path: Path) -> None:
    lake, bars = lake_of(tmp_path, [(9, 5, 1)] * 4)
    schedule = schedule_from_open_interest("cu", bars, {DAYS[4]: "SHFE.cu2504"}, CALENDAR)
    assert why_not_next(lake, edited(schedule, "SHFE.cu2504"), CALENDAR) == ""
