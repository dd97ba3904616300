"""Links, back-off, outbox and clients: what a silence means, what is repeated, who is let in."""

from __future__ import annotations

import random
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ghtrader_runtime.accounts.bus_token import join_token, read_token
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.backoff import Backoff
from ghtrader_runtime.bus.link_state import Link, LinkState
from ghtrader_runtime.bus.pending_requests import PendingRequests
from ghtrader_runtime.gateway.bus_sessions import HISTORIES_A_SECOND, KEEP_ANSWERS, MAX_CLIENTS, BusSessions

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


def test_only_who_shows_the_token_is_trusted(tmp_path: Path) -> None:
    assert read_token(tmp_path) == ""
    token = join_token(tmp_path)
    assert join_token(tmp_path) == token == read_token(tmp_path) and len(token) >= 32
    assert stat.S_IMODE((tmp_path / "bus-token").stat().st_mode) == 0o600
    (tmp_path / "bus-token").write_text("")
    assert len(join_token(tmp_path)) >= 32, "a gateway killed while it wrote does not lock the account"
    sessions = BusSessions(token)
    friend, change = sessions.join("a", b"1", token, S)
    watcher, _ = sessions.join("b", b"2", "wrong", S)
    assert friend and friend.trusted and change and watcher and not watcher.trusted
    assert sessions.heard("c", b"3", S) == (None, None) and sessions.strangers == 1
    assert sessions.join("b", b"2", token, S)[0].trusted, "who shows it later is trusted from then on"
    assert not sessions.shows("\ud800") and not sessions.shows("")


def test_clients_and_their_answers_stay_bounded() -> None:
    sessions = BusSessions("t" * 40)
    kept, _ = sessions.join("mine", b"0", "t" * 40, 0)
    for number in range(10_000):
        sessions.join(f"s{number}", b"%d" % number, "", number)
        sessions.remember("x", number, msg.Ack(session="g", revision=0, sent_ns=0, answers=number, status="accepted"))
    assert len(sessions) == MAX_CLIENTS and sessions.get("mine") is kept, "strangers never push a trusted session out"
    assert sessions.remembered("x", 9_999).answers == 9_999 and sessions.remembered("x", 9_999 - KEEP_ANSWERS) is None


def test_histories_are_rationed() -> None:
    sessions = BusSessions("")
    given_at_once = sum(sessions.may_have_history(5 * S) for _ in range(1000))
    assert given_at_once == HISTORIES_A_SECOND
    assert sum(sessions.may_have_history(5 * S + S // 2) for _ in range(1000)) == HISTORIES_A_SECOND / 2


def test_silent_clients_are_noticed_once() -> None:
    sessions = BusSessions("")
    sessions.join("a", b"1", "", S)
    assert sessions.check(2 * S) == []
    (change,) = sessions.check(3 * S)
    assert change.name == "a" and change.after is LinkState.STALE and sessions.check(3 * S) == []
    assert sessions.states() == {"a": "STALE"} and sessions.leave("a") is not None and sessions.states() == {}
