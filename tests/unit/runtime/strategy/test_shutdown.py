"""A strategy goes when, and only when, the gateway has heard that it wants to be flat and tells that it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.strategy.shutdown import AGAIN_S, WAIT_S, Shutdown, is_flat

SYMBOL, OTHER = "SHFE.cu2506", "SHFE.cu2505"


def state(sent_ns: int, held: int = 0, wanted: int = 0, working: int = 0, **changes: object) -> msg.AccountState:
    fields = {
        "session": "gateway", "revision": 1, "sent_ns": sent_ns, "account": "x", "mode": "sim", "run_id": "r",
        "trading_state": "ACTIVE", "reasons": [], "killed": False, "link": "LIVE", "trading_day": "2025-04-16",
        "positions": {SYMBOL: held}, "working": working, "targets": {SYMBOL: wanted}, "balance": 1e6,
        "tick_revision": 1, "ready": [], "ended": "", **changes,
    }  # fmt: skip
    return msg.AccountState(**fields)


def ack(answers: int, sent_ns: int, status: str = "accepted") -> msg.Ack:
    return msg.Ack(session="gateway", revision=0, sent_ns=sent_ns, answers=answers, status=status)


def leaving(revision: int) -> Shutdown:
    departure = Shutdown()
    departure.begin(100.0)
    assert departure.asks(100.0) and not departure.asks(100.0 + AGAIN_S / 2) and departure.asks(100.0 + AGAIN_S)
    departure.asked(revision)
    departure.asked(revision + 5)
    return departure


def test_between_the_two_orders_of_a_reversal_nothing_is_flat() -> None:
    """Found on a busy machine: the long position was closed, the short one not sent yet, and the strategy went."""
    departure = leaving(7)
    departure.on_ack(ack(7, 1000))
    assert not departure.may_go(state(1001, wanted=-1), [SYMBOL])
    assert departure.may_go(state(1002), [SYMBOL])


def test_a_state_from_before_the_gateway_heard_of_it_tells_nothing() -> None:
    departure = leaving(7)
    assert not departure.may_go(state(2000), [SYMBOL]), "an earlier target may still be on its way"
    departure.on_ack(ack(6, 1000))
    assert not departure.may_go(state(2000), [SYMBOL]), "the answer to the earlier target"
    departure.on_ack(ack(7, 1500, "unknown"))
    assert not departure.may_go(state(2000), [SYMBOL]), "a gateway that does not know us has done nothing"
    departure.on_ack(ack(9, 1800, "refused"))  # the first answer was lost; messages are taken in order
    assert not departure.may_go(state(1799), [SYMBOL]) and departure.may_go(state(2000), [SYMBOL])


def test_who_was_not_told_to_go_stays() -> None:
    departure = Shutdown()
    assert not departure.begun and not departure.asks(5.0) and not departure.too_late(1e9)
    departure.on_ack(ack(7, 1000))
    assert not departure.may_go(state(2000), [SYMBOL])


@pytest.mark.parametrize("changes", [{"held": 1}, {"wanted": -2}, {"working": 1}])
def test_a_halted_gateway_will_not_make_it_flat(changes: dict[str, int]) -> None:
    departure = leaving(1)
    departure.on_ack(ack(1, 10))
    assert not departure.may_go(state(11, **changes), [SYMBOL])
    assert departure.may_go(state(11, **changes, trading_state="HALTED"), [SYMBOL])
    assert not departure.too_late(100.0 + WAIT_S - 0.1) and departure.too_late(100.0 + WAIT_S)


@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 3), st.integers(-3, 3))
def test_flat_is_nothing_held_wanted_or_working(held: int, wanted: int, working: int, left: int) -> None:
    told = state(1, positions={SYMBOL: held, OTHER: left, "SHFE.au2506": 5}, targets={SYMBOL: wanted}, working=working)
    assert is_flat(told, [SYMBOL, OTHER]) == (held == wanted == working == left == 0)
