"""The rounds of a daily update on a virtual clock: what waits for something is tried again until the plan ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_assets.runs.evening import Missing, in_rounds, require_nothing_missing
from ghtrader_assets.runs.retry_plan import RetryPlan
from ghtrader_base.errors import FailedError, GhtraderError, LockHeldError, TimedOutError, UnreachableError
from ghtrader_base.settings import Settings

pytestmark = pytest.mark.clock
FOR_S = 10800.0
VARIETIES = ["cu", "au", "ag"]


def moment(text: str) -> float:
    return datetime.fromisoformat(f"2026-11-27T{text}+08:00").timestamp()


class Day:
    """A service that is away for a while, on a clock that only waiting and asking move."""

    def __init__(self, away: tuple[str, str], begins: str = "17:30", asking_s: float = 3.0) -> None:
        self.now = moment(begins)
        self.away = tuple(map(moment, away))
        self.asking_s = asking_s
        self.asked: list[tuple[str, float]] = []
        self.done: dict[str, float] = {}
        self.told: list[str] = []

    def attempt(self, variety: str, away: GhtraderError | None) -> list[Missing]:
        if away is not None:
            return [Missing(variety, "raw_ticks", away)]
        self.asked.append((variety, self.now))
        self.now += self.asking_s
        if self.away[0] <= self.now < self.away[1]:
            return [Missing(variety, "contracts", UnreachableError("no quote service", "start it"))]
        self.done[variety] = self.now
        return []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, attempt: Callable[[str, GhtraderError | None], list[Missing]] | None = None) -> list[Missing]:
        return in_rounds(
            VARIETIES, attempt or self.attempt, RetryPlan(FOR_S), self.told.append,
            clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip


def test_a_service_that_comes_back_is_asked_again_and_all_is_done_by_seven():
    day = Day(("17:25", "18:10"))
    assert day.run() == []
    assert set(day.done) == set(VARIETIES)
    assert moment("18:10") <= max(day.done.values()) < moment("18:21"), "well before 19:00"
    assert {variety for variety, at in day.asked if at < moment("18:10")} == {"cu"}, "one asks for all"
    assert all("no quote service" in line and " again in " in line for line in day.told)


def test_a_service_that_stays_away_is_named_and_the_run_ends_before_the_night():
    day = Day(("17:25", "23:00"))
    missing = day.run()
    assert {one.variety for one in missing} == set(VARIETIES)
    assert moment("20:00") < day.now < moment("20:31")
    with pytest.raises(FailedError, match="cu contracts: no quote service; au raw_ticks") as caught:
        require_nothing_missing(missing)
    assert caught.value.exit_code == 1


def test_an_update_that_slept_through_its_end_does_not_wait_any_more():
    day = Day(("17:25", "23:00"))
    slept = iter([moment("20:40") - moment("17:40")])

    def sleep(seconds: float) -> None:  # the machine is put to sleep once
        day.now += next(slept, seconds)

    day.sleep = sleep
    assert len(day.run()) == 3
    assert day.now < moment("20:45")


def test_a_clock_that_is_set_back_again_and_again_ends_the_update_all_the_same():
    day, slept = Day(("00:00", "23:59")), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        day.now += seconds - 3600.0
        assert len(slept) < 1000

    day.sleep = sleep
    assert len(day.run()) == 3
    assert sum(slept) <= FOR_S


def test_what_no_waiting_mends_is_not_tried_again():
    day = Day(("09:00", "09:01"))
    tries: list[str] = []

    def attempt(variety: str, away: GhtraderError | None) -> list[Missing]:
        tries.append(variety)
        return [Missing(variety, "features", FailedError("not ready"))] if variety == "au" else []

    (only,) = day.run(attempt)
    assert tries == VARIETIES and str(only) == "au features: not ready" and day.told == []


def test_a_held_lock_and_a_slow_answer_are_one_varietys_own():
    day = Day(("09:00", "09:01"))
    tries: list[str] = []
    errors = {"cu": LockHeldError("ticks are held by pid 7"), "au": TimedOutError("nothing came")}

    def attempt(variety: str, away: GhtraderError | None) -> list[Missing]:
        assert away is None
        tries.append(variety)
        error = errors.pop(variety, None)
        return [] if error is None else [Missing(variety, "raw_ticks", error)]

    assert day.run(attempt) == []
    assert tries == ["cu", "au", "ag", "cu", "au"]


@given(st.integers(1, 60), st.floats(0, 20000))
def test_the_plan_never_waits_beyond_its_end(tries: int, since_s: float):
    plan = RetryPlan(FOR_S)
    pause = plan.pause_s(tries, since_s)
    if pause is None:
        assert since_s + plan.longest_s > FOR_S
    else:
        assert plan.first_s <= pause <= plan.longest_s and since_s + pause <= FOR_S


def test_the_default_ends_before_the_night_session(settings: Settings):
    assert moment("17:30") + settings.daily_update_retry_s < moment("21:00")
