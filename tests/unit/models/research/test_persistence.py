"""Slow factors: persistence is pandas', the bias is where the formula says, and the report names who has it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from ghtrader_models.research.persistence import SLOW, bias_bound, lag_one
from ghtrader_models.research.scores import FactorDay, FactorScores, information_coefficients

ROWS, DAYS, HORIZONS = 2400, 60, (10, 50)
FADES = (0.8, 0.99, 0.998, 1.0)


def test_persistence_is_pandas_autocorrelation():
    rng = np.random.default_rng(0)
    rows = np.cumsum(rng.normal(size=(400, 40)), axis=0) + 1e6
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[5, 3], rows[:, 7], rows[:, 8] = np.inf, 2.5, np.nan
    found = lag_one(rows)
    assert np.isnan(found[[7, 8]]).all()
    for column in set(range(40)) - {7, 8}:
        wanted = pd.Series(np.where(np.isfinite(rows[:, column]), rows[:, column], np.nan)).autocorr(1)
        assert found[column] == pytest.approx(wanted, rel=1e-9)
    assert np.isnan(lag_one(rows[:3])).all() and np.isnan(lag_one(rows[:0])).all()


@pytest.fixture(scope="module")
def scores() -> FactorScores:
    """A price that nobody can foretell; factors made of its own moves that fade more and more slowly, and strangers."""
    rng = np.random.default_rng(1)
    days = []
    for number in range(DAYS):
        moves, strange = rng.normal(size=(2, ROWS))
        factors = [lfilter([1.0], [1.0, -fade], of) for of in (moves, strange) for fade in FADES]
        days.append(FactorDay(f"day {number}", np.cumsum(moves), np.stack(factors, axis=1).astype(np.float32)))
    names = [f"{of} {fade}" for of in ("own", "strange") for fade in FADES]
    return information_coefficients(days, names, HORIZONS, shuffles=200)


def test_where_there_is_nothing_to_find_slow_factors_of_the_price_are_off_by_what_is_said(scores):
    own = slice(0, len(FADES))
    for column, horizon in enumerate(HORIZONS):
        bias = scores.bias(horizon)
        error = scores.day_ic[:, :, column].std(axis=0) / np.sqrt(DAYS)
        assert (scores.ic[own, column] < 3 * error[own]).all(), "against the sign of the tie"
        assert (np.abs(scores.ic[:, column]) < bias + 3 * error).all(), "never beyond the bound"
        slow = scores.ic[2:4, column]
        assert (slow < -0.5 * bias[2:4]).all(), "and it is no small matter"
        assert (np.abs(scores.ic[len(FADES) :, column]) < 3.5 * error[len(FADES) :]).all(), "strangers have none"
    assert scores.bias(10)[0] < SLOW < scores.bias(10)[3]
    assert (scores.p_value[3] < 0.05).all(), "shuffled targets are no help against it: hence the mark"


def test_the_bound_grows_with_memory_and_horizon_and_ends_at_the_random_walks():
    fades = np.linspace(-0.3, 1.0, 200)
    bound = bias_bound(fades, 50_000, 50)
    assert (np.diff(bound[60:]) >= 0).all() and bound[-1] == pytest.approx(2.2 * np.sqrt(50 / 50_000))
    assert (bias_bound(fades, 50_000, 200) >= bound).all() and (bias_bound(fades, 10_000, 50) >= bound).all()
    assert np.isnan(bias_bound(np.array([np.nan]), 100, 10)).all()
