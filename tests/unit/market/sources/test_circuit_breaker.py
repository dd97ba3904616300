"""The circuit breaker: its states by property, its pauses by bound, its class by threads."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from ghtrader_market.sources.circuit_breaker import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    CircuitBreaker,
    Policy,
    State,
    admits,
    failed,
    succeeded,
)

POLICY = Policy(failures=3, pause_s=1.0, factor=2.0, longest_s=10.0)
STEPS = st.lists(st.tuples(st.sampled_from(["ask", "fail", "succeed"]), st.floats(0, 20), st.floats(0, 0.999)))


def test_it_opens_at_the_third_failure_in_a_row_and_lets_one_out_when_its_time_has_come() -> None:
    state = State()
    for now in (0.0, 1.0):
        state = failed(state, POLICY, now, 0.0)
        assert state.name == CLOSED and admits(state, now) == (True, state)
    state = failed(state, POLICY, 2.0, 0.0)
    assert (state.name, state.until, state.since) == (OPEN, 2.5, 0.0)
    assert admits(state, 2.4) == (False, state)
    out, probing = admits(state, 2.5)
    assert out and probing.name == HALF_OPEN
    assert admits(probing, 99.0) == (False, probing), "one tries it out, the others wait"
    assert succeeded(probing) == State()
    again = failed(probing, POLICY, 3.0, 0.0)
    assert (again.name, again.opened, again.until) == (OPEN, 2, 4.0), "the second pause is twice the first"


def test_a_success_between_forgets_the_failures() -> None:
    state = failed(failed(State(), POLICY, 0.0, 0.5), POLICY, 1.0, 0.5)
    assert failed(succeeded(state), POLICY, 2.0, 0.5).name == CLOSED


@given(st.integers(0, 10_000), st.floats(0, 0.999999))
def test_a_pause_is_bounded_and_never_nothing(opened: int, chance: float) -> None:
    assert 0.5 * POLICY.pause_s <= POLICY.pause(opened, chance) <= POLICY.longest_s
    assert POLICY.pause(opened, 0.0) <= POLICY.pause(opened + 1, 0.0)


@given(STEPS)
def test_whatever_happens_an_open_circuit_is_quiet_and_comes_back(steps: list[tuple[str, float, float]]) -> None:
    state, now, asking = State(), 0.0, 0
    for what, seconds, chance in steps:
        now += seconds
        if what == "ask":
            good, after = admits(state, now)
            if state.name == OPEN:
                assert good == (now >= state.until)
            if state.name == HALF_OPEN:
                assert not good
            asking += good
            state = after
        elif what == "succeed":
            state = succeeded(state)
            assert state == State()
        else:
            before = state
            state = failed(state, POLICY, now, chance)
            assert (state == before) if before.name == OPEN else state.failures == before.failures + 1
            if state.name == OPEN and before.name != OPEN:
                assert now + 0.5 <= state.until <= now + POLICY.longest_s
        assert state.name in (CLOSED, OPEN, HALF_OPEN)
        assert (state.name == CLOSED) == (state.failures < POLICY.failures)
    # From anywhere: time and one answer close it.
    if state.name == OPEN:
        good, state = admits(state, state.until)
        assert good
    assert succeeded(state).name == CLOSED


def test_several_threads_send_one_probe() -> None:
    now = [0.0]
    breaker = CircuitBreaker(POLICY, clock=lambda: now[0], chance=lambda: 0.0)
    for _ in range(3):
        assert breaker.admits()
        breaker.failed()
    assert not breaker.admits() and breaker.wait_s() == 0.5 and breaker.state.name == OPEN
    now[0] = 5.0
    assert breaker.away_s() == 5.0 and breaker.wait_s() == 0.0
    out: list[bool] = []
    threads = [threading.Thread(target=lambda: out.append(breaker.admits())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(out) == 1 and breaker.wait_s() > 0
    breaker.succeeded()
    assert breaker.away_s() == 0.0 and breaker.admits()
