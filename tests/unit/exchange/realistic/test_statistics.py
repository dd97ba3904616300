"""The statistics that played and recorded days are compared by: values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import ConfigError
from ghtrader_exchange.world.realistic.statistics import (
    MarketStatistics,
    SnapshotDay,
    autocorrelation,
    average,
    kurtosis,
    measure,
    season,
)

HAND = SnapshotDay(
    bid=np.array([10, 10, 11, 9, 9]),
    ask=np.array([11, 12, 12, 12, 12]),
    bid_volume=np.array([1, 2, 3, 4, 20]),
    ask_volume=np.array([1, 1, 1, 1, 1]),
    volume=np.array([5, 5, 8, 8, 12]),
)


def test_a_small_day_by_hand() -> None:
    """Mids 21, 22, 23, 21, 21 half ticks: moves 1, 1, -2, 0; lots 0, 3, 0, 4; spreads 1, 2, 1, 3, 3."""
    found = measure(HAND)
    assert found.unchanged == 0.25 and found.half_ticks == 0.8
    assert found.mean_move == 1.0 and found.deviation == pytest.approx(np.sqrt(6 / 4))
    assert found.kurtosis == pytest.approx((18 / 4) / (6 / 4) ** 2)
    assert found.mean_volume == 1.75 and found.no_volume == 0.5
    assert found.spread == (0.4, 0.2, 0.4, 0.0) and found.mean_spread == 2.0
    assert found.depth == (0.6, 0.7, 0.8, 0.9, 0.9) and found.mean_depth == 3.5
    # Sizes less their mean: 0, 0, 1, -1.
    assert found.move_autocorrelation[:2] == (pytest.approx(-0.5), pytest.approx(0.0)) and found.move_autocorrelation[
        3:
    ] == (0, 0, 0, 0)


def test_the_pieces() -> None:
    assert autocorrelation(np.array([1.0, -1.0, 1.0, -1.0]), (1, 2, 9)) == (-0.75, 0.5, 0.0)
    assert autocorrelation(np.ones(5), (1, 2)) == (0.0, 0.0)
    assert season(np.array([1, 1, 3, 3]), 2) == (0.5, 1.5) and season(np.zeros(4), 2) == (1.0, 1.0)
    assert kurtosis(np.array([1, -1, 1])) == 1.0 and kurtosis(np.zeros(3)) == 0.0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_every_figure_is_finite_and_an_average_of_equals_is_the_same(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 300
    bid = random.integers(0, 5, n)
    day = SnapshotDay(
        bid, bid + random.integers(1, 9, n), random.integers(1, 9, n), random.integers(1, 9, n),
        np.cumsum(random.integers(0, 3, n)),
    )  # fmt: skip
    found = measure(day)
    lines = found.lines()
    assert np.isfinite(list(lines.values())).all() and sum(found.spread) == pytest.approx(1.0)
    again = average([found, found])
    assert list(again.lines()) == list(lines) and np.allclose(list(again.lines().values()), list(lines.values()))


def test_a_garbled_table_is_a_config_error() -> None:
    for table in ({}, {"unchanged": "x"}, None, {**{n: 1.0 for n in measure(HAND).lines()}, "spread": "abc"}):
        with pytest.raises(ConfigError, match="garbled"):
            MarketStatistics.from_dict(table)  # type: ignore[arg-type]
