"""The virtual clock: speed, standing still, jumping over closed hours."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_exchange.venue.clock import VirtualClock, advance

HOURS = ((100, 200), (300, 400), (1000, 1100))


@pytest.mark.parametrize(
    ("at", "elapsed", "expected"),
    [
        (100, 0, 100),
        (100, 99, 199),
        (100, 100, 300),  # the end belongs to the next session's start
        (150, 60, 310),
        (250, 0, 250),  # standing still in closed hours stays there
        (250, 1, 301),
        (0, 5, 105),
        (399, 1, 1000),
        (1099, 1, 1100),  # behind the last session time passes as usual
        (1099, 51, 1150),
        (5000, 7, 5007),
    ],
)
def test_closed_hours_take_no_time(at, elapsed, expected):
    assert advance(at, elapsed, HOURS) == expected


def test_without_hours_time_passes():
    assert advance(250, 7, ()) == 257


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1500), st.integers(0, 800), st.integers(0, 800))
def test_advance_never_runs_back_and_adds_up(at, first, second):
    middle = advance(at, first, HOURS)
    assert middle >= at
    if first and second:
        assert advance(middle, second, HOURS) == advance(at, first + second, HOURS)


class Machine:
    now = 0

    def __call__(self) -> int:
        return self.now


def test_a_frozen_clock_stands_until_told_to_run():
    machine = Machine()
    clock = VirtualClock(100, speed=2, frozen=True, open_hours=HOURS, machine_ns=machine)
    machine.now = 50
    assert clock.now() == 100
    assert clock.set(frozen=False).now_ns == 100
    machine.now = 70
    assert clock.now() == 140
    machine.now = 110
    assert clock.now() == 320
    clock.set(speed=1)
    assert clock.now() == 320
    machine.now = 111
    assert clock.now() == 321


def test_set_changes_only_what_is_given():
    clock = VirtualClock(100, speed=3, frozen=True)
    state = clock.set(at_ns=70)
    assert (state.now_ns, state.speed, state.frozen, state.skip_closed) == (70, 3, True, True)
    assert clock.set(skip_closed=False).skip_closed is False


@pytest.mark.parametrize("speed", [0, -1, float("nan"), 2e6])
def test_a_senseless_speed_is_refused_and_changes_nothing(speed):
    clock = VirtualClock(100, speed=3, frozen=True)
    with pytest.raises(ValueError, match="speed"):
        clock.set(speed=speed, at_ns=5)
    assert clock.now() == 100
