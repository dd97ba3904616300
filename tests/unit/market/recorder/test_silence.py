"""A silence in virtual time: whose it is, the market's or the feed's, and how soon a dead feed is found."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from ghtrader_market.recorder.silence import ANSWER_S, SilenceWatch, Step

STALE_S = 30.0
LAST_NS = 10**18
SYMBOL = "SHFE.cu2502"


def restarts(
    seconds: float, answer: Callable[[float], dict[str, int] | None], due: Callable[[float], bool] = lambda now: True
) -> list[float]:
    """Moments at which the client is started again; the last tick came at 0, `answer` is the service's a second after
    it was asked."""
    watch, found, asked, now = SilenceWatch(STALE_S), [], None, 0.0
    watch.connected(0.0)
    while now < seconds:
        now += 0.1
        said = answer(now) if asked is not None and now - asked >= 1.0 else None
        step = watch.step(now, 0.0, LAST_NS, partial(due, now), said)
        if step is Step.ASK:
            asked = now
        elif step is Step.RESTART:
            found.append(round(now, 1))
            asked = None
            watch.connected(now)
    return found


def test_half_an_hour_locked_at_the_limit_starts_no_client_again() -> None:
    assert restarts(1800.0, lambda now: {SYMBOL: LAST_NS}) == []
    assert restarts(1800.0, lambda now: {}) == [], "none of the contracts was ever traded"


@pytest.mark.parametrize("dies", [0.0, 700.0, 1234.5])
def test_a_feed_that_dies_is_found_in_time_however_long_the_market_was_silent(dies: float) -> None:
    """It dies when the market prints again, and nothing of that arrives."""
    first = restarts(1800.0, lambda now: {SYMBOL: LAST_NS + (now > dies)})[0]
    assert dies < first <= dies + STALE_S + 2.0


def test_a_service_that_does_not_answer_is_dead_and_is_asked_ever_more_rarely() -> None:
    found = restarts(1800.0, lambda now: None)
    assert found[0] <= STALE_S + ANSWER_S + 1.0
    pauses = [after - before for before, after in zip(found, found[1:], strict=False)]
    assert pauses == sorted(pauses) and 60.0 < pauses[0] < pauses[-1] <= 300.0 + ANSWER_S + 1.0


def test_in_a_break_nobody_is_asked() -> None:
    assert restarts(7200.0, lambda now: None, lambda now: False) == []
    (first, *_) = restarts(7200.0, lambda now: None, lambda now: now > 7000.0)
    assert first == pytest.approx(7000.0 + ANSWER_S, abs=0.5)


def test_a_silent_market_is_told_of_ever_more_rarely() -> None:
    watch, told, now = SilenceWatch(STALE_S), [], 0.0
    watch.connected(0.0)
    while now < 1800.0:
        now += 1.0
        if watch.step(now, 0.0, LAST_NS, lambda: True, {SYMBOL: LAST_NS}) is Step.TELL:
            told.append(now)
            assert "the market is silent" in watch.why
    assert len(told) <= 6 and all(after >= 2 * before for before, after in zip(told, told[1:], strict=False))


def test_ticks_end_a_silence_and_what_was_asked_in_it() -> None:
    watch = SilenceWatch(STALE_S)
    watch.connected(0.0)
    assert watch.step(31.0, 0.0, LAST_NS, lambda: True, None) is Step.ASK
    assert watch.step(32.0, 31.5, LAST_NS + 1, lambda: True, {SYMBOL: LAST_NS + 2}) is Step.NOTHING
    assert watch.step(62.0, 31.5, LAST_NS + 1, lambda: True, {SYMBOL: LAST_NS + 2}) is Step.ASK
