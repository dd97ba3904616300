"""What is started again, after how long, and when that ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base import errors
from ghtrader_runtime.brokers.tqsdk_isolation import connect_error
from ghtrader_runtime.supervisor.restart_policy import NEVER_AGAIN, RestartLog, RestartPolicy

CRASH = errors.FailedError("the gateway was killed by signal 9")


def log(**policy: float) -> RestartLog:
    return RestartLog("gateway", RestartPolicy(**policy), random.Random(1))


def test_a_crash_is_forgiven_with_growing_delays_and_keeps_its_reason() -> None:
    found = log(most=5)
    restarts = [found.next(CRASH, second * 10.0) for second in range(5)]
    assert [one.reason for one in restarts] == [CRASH.message] * 5
    for number, one in enumerate(restarts):
        assert 0.25 * 2**number <= one.delay_s <= 0.5 * 2**number
    assert found.next(CRASH, 50.0) is None and "5 times within 300 s" in found.why_not(CRASH, 50.0)


def test_a_crash_long_ago_does_not_count() -> None:
    found = log(most=2, within_s=60.0)
    assert found.next(CRASH, 0.0) and found.next(CRASH, 30.0) and found.next(CRASH, 50.0) is None
    again = found.next(CRASH, 200.0)
    assert again is not None and again.delay_s <= 0.5, "it starts small again"


@pytest.mark.parametrize("name", NEVER_AGAIN)
def test_what_refuses_to_start_would_refuse_again(name: str) -> None:
    error = getattr(errors, name)("no")
    assert log().next(error, 0.0) is None and log().why_not(error, 0.0) == "it would refuse again"


def test_a_server_that_is_not_there_may_come_back() -> None:
    assert log().next(errors.UnreachableError("nobody"), 0.0) is not None


@given(st.lists(st.floats(0, 100), max_size=60))
def test_never_more_than_allowed_in_any_window(gaps: list[float]) -> None:
    found, now = log(most=3, within_s=120.0), 0.0
    for gap in gaps:
        now += gap
        found.next(CRASH, now)
    times = [one.at_s for one in found.done]
    for start in times:
        assert sum(start <= at <= start + 120.0 for at in times) <= 4
        assert sum(start <= at < start + 119.9 for at in times) <= 3


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("用户权限认证失败 (503,{'error': 'temporarily_unavailable'})", True),
        ("用户权限认证失败 (429,{'error': 'too_many'})", True),
        ("用户权限认证失败 (401,{'error': 'invalid_grant'})", False),
        ("您的账户不支持查看 SHFE.cu2506 的行情数据", False),
        ("Expecting property name enclosed in double quotes: line 1 column 2 (char 1)", True),
    ],
)
def test_what_tqsdk_dies_of_is_forgiven_unless_the_login_itself_is_wrong(said: str, again: bool) -> None:
    """A login service that is away for a moment once ended a run that a kill -9 would not have ended."""
    assert (RestartLog("gateway").next(connect_error(Exception(said)), 0.0) is not None) == again
