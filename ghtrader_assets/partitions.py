"""Partitions the pipeline: trading day x variety for data, horizon x variety for models.

Dimension names are chosen so that a key reads `2025-01-02|cu` and `50|cu` (Dagster orders dimensions by name).
Nothing here touches the network: trading days come from the calendar of the home or the bundled one. The last day
is fixed when the code loads, so a daemon that runs for weeks sees a new day after a reload of the code location;
the daily schedule does its work in a fresh process and always knows today.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import dagster as dg

from ghtrader_assets.families import HORIZONS
from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.trading_calendar import TradingCalendar, load_calendar
from ghtrader_market.reference.varieties import get_variety

# Dagster calls range runs and some partition mappings beta; a terminal user can do nothing about that.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

FIRST_DAY = date(2020, 1, 2)
TIMEZONE = "Asia/Shanghai"
DAY_DIMENSION = "trading_day"
VARIETY_DIMENSION = "variety"
HORIZON_DIMENSION = "horizon"
EVENING_HOUR = 18
SETTLED_HOUR = 16
_WEEKEND = ("0 0 * * 6", "0 0 * * 0")


def trading_day_now(calendar: TradingCalendar, now: datetime | None = None) -> date:
    """The trading day that is on, or the next one to open, at Shanghai time `now`."""
    now = (now or datetime.now(ZoneInfo(TIMEZONE))).astimezone(ZoneInfo(TIMEZONE))
    day = now.date() + timedelta(days=1 if now.hour >= EVENING_HOUR else 0)
    return day if calendar.is_trading_day(day) else calendar.next_day(day)


def last_finished_day(calendar: TradingCalendar, now: datetime | None = None) -> date:
    """The last trading day whose sessions are over, with an hour for the source to settle."""
    now = (now or datetime.now(ZoneInfo(TIMEZONE))).astimezone(ZoneInfo(TIMEZONE))
    today = now.date()
    return today if calendar.is_trading_day(today) and now.hour >= SETTLED_HOUR else calendar.previous_day(today)


def _shanghai(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(TIMEZONE))


@dataclass(frozen=True)
class Partitions:
    """The partitions definitions of one load of the code.

    Attributes
    ----------
    calendar : TradingCalendar
        Which days are trading days.
    last_day : date
        Last trading day that has a partition.
    keys : tuple of str
        Varieties that have partitions.
    """

    calendar: TradingCalendar
    last_day: date
    keys: tuple[str, ...]

    @cached_property
    def trading_days(self) -> dg.TimeWindowPartitionsDefinition:
        """One partition a trading day, weekends and holidays left out."""
        span = (self.last_day - FIRST_DAY).days + 1
        weekdays = (day for day in (FIRST_DAY + timedelta(days=i) for i in range(span)) if day.weekday() < 5)
        holidays = [_shanghai(day) for day in weekdays if not self.calendar.is_trading_day(day)]
        return dg.TimeWindowPartitionsDefinition(
            start=FIRST_DAY.isoformat(),
            end=(self.last_day + timedelta(days=1)).isoformat(),
            fmt="%Y-%m-%d",
            cron_schedule="0 0 * * *",
            timezone=TIMEZONE,
            exclusions=[*_WEEKEND, *holidays],
        )

    @cached_property
    def varieties(self) -> dg.StaticPartitionsDefinition:
        """One partition a variety of this home."""
        return dg.StaticPartitionsDefinition(self.keys)

    @cached_property
    def horizons(self) -> dg.StaticPartitionsDefinition:
        """Label horizons in ticks."""
        return dg.StaticPartitionsDefinition([str(horizon) for horizon in HORIZONS])

    @cached_property
    def day_variety(self) -> dg.MultiPartitionsDefinition:
        """`2025-01-02|cu`."""
        return dg.MultiPartitionsDefinition({DAY_DIMENSION: self.trading_days, VARIETY_DIMENSION: self.varieties})

    @cached_property
    def horizon_variety(self) -> dg.MultiPartitionsDefinition:
        """`50|cu`."""
        return dg.MultiPartitionsDefinition({HORIZON_DIMENSION: self.horizons, VARIETY_DIMENSION: self.varieties})


def varieties_of_home(settings: Settings) -> tuple[str, ...]:
    """Keys of GHTRADER_VARIETIES, each once.

    Not the whole variety table: Dagster goes through every day of every variety again and again, which takes seconds
    with all of them.

    Raises
    ------
    ConfigError
        One is not in the variety table, or none is named.
    """
    keys = tuple(dict.fromkeys(key.strip() for key in settings.varieties.split(",") if key.strip()))
    try:
        for key in keys:
            get_variety(key)
    except UsageError as error:
        raise ConfigError(f"GHTRADER_VARIETIES: {error.message}", error.hint) from error
    if not keys:
        raise ConfigError("GHTRADER_VARIETIES names no variety", "set GHTRADER_VARIETIES=cu,au,ag,IF")
    return keys


def build_partitions(calendar: TradingCalendar, keys: tuple[str, ...], now: datetime | None = None) -> Partitions:
    """Partitions of some varieties up to the trading day that is on at `now`."""
    return Partitions(calendar, trading_day_now(calendar, now), keys)


def _load() -> Partitions:
    settings = load_settings()
    return build_partitions(load_calendar(settings), varieties_of_home(settings))


PARTITIONS = _load()
"""Those of this load of the code."""


def all_days_of_variety() -> dg.MultiPartitionMapping:
    """Horizon x variety reads every day of the same variety."""
    return dg.MultiPartitionMapping(
        {VARIETY_DIMENSION: dg.DimensionPartitionMapping(VARIETY_DIMENSION, dg.IdentityPartitionMapping())}
    )


def by_variety() -> dg.MultiToSingleDimensionPartitionMapping:
    """Between an asset by variety and one by variety and something else, either way round."""
    return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=VARIETY_DIMENSION)


def day_key(day: date, variety: str) -> str:
    """Partition key of a trading day and variety."""
    return f"{day.isoformat()}|{variety}"


def horizon_key(horizon: int, variety: str) -> str:
    """Partition key of a horizon and variety."""
    return f"{horizon}|{variety}"


def split_horizon_key(key: str) -> tuple[int, str]:
    """Horizon and variety of a key."""
    horizon, _, variety = key.partition("|")
    return int(horizon), variety


def days_by_variety(keys: Iterable[str]) -> dict[str, list[date]]:
    """Trading days wanted of each variety, ascending, from day x variety keys.

    Raises
    ------
    ValueError
        No key at all: Dagster starts a step with an empty list when a range is written the wrong way round.
    """
    wanted: dict[str, list[date]] = {}
    for key in keys:
        day, _, variety = str(key).partition("|")
        wanted.setdefault(variety, []).append(date.fromisoformat(day))
    if not wanted:
        raise ValueError("no partition in this range: is its start after its end?")
    return {variety: sorted(days) for variety, days in wanted.items()}
