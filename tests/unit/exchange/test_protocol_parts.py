"""Small pure parts: windows, rows as text, faults, export lines, credentials."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import PortInUseError
from ghtrader_exchange.client import parse_exports
from ghtrader_exchange.connections.http_api import USER_ID, Credentials
from ghtrader_exchange.connections.market_data import subtract
from ghtrader_exchange.faults.fault_kinds import FaultKind
from ghtrader_exchange.faults.order_faults import OrderFaults
from ghtrader_exchange.protocol.chart_series import ChunkCache, row_texts
from ghtrader_exchange.protocol.encoding import beijing_text
from ghtrader_exchange.server.server import bind

intervals = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda ab: (min(ab), max(ab)))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(intervals, st.lists(intervals, max_size=4))
def test_subtract_is_set_difference(interval, others):
    parts = subtract(interval, others)
    covered = {i for a, b in others for i in range(a, b)}
    rows = [i for a, b in parts for i in range(a, b)]
    assert rows == sorted(set(range(*interval)) - covered)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, 2**62), st.floats(allow_infinity=False), st.integers(0, 10**9)),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 10**6),
)
def test_rows_come_back_to_the_last_bit(rows, first_id):
    columns = {
        "datetime": np.array([row[0] for row in rows], dtype=np.int64),
        "last_price": np.array([row[1] for row in rows], dtype=np.float64),
        "volume": np.array([row[2] for row in rows], dtype=np.int64),
    }
    back = json.loads("{" + ",".join(row_texts(first_id, columns, 0, len(rows))) + "}")
    assert list(back) == [str(first_id + i) for i in range(len(rows))]
    for told, (datetime, price, volume) in zip(back.values(), rows, strict=True):
        assert (told["datetime"], told["volume"]) == (datetime, volume)
        assert told["last_price"] == ("-" if price != price else price)


def test_part_of_a_chunk_keeps_its_ids():
    columns = {"datetime": np.arange(10)}
    assert row_texts(100, columns, 3, 5) == ['"103":{"datetime":3}', '"104":{"datetime":4}']


def test_the_chunk_cache_forgets_the_least_recently_used():
    cache, made = ChunkCache(limit=2), []

    def make(name):
        return cache.get((name,), lambda: made.append(name) or [name])

    for name in "abacab":
        assert make(name) == [name]
    assert made == ["a", "b", "c", "b"]


def test_beijing_time():
    assert beijing_text(1_737_550_803_228_881_740) == "2025-01-22 21:00:03.228881"


def test_faults_are_used_up_and_cleared():
    faults = OrderFaults()
    assert faults.takes_rejection() is None and not faults.takes_loss()
    faults.set(FaultKind.REJECT_NEXT_ORDER, count=1, reason="no")
    faults.set(FaultKind.LOSE_NEXT_ORDER, count=2)
    faults.set(FaultKind.DELAY_ACKS, seconds=1.5)
    assert faults.takes_rejection() == "no" and faults.takes_rejection() is None
    assert faults.takes_loss()
    faults.set(FaultKind.CLEAR)
    assert not faults.takes_loss() and faults.ack_delay_s == 0
    wrong = [
        (FaultKind.DROP_DATA, {}), (FaultKind.DELAY_ACKS, {"seconds": -1}), (FaultKind.LOSE_NEXT_ORDER, {"count": -1}),
    ]  # fmt: skip
    for kind, details in wrong:
        with pytest.raises(ValueError):
            faults.set(kind, **details)


def test_who_may_enter_and_trade():
    who = Credentials()
    assert (
        who.may_enter("ghtrader", "simulated")
        and not who.may_enter("ghtrader", "")
        and not who.may_enter("x", "simulated")
    )
    assert who.may_trade(USER_ID, USER_ID) and who.may_trade(USER_ID + "007", "shinnytech007")
    assert not who.may_trade(USER_ID, "simulated") and not who.may_trade(USER_ID + "007", USER_ID)
    assert (
        who.may_trade("600001", "simulated")
        and not who.may_trade("600001", "bad")
        and not who.may_trade("", "simulated")
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]{1,8}", fullmatch=True),
        st.text(st.characters(exclude_characters="\n\r\x00", categories=("L", "N", "P", "S", "Zs")), max_size=20),
    )
)
def test_export_lines_are_read_as_a_shell_reads_them(environment):
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    assert parse_exports(["noise", *lines, "export BROKEN"]) == environment


def test_a_taken_port_is_said():
    with bind(0) as sock, pytest.raises(PortInUseError, match=str(sock.getsockname()[1])):
        bind(sock.getsockname()[1])
