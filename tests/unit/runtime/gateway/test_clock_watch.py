"""A clock that is set while a real account is traded: found at once, and nothing opens until it is right."""

from __future__ import annotations

import pytest

from ghtrader_base.errors import UnreachableError
from ghtrader_base.settings import Settings
from ghtrader_market.sources.service_clock import ClockState
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.gateway import gateway
from ghtrader_runtime.gateway.clock_watch import ASK_EVERY_S, RETRY_S, ClockWatch
from tests.support.open_gateway import open_gateway


class Machine:
    """Clocks that the test sets, and a service that tells the true time, or nothing."""

    def __init__(self) -> None:
        self.now, self.ahead, self.asked, self.away = 1_000.0, 0.0, 0, False
        self.watch = ClockWatch(self.ask, lambda: 1e9 + self.now + self.ahead, lambda: self.now)

    def ask(self) -> ClockState:
        self.asked += 1
        if self.away:
            raise UnreachableError("away", "wait")
        return ClockState("http://service", self.ahead)

    def goes_on(self, seconds: float) -> list[tuple[bool, bool]]:
        """What began or ended meanwhile: (a warning, too far off)."""
        found = []
        until = self.now + seconds
        while self.now < until:
            self.now += 1.0
            if self.watch.look():
                found.append((bool(self.watch.state.warning), bool(self.watch.too_far_off)))
            self.answered()
        return found

    def answered(self) -> None:
        """The thread that asked has put its answer."""
        while self.watch._asking and self.watch._answers.empty():
            pass


def test_the_service_is_asked_at_the_start_and_at_least_every_hour() -> None:
    machine = Machine()
    assert machine.goes_on(2.0) == [] and machine.asked == 1 and machine.watch.state.ahead_s == 0.0
    assert machine.goes_on(4 * 3600.0) == []
    assert ASK_EVERY_S <= 3600 and machine.asked == pytest.approx(4 * 3600 / ASK_EVERY_S, abs=1)
    before = machine.asked
    machine.watch.ask_now()
    machine.goes_on(1.0)
    assert machine.asked == before + 1


@pytest.mark.parametrize("way", [1, -1])
def test_a_jump_is_noticed_at_once_and_forgotten_once_the_clock_is_right(way: int) -> None:
    machine = Machine()
    machine.goes_on(10.0)
    machine.ahead = 10.0 * way
    assert machine.goes_on(1.0) == [(True, False)], "from 5 s somebody is told"
    machine.ahead = 31.0 * way
    assert machine.goes_on(1.0) == [(True, True)]
    assert f"31 s {'ahead of' if way > 0 else 'behind'} the service's" in machine.watch.too_far_off
    asked = machine.asked
    machine.goes_on(5.0)
    assert machine.asked - asked <= 1, "the service was asked once for a jump"
    machine.ahead = 0.0
    assert machine.goes_on(1.0) == [(False, False)]


def test_a_service_that_is_away_does_not_make_the_clock_right_nor_wrong() -> None:
    machine = Machine()
    machine.goes_on(10.0)
    machine.away = True
    assert machine.goes_on(2 * 3600.0) == []
    assert 2 <= machine.asked - 1 <= 2 * 3600 / RETRY_S
    machine.ahead = -40.0
    assert machine.goes_on(1.0) == [(True, True)]
    assert machine.goes_on(600.0) == []


def test_a_clock_that_drifts_is_found_by_the_service_alone() -> None:
    """Both clocks of the machine run fast alike."""
    machine = Machine()
    machine.goes_on(10.0)
    machine.ask = lambda: ClockState("http://service", 33.0)  # type: ignore[method-assign]
    machine.watch._ask = machine.ask
    assert machine.goes_on(ASK_EVERY_S + 5.0) == [(True, True)]


@pytest.mark.clock
def test_a_gateway_with_a_wrong_clock_opens_nothing_and_says_why(settings: Settings) -> None:
    machine = Machine()
    with open_gateway(settings) as opened:
        assert opened.running.clock is None, "only where a real account is traded"
        running = gateway.Gateway(**{**opened.running.__dict__, "clock": machine.watch})
        state = opened.executor.core.state

        def turns(seconds: int) -> None:
            for _ in range(seconds):
                machine.now += 1.0
                running.turn(0.0, may_advance=False)
                machine.answered()

        turns(3)
        order = opened.rest_an_order()
        assert BlockReason.CLOCK not in state.blocks
        machine.ahead = 45.0
        turns(1)
        level, why = state.blocks[BlockReason.CLOCK]
        assert level is TradingState.REDUCING and "45 s ahead of the service's" in why
        turns(2)
        assert order not in opened.resting, "what would open is called in"
        machine.ahead = 0.0
        turns(2)
        assert BlockReason.CLOCK not in state.blocks
