"""The decision rule: hysteresis, costs, size, rest, what no opinion means, and the same function over recorded rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_models.evaluation.policy_fit import PolicyOptions, fit_policy
from ghtrader_models.policy import PolicyParams, target_path
from tests.support.examples import examples

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
    p=st.tuples(*[st.floats(0, 1)] * 3), position=st.integers(-3, 3), enter=st.floats(0, 1), share=st.floats(0, 1),
    per_lot=st.sampled_from([0.0, 0.05]), move=st.sampled_from([0.0, 30.0]), rest=st.integers(0, 3),
    cooldown=st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=examples(300), deadline=None)
def test_sides_are_mirror_images_and_no_limit_is_passed(p, position, enter, share, per_lot, move, rest, cooldown):
    down, flat, up = p
    params = PolicyParams(
        enter=enter, leave=enter * share, max_lots=3, per_lot=per_lot, move=move, fee=2.0, cooldown=cooldown
    )
    target, left = params.step(down, flat, up, position, rest, 10.0)
    assert -3 <= target <= 3 and 0 <= left <= 3
    assert params.step(up, flat, down, -position, rest, 10.0) == (-target, left)
    if position == 0 and rest:
        assert (target, left) == (0, rest - 1)


@given(
    edge=st.floats(-1, 1), position=st.integers(-2, 2), reach=st.floats(0, 1), per_lot=st.sampled_from([0.0, 0.05]),
    cooldown=st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=examples(300), deadline=None)
def test_near_is_what_the_rule_says_of_a_smaller_and_a_larger_edge(edge, position, reach, per_lot, cooldown) -> None:
    params = PolicyParams(enter=0.3, leave=0.05, max_lots=2, per_lot=per_lot, cooldown=cooldown)

    def at(edge: float) -> tuple[float, float, float]:
        return 0.5 - edge / 2, 0.0, 0.5 + edge / 2

    target, rest = params.step(*at(edge), position, 0, 10.0)
    near = params.near(*at(edge), target, rest, 10.0, reach)
    assert target not in near and set(near) <= set(range(-2, 3))
    assert params.near(*at(edge), target, rest, 10.0, 0.0) == (), "where nothing moves nothing changes"
    for moved in (edge - reach, edge + reach):
        wanted, _ = params.step(*at(moved), target, rest, 10.0)
        on_the_edge = min(abs(abs(moved) - limit) for limit in (0.3, 0.35, 0.05)) < 1e-9
        assert on_the_edge or wanted == target or wanted in near


def test_costs_keep_from_entering_and_never_from_holding() -> None:
    params = PolicyParams(enter=0.3, leave=0.05, max_lots=1, move=40.0, fee=4.0)  # an edge of 0.35 promises 14 CNY
    up, down = (0.325, 0.0, 0.675), (0.675, 0.0, 0.325)
    assert params.decide(*up, 0, spread=9.9) == 1 and params.decide(*down, 0, spread=9.9) == -1
    assert params.decide(*up, 0, spread=10.1) == 0 and params.decide(*up, 0) == 0, "an unknown spread enters nothing"
    assert params.decide(*up, 1, spread=50.0) == 1, "what is held stays"
    assert params.decide(*down, 1, spread=50.0) == 0, "a reversal that does not pay leaves only"
    assert params.decide(0.0, 0.0, 1.0, 0, spread=35.0) == 1, "a stronger edge pays for more"


def test_size_grows_with_the_edge_and_does_not_shrink_before_it_is_left() -> None:
    params = PolicyParams(enter=0.25, leave=0.125, max_lots=4, per_lot=0.125)
    ask = lambda edge, held: params.decide(0.5 - edge / 2, 0.0, 0.5 + edge / 2, held)  # noqa: E731
    assert [ask(edge, 0) for edge in (0.2, 0.3, 0.4, 0.55, 0.7, 1.0)] == [0, 1, 2, 3, 4, 4]
    assert ask(0.3, 3) == 3 and ask(0.2, 3) == 3 and ask(0.55, 1) == 3 and ask(0.1, 3) == 0
    assert ask(-0.4, 3) == -2


def test_after_leaving_it_rests() -> None:
    params = PolicyParams(enter=0.3, leave=0.1, max_lots=1, cooldown=3)
    strong, weak, other = (0.0, 0.0, 1.0), (0.5, 0.0, 0.5), (1.0, 0.0, 0.0)
    held, rest, path = 0, 0, []
    for p in (strong, strong, weak, strong, strong, strong, strong, other, other):
        held, rest = params.step(*p, held, rest, 0.0)
        path.append(held)
    assert path == [1, 1, 0, 0, 0, 0, 1, 0, 0], "three ticks after leaving; a reversal leaves first"


def test_parameters_survive_json_and_refuse_nonsense() -> None:
    params = PolicyParams(enter=0.1 + 0.2, leave=1 / 30, max_lots=1)
    assert PolicyParams.from_dict(json.loads(json.dumps(params.to_dict()))) == params
    for bad in ({"enter": 0.1, "leave": 0.2}, {"enter": float("nan"), "leave": 0.0}, {"enter": 2.0, "leave": 0.0}):
        with pytest.raises(UsageError):
            PolicyParams(**bad)
    with pytest.raises(UsageError):
        PolicyParams(enter=0.2, leave=0.1, max_lots=0)
    for bad in ({"per_lot": -0.1}, {"move": float("inf")}, {"fee": -1.0}, {"cooldown": -1}):
        with pytest.raises(UsageError):
            PolicyParams(enter=0.2, leave=0.1, **bad)
    plain = {"enter": 0.2, "leave": 0.1, "max_lots": 1}
    assert PolicyParams.from_dict(plain) == PolicyParams(enter=0.2, leave=0.1), "what is off may be left out"
    whole = PolicyParams(enter=0.2, leave=0.1, max_lots=3, per_lot=0.05, move=20.0, fee=1.5, cooldown=7)
    assert PolicyParams.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    for broken in ({**plain, "other": 1}, {}, {"enter": "x", "leave": 0, "max_lots": 1}, {"enter": 0.1, "leave": 0.0}):
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


def test_options_are_fitted_and_refused_where_they_make_no_sense() -> None:
    edge = np.linspace(-1, 1, 2001)
    p = np.stack([(1 - edge) / 2, np.zeros_like(edge), (1 + edge) / 2], axis=1)
    params = fit_policy(p, PolicyOptions(max_lots=4, sized=True, cooldown=5), move=30.0, fee=2.0)
    assert params.enter + 3 * params.per_lot == pytest.approx(0.99, abs=1e-3), "a tenth of what enters is full size"
    assert (params.max_lots, params.move, params.fee, params.cooldown) == (4, 30.0, 2.0, 5)
    assert PolicyOptions.from_dict({"cost_aware": True}).to_dict() == {"cost_aware": True}
    for bad in ({"sized": True}, {"max_lots": 0}, {"cooldown": -1}, {"quantile": 1.5}, {"lots": 2}):
        with pytest.raises(UsageError):
            PolicyOptions.from_dict(bad)


def test_a_path_of_targets_is_the_rule_row_by_row_and_flat_where_it_must_be() -> None:
    edge = [np.nan, 0.5, 0.1, -0.5, np.nan, -0.5, 0.9, 0.9]
    p = np.array([[0.5 - e / 2, 0, 0.5 + e / 2] for e in edge])
    bid = np.arange(100.0, 108.0)
    flat = np.array([False] * 7 + [True])
    assert target_path(p, bid, bid + 1, PARAMS, flat).tolist() == [0, 2, 2, -2, 0, -2, 2, 0]
    assert target_path(p, bid, bid + 1, PARAMS, flat, held=-1).tolist()[:2] == [-1, 2], "held before the first opinion"


@given(
    data=st.lists(st.tuples(st.floats(-1, 1), st.integers(90, 110), st.booleans()), min_size=1, max_size=60),
    enter=st.floats(0.01, 0.9), lots=st.integers(1, 3), per_lot=st.sampled_from([0.0, 0.1]),
    move=st.sampled_from([0.0, 5.0]), cooldown=st.integers(0, 4),
)  # fmt: skip
@settings(max_examples=examples(200), deadline=None)
def test_a_path_agrees_with_a_plain_walk(data, enter, lots, per_lot, move, cooldown) -> None:
    edge = np.array([row[0] for row in data])
    p = np.stack([(1 - edge) / 2, np.zeros_like(edge), (1 + edge) / 2], axis=1)
    bid = np.array([row[1] if row[2] else np.nan for row in data], float)
    ask = bid + 1
    params = PolicyParams(
        enter=enter, leave=enter / 10, max_lots=lots, per_lot=per_lot, move=move, fee=0.5, cooldown=cooldown
    )
    wanted, rest, path = 0, 0, []
    for t in range(len(data)):
        wanted, rest = params.step(*p[t], wanted, rest, ask[t] - bid[t])
        path.append(wanted)
    assert target_path(p, bid, ask, params, np.zeros(len(data), bool)).tolist() == path
