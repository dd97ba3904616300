"""Partitions the pipeline: trading day x variety for data, horizon x variety for models.

Dimension names are chosen so that a key reads `2025-01-02|cu` and `50|cu` (Dagster orders dimensions by name).
Nothing here touches the network: trading days come from the calendar of the home or the bundled one. A trading day
has its partition once it is over (`trading_calendar.SETTLED_AT`): our calendar and clock decide, not the end of
Dagster's window at midnight. The last day and the horizons are fixed when the code loads, so a daemon that runs for
weeks sees a new day, or a horizon built since, after a reload of the code location; the daily schedule does its work in
a fresh process and always knows today, and so does a command.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

import dagster as dg

from ghtrader_assets.label_horizons import horizons_of_home
from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.trading_calendar import (
    SHANGHAI,
    TradingCalendar,
    last_known_finished_day,
    load_calendar,
)
from ghtrader_market.reference.varieties import get_variety

# Dagster calls range runs and some partition mappings beta; a terminal user can do nothing about that.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

TIMEZONE = "Asia/Shanghai"
DAY_DIMENSION = "trading_day"
VARIETY_DIMENSION = "variety"
HORIZON_DIMENSION = "horizon"
_WEEKEND = ("0 0 * * 6", "0 0 * * 0")


def _shanghai(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)


@dataclass(frozen=True)
class Partitions:
    """The partitions definitions of one load of the code.

    Attributes
    ----------
    calendar : TradingCalendar
        Which days are trading days.
    first_day, last_day : date
        Where the partitions begin, and the last trading day that has one.
    keys : tuple of str
        Varieties that have partitions.
    horizon_ticks : tuple of int
        Label horizons that have partitions, ascending (`label_horizons`).
    """

    calendar: TradingCalendar
    first_day: date
    last_day: date
    keys: tuple[str, ...]
    horizon_ticks: tuple[int, ...] = ()

    @cached_property
    def trading_days(self) -> dg.TimeWindowPartitionsDefinition:
        """One partition a trading day, weekends and holidays left out."""
        holidays = [_shanghai(day) for day in self.calendar.holidays if self.first_day <= day <= self.last_day]
        return dg.TimeWindowPartitionsDefinition(
            start=self.first_day.isoformat(),
            end=(self.last_day + timedelta(days=1)).isoformat(),
            fmt="%Y-%m-%d",
            cron_schedule="0 0 * * *",
            timezone=TIMEZONE,
            exclusions=[*_WEEKEND, *holidays],
            # A window counts as over at its midnight; the trading day it stands for is over in the afternoon before.
            end_offset=1,
        )

    def split(self, days: Iterable[date]) -> tuple[list[date], list[date]]:
        """Days that have a partition and days that have none, both ascending.

        None have days outside the pipeline's and days that a newer holiday list has taken back.
        """
        wanted = sorted(set(days))
        known = set(self.calendar.days(self.first_day, self.last_day))
        return [day for day in wanted if day in known], [day for day in wanted if day not in known]

    def words(self) -> str:
        """Which days the pipeline knows, for an error."""
        return f"the days the pipeline knows: trading days from {self.first_day} to {self.last_day}"

    @cached_property
    def varieties(self) -> dg.StaticPartitionsDefinition:
        """One partition a variety of this home."""
        return dg.StaticPartitionsDefinition(self.keys)

    @cached_property
    def horizons(self) -> dg.StaticPartitionsDefinition:
        """Label horizons in ticks."""
        return dg.StaticPartitionsDefinition([str(horizon) for horizon in self.horizon_ticks])

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


FIRST_DAY = date(2010, 1, 1)


def build_partitions(
    calendar: TradingCalendar,
    keys: tuple[str, ...],
    now: datetime | None = None,
    first_day: date = FIRST_DAY,
    horizons: tuple[int, ...] = (),
) -> Partitions:
    """Partitions of some varieties and horizons.

    The days are those from `first_day` to the last trading day over at `now` that the holiday list knows.

    Raises
    ------
    ConfigError
        No trading day is left between the two.
    """
    last_day = last_known_finished_day(calendar, now)
    if first_day > last_day:
        raise ConfigError(f"GHTRADER_FIRST_DAY is {first_day}, after {last_day}", "choose an earlier day")
    return Partitions(calendar, first_day, last_day, keys, horizons)


def _load() -> Partitions:
    settings = load_settings()
    keys = varieties_of_home(settings)
    return build_partitions(
        load_calendar(settings), keys, first_day=settings.first_day, horizons=horizons_of_home(settings, keys)
    )


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
