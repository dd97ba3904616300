"""Links, back-off and outbox: what a silence means, what is repeated."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.backoff import Backoff
from ghtrader_runtime.bus.link_state import Link, LinkState
from ghtrader_runtime.bus.pending_requests import PendingRequests

S = 1_000_000_000


def command(revision: int) -> msg.Command:
    return msg.Command(session="s", revision=revision, sent_ns=0, name="state")


def test_the_life_of_a_link() -> None:
    link = Link(name="gateway", stale_s=1.5, down_s=10)
    assert link.state is LinkState.CONNECTING and link.check(50 * S) is None and link.silent_s(1) == float("inf")
    change = link.heard(60 * S)
    assert change and (change.before, change.after) == (LinkState.CONNECTING, LinkState.LIVE) and change.usable
    assert link.heard(60 * S) is None and link.check(61 * S) is None
    change = link.check(62 * S)
    assert change and change.after is LinkState.STALE and "1.5 s" in change.reason and not change.usable
    assert link.check(63 * S) is None and link.silent_s(63 * S) == 3
    change = link.check(71 * S)
    assert change and change.after is LinkState.DOWN
    change = link.heard(80 * S)
    assert change and change.after is LinkState.LIVE and link.changes == 4 and link.outages == 1


def test_trouble_degrades_until_it_is_mended() -> None:
    link = Link()
    assert link.trouble("gap", "lost", 1) is None, "nothing is degraded that was never there"
    assert link.heard(2).after is LinkState.DEGRADED
    link.trouble("broker", "no broker", 3)
    assert link.mended("gap", 4) is None and link.state is LinkState.DEGRADED
    assert link.mended("broker", 5).after is LinkState.LIVE
    assert link.broke("it said goodbye", 6).after is LinkState.DOWN
    assert link.trouble("gap", "lost", 7) is None and link.state is LinkState.DOWN
    assert link.mended("gap", 8) is None and link.state is LinkState.DOWN, "only hearing something revives it"


@given(st.lists(st.tuples(st.sampled_from(["heard", "check", "trouble", "mended", "broke"]), st.integers(0, 5 * S))))
def test_a_link_never_lies(steps: list[tuple[str, int]]) -> None:
    link, now, changes = Link(), 0, 0
    for name, passed in steps:
        now += passed
        args = {"trouble": ("k", "r", now), "mended": ("k", now), "broke": ("r", now)}.get(name, (now,))
        before = link.state
        change = getattr(link, name)(*args)
        assert (change is None) == (before is link.state)
        if change is not None:
            changes += 1
            assert (change.before, change.after, change.now_ns) == (before, link.state, now)
        if name == "check" and link.usable:
            assert link.silent_s(now) <= link.stale_s
    assert link.changes == changes


def test_backoff_doubles_with_jitter_and_stays_bounded() -> None:
    backoff = Backoff(0.5, 4.0, random.Random(1))
    delays = [backoff.next_s() for _ in range(40)]
    for attempt, delay in enumerate(delays):
        base = min(4.0, 0.5 * 2**attempt)
        assert base / 2 <= delay <= base
    assert len({round(delay, 6) for delay in delays[5:]}) > 20, "no two clients knock at once"
    backoff.reset()
    assert backoff.next_s() <= 0.5


def test_the_outbox_repeats_until_answered_and_gives_up() -> None:
    box = PendingRequests(first_s=1.0, longest_s=2.0, give_up_s=10.0)
    box.sent(command(1), "command", 0)
    box.sent(command(2), "target", 0)
    box.sent(command(3), "target", 0, replaces=True)
    assert len(box) == 2 and box.due(0) == [], "a newer target takes the place of an older one"
    assert [m.revision for m in box.due(1 * S)] == [1, 3] and box.due(1 * S) == []
    assert box.answered(3) and not box.answered(3) and not box.answered(2)
    again = 0
    for second in range(2, 11):
        again += len(box.due(second * S))
    assert again >= 4 and box.given_up == 0
    assert box.due(11 * S) == [] and box.given_up == 1 and len(box) == 0
