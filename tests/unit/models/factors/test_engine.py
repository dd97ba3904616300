"""The engine: batch and live agree to the last bit, nothing looks ahead, a restart changes nothing."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_models.factors import engine as engine_module
from ghtrader_models.factors.compiler import kernel, op_table
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.expressions import Clip, Expression
from ghtrader_models.factors.language.parser import NAMES, parse
from ghtrader_models.factors.language.sources import Source
from ghtrader_models.factors.library.sets import get_factor_set
from tests.support.examples import examples

HALF_SECOND = 500_000_000


def bits(factors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(factors).view(np.uint32)


def make(factor_set: FactorSet, times: np.ndarray) -> FactorEngine:
    third = (int(times[-1]) - int(times[0])) // 3 + 1
    start = int(times[0])
    return FactorEngine(factor_set, 10.0, 5.0, [(start, start + third), (start + 2 * third, start + 3 * third + 1)])


def live(engine: FactorEngine, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([engine.update(int(t), values[:, i]).copy() for i, t in enumerate(times)])


TICKS = [1, 2, 3, 5, 8, 20, 33, 70]
TIMES = ["500ms", "1s", "3s", "10s", "1m"]


def _argument(cls: type[Expression], name: str, kind: str, below: st.SearchStrategy) -> st.SearchStrategy:
    if kind == "Expression":
        return st.one_of(below, below, st.floats(-3, 3))
    if name.startswith("level"):
        return st.integers(1, 5)
    if kind in ("int", "Window"):
        ticks = [w for w in TICKS if name != "window" or w >= cls.least_window]
        return st.sampled_from(ticks + (TIMES if kind == "Window" else []))
    if kind == "float":
        return st.floats(0, 1) if name == "q" else st.floats(-5, 5)
    return st.sampled_from(["bid", "ask"])


def _build(cls: type[Expression], below: st.SearchStrategy) -> st.SearchStrategy:
    slots = {f.name: _argument(cls, f.name, str(f.type), below) for f in fields(cls)}
    if cls is Clip:
        return st.builds(lambda x, a, b: Clip(x, min(a, b), max(a, b)), slots["x"], slots["low"], slots["high"])
    return st.builds(cls, **slots)


_sources = st.one_of([_build(cls, st.nothing()) for cls in NAMES.values() if issubclass(cls, Source)])
_operators = [cls for cls in NAMES.values() if not issubclass(cls, Source)]
expressions = st.recursive(_sources, lambda below: st.one_of([_build(cls, below) for cls in _operators]), max_leaves=5)
factor_sets = st.lists(expressions, min_size=1, max_size=6).map(
    lambda found: FactorSet("random", {f"f{i}": expression for i, expression in enumerate(found)})
)
ticks = st.tuples(st.integers(1, 260), st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.2]))


@given(factor_sets, ticks, st.data())
@settings(max_examples=examples(150), deadline=None)
def test_blocks_live_and_restarts_give_the_same_bits(make_ticks, factor_set, shape, data):
    times, values = make_ticks(*shape)
    assert FactorSet.from_spec(factor_set.spec()) == factor_set
    expected = bits(make(factor_set, times).batch(times, values))
    for block in (1, 7, 64, 1000):
        assert (bits(make(factor_set, times).batch(times, values, block=block)) == expected).all()

    cut = data.draw(st.integers(0, len(times)))
    first = make(factor_set, times)
    first.warm_up(times[:cut], values[:, :cut])
    restarted = FactorEngine(factor_set, 10.0, 5.0, [(0, 1)])
    restarted.load_state(first.state())
    assert (bits(live(restarted, times[cut:], values[:, cut:])).reshape(-1, len(factor_set)) == expected[cut:]).all()


@given(factor_sets, ticks, st.data())
@settings(max_examples=examples(100), deadline=None)
def test_nothing_looks_ahead(make_ticks, factor_set, shape, data):
    times, values = make_ticks(*shape)
    cut = data.draw(st.integers(0, len(times) - 1))
    other_times, other = make_ticks(len(times), shape[1] + 1, 0.5)
    changed = values.copy()
    changed[:, cut + 1 :] = other[:, cut + 1 :] * data.draw(st.sampled_from([1.0, 0.0, 1e9]))
    changed_times = times.copy()
    changed_times[cut + 1 :] += other_times[cut + 1 :] - other_times[0]
    engine = make(factor_set, times)
    before = bits(engine.batch(times, values))
    engine.reset()
    after = bits(engine.batch(changed_times, changed))
    assert (before[: cut + 1] == after[: cut + 1]).all()


@given(expressions, st.integers(0, 10_000))
@settings(max_examples=examples(60), deadline=None)
def test_a_factor_has_the_same_bits_in_any_set(make_ticks, expression, seed):
    times, values = make_ticks(150, seed, 0.01)
    alone = make(FactorSet("alone", {"f": expression}), times).batch(times, values)
    crowd = {**get_factor_set("lean").expressions, "f": expression}
    among = make(FactorSet("among", crowd), times).batch(times, values)
    assert (bits(alone[:, 0]) == bits(among[:, -1])).all()


def test_lean_is_the_same_live_as_in_batch(make_ticks):
    times, values = make_ticks(5000, 11, 0.001)
    lean = get_factor_set("lean")
    expected = bits(live(make(lean, times), times, values))
    for block in (1, 7, 64, 256, 1000):
        assert (bits(make(lean, times).batch(times, values, block=block)) == expected).all()


@pytest.mark.parametrize("n_factors", [1, 3, 4, 7, 16, 43])
@pytest.mark.parametrize("ahead", [0, 1, 5, 8])
def test_rows_streamed_past_the_caches_are_the_same(make_ticks, monkeypatch, n_factors, ahead):
    times, values = make_ticks(777, 14, 0.001)
    lean = get_factor_set("lean")
    some = FactorSet("some", dict(list(lean.expressions.items())[:n_factors]))
    expected = bits(make(some, times).batch(times, values))
    monkeypatch.setattr(engine_module, "STREAM_ABOVE", 0)
    for block in (1, 7, 64, 256, 1000):
        whole = np.full(777 * n_factors + ahead + 9, 7.0, np.float32)  # so that rows begin anywhere in a cache line
        out = whole[ahead : ahead + 777 * n_factors].reshape(777, n_factors)
        assert make(some, times).batch(times, values, block=block, out=out) is out
        assert (bits(out) == expected).all()
        assert (whole[:ahead] == 7).all() and (whole[ahead + out.size :] == 7).all(), "written beside its place"


def test_an_array_that_cannot_hold_the_factors_is_refused(make_ticks):
    times, values = make_ticks(50)
    lean = get_factor_set("lean")
    fixed = np.zeros((50, 43), np.float32)
    fixed.flags.writeable = False
    for out in (
        np.zeros((49, 43), np.float32), np.zeros((50, 43)), np.zeros((43, 50), np.float32).T,
        np.zeros((50, 86), np.float32)[:, ::2], fixed,
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"float32\[50, 43\]"):
            make(lean, times).batch(times, values, out=out)


def test_blocks_and_single_ticks_may_follow_each_other(make_ticks):
    times, values = make_ticks(1500, 12, 0.001)
    lean = get_factor_set("lean")
    expected = bits(make(lean, times).batch(times, values))
    engine, rng, start = make(lean, times), np.random.default_rng(0), 0
    while start < len(times):
        part = slice(start, start + int(rng.integers(1, 120)))
        if rng.random() < 0.5:
            got = engine.batch(times[part], values[:, part], block=int(rng.choice([1, 7, 256, 1000])))
        else:
            got = live(engine, times[part], values[:, part])
        assert (bits(got) == expected[part]).all()
        start = part.stop


@pytest.mark.parametrize("slide", [260, 301])
def test_bringing_the_buffers_back_to_the_front_changes_nothing(make_ticks, monkeypatch, slide):
    times, values = make_ticks(1500, 13, 0.001)
    lean = get_factor_set("lean")
    expected = bits(make(lean, times).batch(times, values))
    monkeypatch.setattr(engine_module, "SLIDE", slide)
    assert (bits(live(make(lean, times), times, values)) == expected).all()
    for block in (1, 7, 256, 1000):
        assert (bits(make(lean, times).batch(times, values, block=block)) == expected).all()


def test_a_value_that_is_not_finite_leaves_nothing_behind(make_ticks):
    times, values = make_ticks(400)
    broken = values.copy()
    broken[COLUMN_INDEX["bid_price1"], 150] = np.nan
    broken[COLUMN_INDEX["bid_volume1"], 151] = np.inf
    lean = get_factor_set("lean")
    names = [name for name in lean.names if "fresh" not in name]  # what is held, and an EMA, remember by design
    keep = [lean.names.index(name) for name in names]
    whole, after = (make(lean, times).batch(times, v)[:, keep] for v in (values, broken))
    assert np.isnan(after[151]).any()
    assert np.isfinite(after[152 + 101 :]).all()
    np.testing.assert_allclose(after[152 + 101 :], whole[152 + 101 :], rtol=1e-5, atol=1e-6)


def test_warm_up_ticks_is_when_every_factor_is_known(make_ticks):
    times, values = make_ticks(300)
    for text in (
        "Mean(Ofi(1), 7)",
        "Lag(Mid(), 4)",
        "Ema(MidReturn(3), 5)",
        "Range(Sum(VolumeDelta(), 5), 9)",
        "Mid()",
    ):
        factor_set = FactorSet("s", {"f": parse(text)})
        known = np.isfinite(make(factor_set, times).batch(times, values)[:, 0])
        assert int(np.argmax(known)) + 1 == factor_set.warm_up_ticks
        assert known[factor_set.warm_up_ticks :].all()


def test_reset_starts_a_cold_day(make_ticks):
    times, values = make_ticks(300)
    engine = make(get_factor_set("lean"), times)
    first = engine.batch(times, values)
    engine.reset()
    assert (bits(engine.batch(times, values)) == bits(first)).all()


def test_equal_parts_are_computed_once():
    factor_set = FactorSet(
        "s",
        {
            "a": parse("Mean(MidReturn(1), 50)"),
            "b": parse("Mean(Diff(Mid(), 1), 50)"),
            "c": parse("Abs(Mean(Sub(Mid(), Lag(Mid(), 1)), 50))"),
            "d": parse("Mean(MidReturn(1), 51)"),
        },
    )
    assert len(FactorEngine(factor_set, 10.0, 5.0)._program) == 23  # one Mid and Diff; 17 sums


def test_a_copied_engine_goes_its_own_way(make_ticks):
    times, values = make_ticks(200)
    engine = make(get_factor_set("lean"), times)
    expected = make(get_factor_set("lean"), times).batch(times, values)
    engine.warm_up(times[:100], values[:, :100])
    twin = copy.deepcopy(engine)
    assert (bits(twin.batch(times[100:], values[:, 100:])) == bits(expected[100:])).all()
    assert (bits(live(engine, times[100:], values[:, 100:])) == bits(expected[100:])).all()


def test_float32_and_views_of_other_arrays_are_taken(make_ticks):
    times, values = make_ticks(100)
    lean = get_factor_set("lean")
    expected = bits(make(lean, times).batch(times, values))
    assert (bits(make(lean, times).batch(times.tolist(), np.asfortranarray(values))) == expected).all()
    engine = make(lean, times)
    assert (
        bits(np.array([engine.update(times[i], values[:, i].tolist()).copy() for i in range(100)])) == expected
    ).all()


@pytest.mark.parametrize("shape", [(27, 3), (26, 4), (4, 27), (27,)])
def test_ticks_of_the_wrong_shape_are_refused(shape):
    engine = FactorEngine(get_factor_set("lean"), 10.0, 5.0)
    with pytest.raises(UsageError):
        engine.batch(np.arange(4), np.zeros(shape))


def test_a_tick_of_the_wrong_length_is_refused():
    engine = FactorEngine(get_factor_set("lean"), 10.0, 5.0)
    for values in (np.zeros(26), np.zeros((27, 1)), [1.0]):
        with pytest.raises((UsageError, ValueError)):
            engine.update(0, values)


def test_session_sources_need_bounds_in_order():
    timed = FactorSet("s", {"f": parse("SessionTime()")})
    for bounds in (None, [], [(2, 1)], [(0, 5), (4, 9)], [(3, 3)]):
        with pytest.raises(UsageError):
            FactorEngine(timed, 10.0, 5.0, bounds)
    engine = FactorEngine(timed, 10.0, 5.0, [(0, 10)])
    tick = np.zeros(27)
    assert engine.update(5, tick)[0] == 0.5
    engine.reset([(0, 20)])
    assert engine.update(5, tick)[0] == 0.25


def test_a_state_of_another_engine_is_refused(make_ticks):
    engine = FactorEngine(get_factor_set("lean"), 10.0, 5.0)
    for other in (
        FactorEngine(get_factor_set("lean", levels=1), 10.0, 5.0),
        FactorEngine(get_factor_set("lean"), 0.2, 5.0),
    ):
        with pytest.raises(IntegrityError):
            engine.load_state(other.state())
    with pytest.raises(IntegrityError, match="another version"):
        engine.load_state(replace(engine.state(), program="of yesterday"))
    with pytest.raises(IntegrityError):
        engine.load_state(replace(engine.state(), values=np.zeros(3)))


def test_what_computes_a_set_has_a_digest(monkeypatch, tmp_path):
    def digest(texts, source=None):
        compiled = op_table.compile_program({text: parse(text) for text in texts})
        monkeypatch.setattr(op_table, "_KERNEL", source or Path(kernel.__file__))
        return op_table.Program.digest.func(compiled)  # kept once it is known, so not asked of the program

    first = digest(["Mean(Mid(), 50)", "Spread()"])
    assert digest(["Mean(Mid(), 50)", "Spread()"]) == first
    assert digest(["Mean(Mid(), 51)", "Spread()"]) != first
    changed = tmp_path / "kernel.py"
    changed.write_text(Path(kernel.__file__).read_text("utf-8").replace("v - v", "v - 0"), "utf-8")
    assert digest(["Mean(Mid(), 50)", "Spread()"], changed) != first


@pytest.mark.parametrize(("price_tick", "multiplier"), [(0, 5), (-1, 5), (10, 0), (float("nan"), 5)])
def test_a_contract_without_price_tick_is_refused(price_tick, multiplier):
    with pytest.raises(UsageError):
        FactorEngine(get_factor_set("lean"), price_tick, multiplier)


def test_the_kernel_reads_the_rows_that_ticks_have():
    rows = {
        "last_price": kernel.ROW_LAST,
        "volume": kernel.ROW_VOLUME,
        "amount": kernel.ROW_AMOUNT,
        "open_interest": kernel.ROW_OPEN_INTEREST,
    }
    for level in range(1, 6):
        for offset, what in enumerate(("bid_price", "bid_volume", "ask_price", "ask_volume")):
            rows[f"{what}{level}"] = kernel.ROW_BID1 + 4 * (level - 1) + offset
    assert rows == {name: COLUMN_INDEX[name] for name in rows}
    assert len(VALUE_COLUMNS) == 27
