"""The watermark: a request counts once, a million of them fit in little memory, no flood pushes a session out.

Ten million: `tests/verify/test_request_flood.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_runtime.core.request_watermark import MAX_SESSIONS, TTL_NS, Watermark
from tests.support.waiting import PATIENCE_S


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=60))
def test_a_request_counts_once(requests) -> None:
    mark, done = Watermark(), set()
    for session, revision in requests:
        new = mark.note(session, revision, 1) == "new"
        assert not (new and (session, revision) in done)
        assert new == (revision > max((r for s, r in done if s == session), default=-1))
        if new:
            done.add((session, revision))


@pytest.mark.parametrize("start", [0, 10**18])
def test_no_flood_of_sessions_pushes_one_out_before_its_time(start: int) -> None:
    mark = Watermark()
    assert mark.note("real", 7, start) == "new"
    answers = [mark.note(f"made-up-{i}", 1, start + i) for i in range(1000)]
    assert answers.count("new") == MAX_SESSIONS - 1 and set(answers[MAX_SESSIONS:]) == {"full"}
    assert mark.note("real", 7, start + TTL_NS - 1) == "duplicate"
    assert mark.note("next", 1, start + TTL_NS) == "new" and len(mark.marks) == MAX_SESSIONS
    assert Watermark.of([("a", 3)], 5).note("a", 3, 6) == "duplicate"


FLOOD = """
import resource
import sys
from ghtrader_runtime.core.request_watermark import MAX_SESSIONS, TTL_NS, Watermark
mark = Watermark()
note, new = mark.note, 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
blocks = int(sys.argv[1])
for block in range(blocks):
    name, now = f"session-{block}", block * TTL_NS // 50
    for revision in range(10_000):
        if note(name, revision, now) == "new":
            new += 1
    assert note(name, 9_999, now) == "duplicate"
    assert len(mark.marks) <= MAX_SESSIONS
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(new, len(mark.marks), after - before)
"""


def flood(blocks: int) -> None:
    """Ten thousand requests of each of so many sessions, in a process of its own: every one is new, memory stays."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_"))}
    command = [sys.executable, "-c", FLOOD, str(blocks)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, env=environment)
    new, kept, grown_kb = map(int, done.stdout.split())
    assert new == blocks * 10_000 and kept <= MAX_SESSIONS and grown_kb < 1024


def test_a_million_ids_stay_bounded() -> None:
    flood(100)
