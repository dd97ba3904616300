"""The named sets: documented, distinct on simulated and real ticks, known after warm-up, and honest about depth."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.expressions import EXPRESSIONS, Expression
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.factors.library.docs_page import to_markdown
from ghtrader_models.factors.library.factor_definition import PAPERS
from ghtrader_models.factors.library.sets import GROUPS, TITLES, factors_of, find_factor, get_factor_set
from ghtrader_models.factors.library.units import (
    COUNTS,
    EITHER,
    KEPT,
    NUMBERS,
    PRODUCTS,
    QUOTIENTS,
    SOURCES,
    SQUARED,
    unit_of,
)
from ghtrader_models.inference.predictors import WarmTracker

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "factors.md"
SIMULATED_DAY = date(2025, 4, 2)


@cache
def simulated(world: str, snapshot_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """`core` on a simulated day: factors float32[n, F] and which rows are warm, bool[n]."""
    history = History(Scenario(world=world, snapshot_seconds=snapshot_seconds, seed=3))
    ticks = history.day(history.main_contract("cu", SIMULATED_DAY), SIMULATED_DAY)
    values = np.array([ticks.values[name] for name in VALUE_COLUMNS], np.float64)
    bounds = history.calendar.sessions("cu", SIMULATED_DAY)
    return computed(get_factor_set("core"), 10.0, 5, bounds, ticks.datetime_ns, values)


@cache
def recorded() -> tuple[np.ndarray, np.ndarray]:
    """The one-level part of `core` on the real IF day, ticks within its sessions."""
    ((_, day, table),) = read_recording(IF2101, variety="IF")
    bounds = bundled_calendar().sessions("IF", day)
    times = table.column("datetime_ns").to_numpy()
    inside = np.any([(times >= start) & (times < end) for start, end in bounds], axis=0)
    values = np.ascontiguousarray(values_matrix(table)[:, inside])
    return computed(get_factor_set("core", levels=1), 0.2, 300, bounds, times[inside], values)


def computed(factor_set: FactorSet, price_tick, multiplier, bounds, times, values) -> tuple[np.ndarray, np.ndarray]:
    rows = FactorEngine(factor_set, price_tick, multiplier, bounds).batch(times, values)
    return rows, WarmTracker(rows.shape[1]).batch(rows)


DAYS = {
    "driver, thinned": lambda: simulated("driver", 3.0),
    "sequence, thinned": lambda: simulated("sequence", 3.0),
    "none, the market's pace": lambda: simulated("none", 0.5),
    "IF, real": recorded,
}


@pytest.mark.parametrize("day", DAYS)
def test_no_two_factors_of_core_say_the_same_and_none_is_constant_or_often_unknown(day: str) -> None:
    rows, warm = DAYS[day]()
    names = get_factor_set("core", levels=1 if "IF" in day else 5).names
    assert rows.shape[1] == len(names) and warm.mean() > 0.9
    known = rows[warm].astype(np.float64)
    unknown = np.isnan(known).mean(axis=0)
    assert (unknown <= 0.01).all(), [names[i] for i in np.flatnonzero(unknown > 0.01)]
    known = known[np.isfinite(known).all(axis=1)]
    spread = known.std(axis=0)
    assert (spread > 1e-9).all(), [names[i] for i in np.flatnonzero(spread <= 1e-9)]
    correlation = np.triu(np.corrcoef(known.T), 1)
    twice = np.argwhere(np.abs(correlation) > 0.999)
    assert not len(twice), [(names[a], names[b]) for a, b in twice]


def test_no_factor_of_core_waits_for_something_that_may_not_happen(make_ticks) -> None:
    """A factor that is unknown the whole day would leave the day without a row to learn from or to trade."""
    times, values = make_ticks(1200)  # of lots of nearly one size: nobody ever trades four times the usual
    rows, warm = computed(get_factor_set("core"), 10.0, 5, [(int(times[0]), int(times[-1]) + 1)], times, values)
    names, late = np.array(get_factor_set("core").names), np.isfinite(rows[:800]).any(axis=0)
    assert warm[800:].all(), names[~late].tolist()


@pytest.mark.parametrize("name", TITLES)
def test_names_and_expressions_differ_and_everything_is_documented(name: str) -> None:
    factors = factors_of(name)
    assert len({factor.name for factor in factors}) == len(factors)
    assert len({factor.expression for factor in factors}) == len(factors)
    for factor in factors:
        assert factor.doc.endswith(".") and "{" not in factor.doc and factor.doc[0].isupper()
        assert factor.unit and factor.group in GROUPS and factor.paper in ("", *PAPERS)
    assert len({factor.doc for factor in factors}) > 0.98 * len(factors), "a meaning of its own"


def test_core_is_large_covers_every_group_and_holds_lean() -> None:
    core = factors_of("core")
    assert len(core) >= 256
    assert {factor.group for factor in core} == set(GROUPS)
    assert set(factors_of("lean")) < set(core)
    used = {paper for factor in core if (paper := factor.paper)}
    assert used == set(PAPERS), "no reference without a factor"
    assert get_factor_set("core").warm_up_ticks <= 750


@pytest.mark.parametrize("name", TITLES)
def test_depth_is_marked_by_what_a_one_level_recording_cannot_feed(name: str, make_ticks) -> None:
    times, values = make_ticks(1500)
    for level in range(2, 6):
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_price{level}"]] = np.nan
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = 0
    last = values[COLUMN_INDEX["last_price"]]
    values[COLUMN_INDEX["highest"]] = np.maximum.accumulate(last)
    values[COLUMN_INDEX["lowest"]] = np.minimum.accumulate(last)
    whole = get_factor_set(name)
    shallow, left_out = whole.restrict_levels(1)
    assert shallow == get_factor_set(name, levels=1)
    assert set(left_out) == {factor.name for factor in factors_of(name) if factor.levels > 1}
    bounds = [(int(times[0]), int(times[-1]) + 1)]
    rows = FactorEngine(whole, 10.0, 5.0, bounds).batch(times, values)
    for i, factor in enumerate(whole.names):
        assert np.isnan(rows[:, i]).all() == (factor in left_out), factor


def test_lean_has_about_forty_and_half_of_them_on_one_level() -> None:
    lean = get_factor_set("lean")
    shallow, left_out = lean.restrict_levels(1)
    assert 38 <= len(lean) <= 45
    assert len(shallow) >= 20
    assert {"imbalance_2", "cum_imbalance_5", "multi_ofi_5_sum_20", "log_bid_depth_5"} <= set(left_out)
    assert lean.restrict_levels(5) == (lean, ())
    with pytest.raises(UsageError, match="needs deeper levels of the book .*, and these ticks have 1"):
        FactorSet("deep", {name: lean.expressions[name] for name in left_out}).restrict_levels(1)
    assert not lean.needs_session and lean.warm_up_ticks <= 200


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Mid()", "price ticks"),
        ("Imbalance(1)", "1"),
        ("Sum(SignedVolume(), 20)", "lots"),
        ("KyleLambda(MidReturn(1), SignedVolume(), 100)", "price ticks / lots"),
        ("RealizedVar(Mid(), 100)", "price ticks^2"),
        ("Sqrt(RealizedVar(Mid(), 100))", "price ticks"),
        ("Slope(Mid(), 50)", "price ticks / ticks"),
        ("Slope(Mid(), '30s')", "price ticks / seconds"),
        ("Log(Add(Sum(VolumeDelta(), 20), 1))", "log lots"),
        ("BookSlope('bid', 5)", "lots / price ticks"),
        ("VwapDeviation()", "price ticks"),
        ("Cov(MidReturn(1), SignedVolume(), 50)", "price ticks lots"),
        ("AtChange(Imbalance(1), Mid())", "1"),
        ("Where(Greater(Spread(), 1), Spread(), 0)", "price ticks"),
        ("Since(MidReturn(1))", "ticks"),
        ("DaySeconds()", "seconds"),
    ],
)
def test_the_unit_follows_from_the_expression(text: str, unit: str) -> None:
    assert unit_of(parse(text)) == unit


def test_every_primitive_of_the_language_has_a_rule_for_units() -> None:
    known = {*SOURCES, *NUMBERS, *COUNTS, *EITHER, *KEPT, *SQUARED, *PRODUCTS, *QUOTIENTS}
    special = {"Where", "Sqrt", "Log", "Slope"}
    primitive = {
        cls
        for cls in EXPRESSIONS.values()
        if cls.lower is Expression.lower and cls.__name__ not in ("Source", "Market")
    }
    assert {cls.__name__ for cls in primitive - known} <= special


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(UsageError, match="unknown factor set 'huge'"):
        get_factor_set("huge")
    with pytest.raises(UsageError, match="no factor is called") as refused:
        find_factor("ofi_sum_20")
    assert "ofi_1_sum_20" in refused.value.hint
    with pytest.raises(UsageError) as refused:
        find_factor("zzzzzzzz")
    assert "ghtrader factors list" in refused.value.hint


def test_naming_factors_does_not_load_the_compiler() -> None:
    code = "import sys, ghtrader_models.datasets.build_day, ghtrader_models.factors.library.sets as s"
    heavy = "heavy = {'numba', 'pandas', 'polars'} & set(sys.modules); assert not heavy, heavy"
    check = f"{code}; s.get_factor_set('core').spec_hash; {heavy}"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60, cwd=PAGE.parents[2])


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == to_markdown(), "run `make docs`"
