"""The named sets: documented, distinct, warm in time, and honest about depth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_market.ticks import COLUMN_INDEX
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.library import factors_of, get_factor_set, set_names
from ghtrader_models.factors.library_page import to_markdown

PAGE = Path(__file__).parents[3] / "docs" / "factors.md"


@pytest.mark.parametrize("name", set_names())
def test_names_and_expressions_differ_and_everything_is_documented(name):
    factors = factors_of(name)
    assert len({factor.name for factor in factors}) == len(factors)
    assert len({factor.expression for factor in factors}) == len(factors)
    assert all(factor.doc.endswith(".") and factor.unit for factor in factors)


def test_lean_has_about_forty_and_half_of_them_on_one_level():
    lean = get_factor_set("lean")
    shallow, left_out = lean.restrict_levels(1)
    assert 38 <= len(lean) <= 45
    assert len(shallow) >= 20
    assert shallow == get_factor_set("lean", levels=1)
    assert set(shallow.names) | set(left_out) == set(lean.names)
    assert {"imbalance_2", "cum_imbalance_5", "multi_ofi_5_sum_20", "log_bid_depth_5"} <= set(left_out)
    assert lean.restrict_levels(5) == (lean, ())
    assert not lean.needs_session


def test_lean_is_known_after_warm_up_and_nothing_in_it_is_constant_or_twice(make_ticks):
    times, values = make_ticks(3000)
    lean = get_factor_set("lean")
    factors = FactorEngine(lean, 10.0, 5.0).batch(times, values)
    warm = factors[lean.warm_up_ticks - 1 :]
    assert lean.warm_up_ticks <= 200
    assert np.isfinite(warm).all()
    assert (warm.std(axis=0) > 0).all()
    correlation = np.corrcoef(warm.T.astype(np.float64)) - np.eye(len(lean))
    assert np.abs(correlation).max() < 0.999


def test_one_level_ticks_feed_the_shallow_set_and_only_it(make_ticks):
    times, values = make_ticks(500)
    for level in range(2, 6):
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_price{level}"]] = np.nan
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = 0
    lean = get_factor_set("lean")
    shallow, left_out = lean.restrict_levels(1)
    assert np.isfinite(FactorEngine(shallow, 10.0, 5.0).batch(times, values)[shallow.warm_up_ticks - 1 :]).all()
    deep = FactorEngine(lean, 10.0, 5.0).batch(times, values)
    for name in left_out:
        assert np.isnan(deep[:, lean.names.index(name)]).all()


def test_unknown_sets_are_refused():
    with pytest.raises(UsageError, match="unknown factor set 'huge'"):
        get_factor_set("huge")


def test_naming_factors_does_not_load_the_compiler():
    code = "import sys, ghtrader_models.build, ghtrader_models.factors.library as l; l.get_factor_set('lean').spec_hash"
    check = f"{code}; heavy = {{'numba', 'pandas', 'polars'}} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60, cwd=PAGE.parents[1])


def test_the_page_is_current():
    assert PAGE.read_text() == to_markdown(), "python -m ghtrader_models.factors.library_page > docs/factors.md"
