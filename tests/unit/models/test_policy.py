"""The decision rule: hysteresis, what no opinion means, and the same function over recorded rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_models.policy import PolicyParams, decide, fit_policy, replay

PARAMS = PolicyParams(enter=0.3, leave=0.05, max_lots=2)


def ask_rule(edge: float, position: int) -> int:
    return PARAMS.decide(0.5 - edge / 2, 0.0, 0.5 + edge / 2, position)


@pytest.mark.parametrize(
    ("edge", "position", "target"),
    [
        (0.31, 0, 2),
        (-0.31, 0, -2),
        (0.29, 0, 0),
        (0.06, 2, 2),
        (0.06, 1, 2),
        (0.04, 2, 0),
        (-0.06, 2, 0),
        (-0.31, 2, -2),
        (-0.06, -2, -2),
        (-0.04, -2, 0),
        (0.31, -2, 2),
        (0.06, -2, 0),
    ],
)
def test_enter_hold_leave_reverse(edge: float, position: int, target: int) -> None:
    assert ask_rule(edge, position) == target


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("position", [-2, 0, 2])
def test_no_opinion_holds_no_position(missing: int, position: int) -> None:
    p = [0.05, 0.05, 0.9]
    p[missing] = np.nan
    assert PARAMS.decide(*p, position) == 0


@given(
    p=st.tuples(*[st.floats(0, 1)] * 3), position=st.integers(-3, 3), enter=st.floats(0, 1), share=st.floats(0, 1)
)
@settings(max_examples=200, deadline=None)
def test_sides_are_mirror_images(p: tuple[float, float, float], position: int, enter: float, share: float) -> None:
    down, flat, up = p
    leave = enter * share
    target = decide(down, flat, up, position, enter, leave, 1)
    assert target in (-1, 0, 1)
    assert decide(up, flat, down, -position, enter, leave, 1) == -target


def test_parameters_survive_json_and_refuse_nonsense() -> None:
    params = PolicyParams(enter=0.1 + 0.2, leave=1 / 30, max_lots=1)
    assert PolicyParams.from_dict(json.loads(json.dumps(params.to_dict()))) == params
    for bad in ({"enter": 0.1, "leave": 0.2}, {"enter": float("nan"), "leave": 0.0}, {"enter": 2.0, "leave": 0.0}):
        with pytest.raises(UsageError):
            PolicyParams(**bad)
    with pytest.raises(UsageError):
        PolicyParams(0.2, 0.1, max_lots=0)
    for broken in ({}, {"enter": "x", "leave": 0, "max_lots": 1}, {"enter": 0.1, "leave": 0.0}):
        with pytest.raises(IntegrityError):
            PolicyParams.from_dict(broken)


def test_fit_takes_the_training_quantile_and_a_constant_model_never_trades() -> None:
    edge = np.linspace(-1, 1, 2001)
    p = np.stack([(1 - edge) / 2, np.zeros_like(edge), (1 + edge) / 2], axis=1)
    params = fit_policy(np.vstack([p, np.full((5, 3), np.nan)]))
    assert params.enter == pytest.approx(0.9, abs=1e-3)
    assert 0 < params.leave < 0.2 * params.enter
    constant = np.tile([0.2, 0.5, 0.3], (100, 1))
    always = fit_policy(constant)
    assert all(always.decide(*row, 0) == 0 for row in constant)
    with pytest.raises(UsageError):
        fit_policy(np.full((3, 3), np.nan))


def test_replay_fills_at_the_next_opposite_quote_and_ends_flat() -> None:
    #            0     1     2    3     4     5
    edge = [0.5, 0.1, -0.5, -0.5, -0.5, 0.9]
    p = np.array([[0.5 - e / 2, 0, 0.5 + e / 2] for e in edge])
    bid = np.array([100.0, 101, 102, np.nan, 104, 105])
    ask = bid + 1
    row, volume, closed, price = replay(p, bid, ask, PARAMS)
    # bought 2 at the ask of row 1; the reversal decided at row 2 finds no bid at row 3 and sells 4 at row 4; flat at 5
    assert row.tolist() == [1, 4, 5]
    assert volume.tolist() == [2, -4, 2]
    assert closed.tolist() == [0, 2, 2]
    assert price.tolist() == [102.0, 104.0, 106.0]


@given(
    data=st.lists(st.tuples(st.floats(-1, 1), st.integers(90, 110), st.booleans()), min_size=1, max_size=60),
    enter=st.floats(0.01, 0.9),
)
@settings(max_examples=100, deadline=None)
def test_replay_agrees_with_a_plain_walk(data: list[tuple[float, int, bool]], enter: float) -> None:
    edge = np.array([row[0] for row in data])
    p = np.stack([(1 - edge) / 2, np.zeros_like(edge), (1 + edge) / 2], axis=1)
    bid = np.array([row[1] if row[2] else np.nan for row in data], float)
    ask = bid + 1
    params = PolicyParams(enter, enter / 10)
    row, volume, _, price = replay(p, bid, ask, params)
    fills, position, wanted = [], 0, 0
    for t in range(len(data)):
        if wanted != position and np.isfinite(bid[t]):
            fills.append((t, wanted - position, ask[t] if wanted > position else bid[t]))
            position = wanted
        wanted = 0 if t >= len(data) - 2 else params.decide(*p[t], wanted)
    assert list(zip(row.tolist(), volume.tolist(), price.tolist(), strict=True)) == fills
    assert position == 0 or not np.isfinite(bid[-1])
