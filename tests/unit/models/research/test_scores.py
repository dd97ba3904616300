"""Information coefficients against scipy's, and what is believed in a world without any and in one with some."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ghtrader_base.errors import UsageError
from ghtrader_models.research.ranks import centred_ranks, masked_correlation
from ghtrader_models.research.scores import FactorDay, information_coefficients
from tests.support.examples import examples

values = st.one_of(st.integers(-3, 3).map(float), st.just(float("nan")))


@given(st.lists(st.tuples(values, values), min_size=5, max_size=60))
@settings(max_examples=examples(200), deadline=None)
def test_ranks_with_ties_and_gaps_are_scipys(pairs):
    x, y = np.array(pairs).T
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    found = masked_correlation(*centred_ranks(x[:, None]), *centred_ranks(y[:, None]))[0, 0]
    if both.sum() < 3 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(x[both], y[both]).statistic, abs=1e-5)


def make_days(count=8, rows=1500, factors=40, tie=0.0, seed=0, rhythm=0.0):
    """Slow noise for factors; the first sees the next 20 moves, as strongly as `tie` says."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        steps = rng.normal(size=rows) + rhythm * np.sin(np.arange(rows) / 100)
        mid = np.cumsum(steps)
        noise = rng.normal(size=(rows, factors))
        slow = np.empty_like(noise)
        slow[0] = noise[0]
        for t in range(1, rows):
            slow[t] = 0.97 * slow[t - 1] + 0.24 * noise[t]
        ahead = np.convolve(steps, np.ones(20), "full")[19 : 19 + rows] - steps
        slow[:, 0] += tie * ahead / ahead.std()
        slow[:30, 1] = np.nan
        made.append(FactorDay(f"day {number}", mid, slow.astype(np.float32), np.repeat([0, 1, 2], rows // 3)))
    return made, tuple(f"f{i}" for i in range(factors))


def test_a_planted_factor_is_first_and_believed_and_fades_with_the_horizon():
    days, names = make_days(tie=0.5)
    found = information_coefficients(days, names, (10, 50, 200), shuffles=500)
    assert found.method == "day-shuffled" and found.ranked(10)[0] == 0
    assert found.ic[0, 0] > 0.2 and found.low[0, 0] > 0 and found.p_adjusted[0, 0] < 0.01
    assert abs(found.ic[0, 2]) < found.ic[0, 0] and found.agreement[0, 0] == 1.0
    assert (found.p_adjusted[1:] > 0.05).all() and (found.p_adjusted >= found.p_value - 1e-9).all()
    assert found.session_ic.shape == (3, 40, 3) and (found.session_ic[:, 0, 0] > 0.1).all()
    assert found.coverage[1] == pytest.approx(1 - 30 / 1500) and found.coverage[0] == 1
    assert found.decay.shape == (40, len(found.decay_horizons)) and found.correlation.shape == (40, 40)
    assert np.allclose(np.diag(found.correlation), 1, atol=1e-4)
    assert found.memory[5] > 0.1 and 0 < found.turnover[5] < 1 / 3


def test_where_nothing_is_nothing_is_believed():
    """Slow factors, overlapping targets and a rhythm over the day: p-values stay honest, of one test and of all."""
    single, families = [], 0
    for seed in range(20):
        days, names = make_days(count=6, rows=600, factors=12, seed=seed, rhythm=0.5)
        found = information_coefficients(days, names, (10, 50), shuffles=300, seed=seed)
        single.append((found.p_value < 0.1).mean())
        families += bool((found.p_adjusted < 0.1).any())
    assert np.mean(single) < 0.15 and families <= 5  # 2 expected, 6 or more once in 90


def test_one_day_is_rotated_and_says_so():
    days, names = make_days(count=1, tie=2.0)
    found = information_coefficients(days, names, (10,), shuffles=200)
    assert found.method == "rotated" and np.isnan(found.low[0, 0])
    assert found.ranked(10)[0] == 0 and found.p_value[0, 0] < 0.05
    assert np.isnan(information_coefficients(days, names, (10,), shuffles=0).p_value).all()


def test_a_day_is_loaded_once_and_in_its_turn():
    days, names = make_days(count=4, rows=300, factors=3)
    loaded: list[str] = []

    def lazily(day: FactorDay) -> FactorDay:
        return FactorDay(day.name, day.mid, lambda: loaded.append(day.name) or day.factors)

    lazy = [lazily(day) for day in days]
    one, other = (information_coefficients(found, names, (10,), shuffles=50) for found in (lazy, days))
    assert loaded == [day.name for day in days]
    np.testing.assert_array_equal(one.ic, other.ic)
    np.testing.assert_array_equal(one.p_adjusted, other.p_adjusted)


def test_long_days_are_thinned_and_nearly_say_the_same():
    days, names = make_days(count=4, rows=3000, tie=0.5)
    whole, thin = (information_coefficients(days, names, (20,), shuffles=0, max_rows=n) for n in (3000, 1000))
    assert abs(whole.ic[0, 0] - thin.ic[0, 0]) < 0.03


def test_a_day_without_the_night_is_held_against_the_ends_of_others():
    days, names = make_days(count=5, rows=900, tie=1.0)
    short = FactorDay("short", days[0].mid[-600:], days[0].factors[-600:], np.repeat([0, 1], 300))
    found = information_coefficients([short, *days[1:]], names, (10,), shuffles=100)
    assert np.isfinite(found.ic).all() and found.session_ic.shape[0] == 3 and found.ranked(10)[0] == 0


def test_nonsense_is_refused():
    days, names = make_days(count=1, rows=50, factors=2)
    for arguments in (([], names), (days, names, ()), (days, ("one",)), (days, names, (0,))):
        with pytest.raises(UsageError):
            information_coefficients(*arguments)
