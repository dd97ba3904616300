"""Says which days of a variety are due: missing or stale by what the manifests say.

Reads only. Which days are looked at, and what is done about those that are due, is `evening`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date

from ghtrader_base.errors import IntegrityError
from ghtrader_market.main_series.main_l5 import is_up_to_date
from ghtrader_market.reference.roll_schedule import RollSchedule
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.stores.base import RECORDED
from ghtrader_market.stores.lake.daily_bars import damaged_bars, read_bar_day, unanswered_bars
from ghtrader_market.stores.lake.declared_days import load_declared
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.unfinished_days import why_unfinished_main

BARS = "daily_bars"
MADE_OF_MAIN = ("features", "labels")


def bars_due(lake: Lake, variety: str, days: Iterable[date]) -> list[date]:
    """Days without stored daily bars, and every day whose stored bars are damaged or not all known: rolls need them."""
    missing = (day for day in days if not lake.has_day(BARS, variety, day))
    return sorted({*missing, *damaged_bars(lake, variety), *unanswered_bars(lake, variety)})


def ticks_due(lake: Lake, variety: str, days: Iterable[date]) -> list[date]:
    """Days of which a contract that traded, by its daily bar, is not stored whole.

    Of days that have daily bars. What our recorder wrote is not whole: a download takes its place. A day that a
    recording declared is. A ledger that calls a day empty on which the contract traded is not believed.
    """
    declared = load_declared(lake.root, variety)
    here: dict[str, set[date]] = {}
    due = []
    for day in days:
        if day in declared:
            continue
        try:
            bars = read_bar_day(lake, variety, day).to_pylist()
        except IntegrityError:  # its run says what is wrong with it
            due.append(day)
            continue
        traded = [bar["symbol"] for bar in bars if bar["volume"]]
        for symbol in traded:
            if symbol not in here:
                stored = set(lake.days("ticks", symbol)) - lake.index.days_from("ticks", symbol, RECORDED)
                here[symbol] = stored
        if any(day not in here[symbol] for symbol in traded):
            due.append(day)
    return due


def schedule_is_due(lake: Lake, variety: str, schedule: RollSchedule | None) -> bool:
    """Whether daily bars, or ticks, reach further than the schedule does."""
    stored = lake.days(BARS, variety)
    if schedule is None or not schedule.days:
        return True
    return bool(stored) and stored[-1] > schedule.days[-1].day


def main_due(
    lake: Lake, calendar: TradingCalendar, symbol: str, schedule: RollSchedule, days: Iterable[date]
) -> list[date]:
    """Scheduled days whose main_l5 is missing, or was built from other ticks or under another schedule."""

    def stale(day: date) -> bool:
        scheduled = schedule.get(day)
        there = lake.manifest("main_l5", symbol, day)
        raw = lake.manifest("ticks", scheduled.contract, day) if scheduled is not None else None
        if scheduled is None or raw is None or there is None:
            return True
        return not is_up_to_date(lake, calendar, there, raw, scheduled)

    return _due(days, stale)


def datasets_due(lake: Lake, symbol: str, days: Sequence[date]) -> list[date]:
    """Days of main_l5 whose features or labels are missing, or were built from other ticks."""

    def stale(day: date) -> bool:
        source = lake.manifest("main_l5", symbol, day)
        built = [lake.manifest(dataset, symbol, day) for dataset in MADE_OF_MAIN]
        return source is None or any(
            manifest is None or manifest.built.source_hash("main_l5") != source.content_hash for manifest in built
        )

    return _due(days, stale)


def recorded_to_the_end(lake: Lake, calendar: TradingCalendar, symbol: str, days: Iterable[date]) -> list[date]:
    """Days of main_l5 without those that somebody had built of a stub (`--allow-unfinished`): nobody asked for more."""
    found = []
    for day in days:
        with contextlib.suppress(IntegrityError):  # its run says what is wrong with it
            main_day = lake.manifest("main_l5", symbol, day)
            if main_day is not None and why_unfinished_main(lake, calendar, main_day):
                continue
        found.append(day)
    return found


def _due(days: Iterable[date], stale: Callable[[date], bool]) -> list[date]:
    found = []
    for day in days:
        try:
            due = stale(day)
        except IntegrityError:  # its run says what is wrong with it
            due = True
        if due:
            found.append(day)
    return found
