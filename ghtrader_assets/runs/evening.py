"""Brings varieties up to date: every step over the days that are due, in runs that belong to the one that asks for it.

What can be done is done, what cannot is named; a service that is away, or a lock that is held, is tried again by
`retry_plan`. Which days are due is `due_days`' answer, what a run does the assets'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from ghtrader_assets.partitions import PARTITIONS, day_key
from ghtrader_assets.resources.resources import shared_clients
from ghtrader_assets.runs import due_days, flows
from ghtrader_assets.runs.outcomes import as_ours
from ghtrader_assets.runs.retry_plan import RetryPlan
from ghtrader_base.errors import (
    DiskFullError,
    FailedError,
    GhtraderError,
    LockHeldError,
    LoginRefusedError,
    UnreachableError,
)
from ghtrader_base.settings import Settings
from ghtrader_market.reference.roll_schedule import RollSchedule, load_schedule
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake

Tell = Callable[[str], object]
Materialized = Callable[[str], Iterable[str]]
"""Asset -> partition keys that Dagster knows to be made."""
_LATER = (UnreachableError, LockHeldError, DiskFullError)


@dataclass(frozen=True)
class Missing:
    """What an update could not do.

    Attributes
    ----------
    variety, asset : str
    error : GhtraderError
        Why; it names the days.
    """

    variety: str
    asset: str
    error: GhtraderError

    @property
    def later(self) -> bool:
        """Whether waiting may mend it: a server that is away, a lock that is held, a full disk."""
        return isinstance(self.error, _LATER)

    @property
    def service_is_away(self) -> bool:
        """Whether the others would find nobody there either."""
        return type(self.error) in (UnreachableError, LoginRefusedError)

    def __str__(self) -> str:
        return f"{self.variety} {self.asset}: {self.error.message}"


class Attempt(Protocol):
    """One pass over one variety."""

    def __call__(self, variety: str, away: GhtraderError | None) -> list[Missing]:
        """Do what is due; `away`: the service is known not to be there, so nothing is asked of it."""
        ...


def in_rounds(
    varieties: Sequence[str],
    attempt: Attempt,
    plan: RetryPlan,
    tell: Tell,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> list[Missing]:
    """Pass over the varieties, and again over those that wait for something, until the plan ends.

    Parameters
    ----------
    clock, sleep : callable
        Seconds of the wall clock, which goes on while the machine sleeps; how to wait.

    Returns
    -------
    list of Missing
        What is missing in the end, of all varieties.
    """
    began = clock()
    found: dict[str, list[Missing]] = {}
    waiting, tries, waited_s = list(varieties), 0, 0.0
    while True:
        away: GhtraderError | None = None
        for variety in waiting:
            found[variety] = attempt(variety, away)
            away = away or next((one.error for one in found[variety] if one.service_is_away), None)
        tries += 1
        waiting = [variety for variety in waiting if any(one.later for one in found[variety])]
        # A clock that was set back must not make the plan begin anew.
        pause = plan.pause_s(tries, max(clock() - began, waited_s)) if waiting else None
        if pause is None:
            return [one for missing in found.values() for one in missing]
        first = next(one for variety in waiting for one in found[variety] if one.later)
        tell(f"{first}; {', '.join(waiting)} again in {pause:.0f} s")
        sleep(pause)
        waited_s += pause


def require_nothing_missing(missing: Sequence[Missing]) -> None:
    """An update that could not do everything has failed.

    Raises
    ------
    FailedError
        Naming all that is missing; `DiskFullError` where the disk was full at the end.
    """
    if missing:
        full = any(isinstance(one.error, DiskFullError) for one in missing)
        raise (DiskFullError if full else FailedError)(
            f"{len(missing)} steps could not be done: {'; '.join(map(str, missing))}",
            "the others are done; the next update, or the command of the step, does what is missing",
        )


@dataclass(kw_only=True)
class Evening:
    """The update of one evening.

    Attributes
    ----------
    settings : Settings
    days : sequence of date
        Trading days that are downloaded, ascending; what was downloaded before them is built where it is due.
    materialized : callable
    source : str
        Who started it, as `jobs list` shows it.
    """

    settings: Settings
    days: Sequence[date]
    materialized: Materialized
    source: str = "schedule"
    _missing: list[Missing] = field(default_factory=list, init=False)
    _new_bars: bool = field(default=False, init=False)

    def attempt(self, variety: str, away: GhtraderError | None) -> list[Missing]:
        """Do what is due of one variety now; what cannot be done holds up nothing that does not need it."""
        self._missing, self._new_bars = [], False
        lake = Lake(self.settings.data)
        if away is not None:
            self._missing.append(Missing(variety, "raw_ticks", away))
        else:
            with shared_clients():
                self._step(variety, "raw_ticks", lambda: self._download(lake, variety))
        self._step(variety, "main_l5", lambda: self._build(lake, variety))
        return self._missing

    def _download(self, lake: Lake, variety: str) -> None:
        """Daily bars and ticks that are due."""
        before = PARTITIONS.calendar.previous_day(self.days[0])
        bar_days = PARTITIONS.split([before, *self.days])[0]
        bars = self._bars(lake, variety, bar_days)
        if not bars and not self._ticks(lake, variety):
            return

        def contracts() -> None:
            flows.update_contracts(self.settings, variety, bar_days[0], self.days[-1], source=self.source)

        if not self._step(variety, "contracts", contracts):
            return
        self._new_bars = bool(bars)
        self._days("daily_bars", variety, bars)
        self._days("raw_ticks", variety, self._ticks(lake, variety))

    def _bars(self, lake: Lake, variety: str, days: Sequence[date]) -> list[date]:
        """Days whose daily bars are due; not those before all the source knows, once that was found out."""
        stored = lake.days("daily_bars", variety)
        known = set(self.materialized("daily_bars"))
        due = self._with_unknown(known, variety, days, due_days.bars_due(lake, variety, days))
        return [day for day in due if not stored or day >= stored[0] or day_key(day, variety) not in known]

    def _ticks(self, lake: Lake, variety: str) -> list[date]:
        """Days whose ticks are due: of those with daily bars, which say what traded."""
        days = [day for day in self.days if lake.has_day("daily_bars", variety, day)]
        return self._due("raw_ticks", variety, days, due_days.ticks_due(lake, variety, days))

    def _build(self, lake: Lake, variety: str) -> None:
        """The schedule, main_l5, features and labels that are due."""
        symbol = get_variety(variety).continuous_symbol
        if not lake.days("daily_bars", variety) and self._schedule(variety) is None:
            return  # nothing was ever downloaded, and why was said
        if self._new_bars or due_days.schedule_is_due(lake, variety, self._schedule(variety)):
            source = self.source
            self._step(variety, "main_schedule", lambda: flows.update_schedule(self.settings, variety, source=source))
        schedule = self._schedule(variety)
        if schedule is None:
            return
        found, _ = flows.main_days(self.settings, variety, None, None)
        due = due_days.main_due(lake, PARTITIONS.calendar, symbol, schedule, found)
        self._days("main_l5", variety, self._due("main_l5", variety, found, due))
        built = lake.days("main_l5", symbol)
        due = due_days.datasets_due(lake, symbol, built)
        due = self._due("features", variety, built, due)
        self._days("features, labels", variety, due_days.recorded_to_the_end(lake, PARTITIONS.calendar, symbol, due))

    def _schedule(self, variety: str) -> RollSchedule | None:
        try:
            return load_schedule(self.settings.data, variety)
        except GhtraderError:  # none yet, or a garbled one: the run that makes it anew says so
            return None

    def _due(self, asset: str, variety: str, days: Iterable[date], due: Iterable[date]) -> list[date]:
        """Days that are due, and those that are there without Dagster knowing of them."""
        return self._with_unknown(set(self.materialized(asset)), variety, days, due)

    @staticmethod
    def _with_unknown(known: set[str], variety: str, days: Iterable[date], due: Iterable[date]) -> list[date]:
        """Days that are due, and those whose key is none of `known`."""
        wanted = {*due, *(day for day in days if day_key(day, variety) not in known)}
        return PARTITIONS.split(wanted)[0]

    def _days(self, assets: str, variety: str, days: Sequence[date]) -> None:
        if days:
            names = assets.split(", ")
            self._step(
                variety, assets, lambda: flows.run_days(self.settings, names, variety, days, source=self.source)
            )

    def _step(self, variety: str, asset: str, work: Callable[[], object]) -> bool:
        """Do one step; whether it was done."""
        try:
            work()
        except Exception as exc:  # a fault of one step holds up no variety
            self._missing.append(Missing(variety, asset, as_ours(exc)))
            return False
        return True
