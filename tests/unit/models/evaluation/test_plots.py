"""Every figure draws, twice the same bytes, with little data and with none."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_models.evaluation import plots
from ghtrader_models.evaluation.metrics import reliability

RNG = np.random.default_rng(0)
TIMES = 1_743_000_000_000_000_000 + np.arange(9000, dtype=np.int64) * 500_000_000
WALK = 70_000 + 10.0 * np.cumsum(RNG.integers(-1, 2, 9000))
BINS = reliability(RNG.dirichlet([1, 1, 1], 500), RNG.integers(0, 3, 500))
NONE = np.empty(0)
DRAW: dict[str, Callable[[str], bytes]] = {
    "reliability": lambda kind: plots.reliability_diagram({"logistic": BINS, "xgboost": BINS}, kind=kind),
    "importance": lambda kind: plots.factor_importance({f"f{i}": i / 10 for i in range(30)}, kind=kind),
    "gain": lambda kind: plots.gain_per_split({"a": [0.1, -0.2], "b": [0.0, 0.1]}, ["d1", "d2"], kind=kind),
    "pnl": lambda kind: plots.pnl_curve(TIMES, np.cumsum(RNG.normal(size=9000)) * 0 + 1.0, kind=kind),
    "latency": lambda kind: plots.latency_histogram(np.array([0.5, 1.0, 2.0, np.nan, 40.0]), kind=kind),
    "trades": lambda kind: plots.price_with_trades(
        TIMES, WALK, TIMES[[5, 100]], WALK[[5, 100]], np.array([1, -1]), kind=kind
    ),
    "loss and latency": lambda kind: plots.loss_against_latency(
        {"a": (5.0, 0.9, True), "b": (900.0, 0.8, True), "c": (950.0, 0.95, False)}, {"prior": 1.0}, kind=kind
    ),
    "no loss": lambda kind: plots.loss_against_latency({}, {}, kind=kind),
    "no latency": lambda kind: plots.latency_histogram(NONE, kind=kind),
    "no pnl": lambda kind: plots.pnl_curve(NONE.astype(np.int64), NONE, kind=kind),
    "no trades": lambda kind: plots.price_with_trades(
        TIMES[:5], WALK[:5], NONE.astype(np.int64), NONE, NONE.astype(int), kind=kind
    ),
    "no importance": lambda kind: plots.factor_importance({}, kind=kind),
}


@pytest.mark.parametrize("name", DRAW)
def test_draws_the_same_twice(name: str) -> None:
    png = DRAW[name]("png")
    assert png.startswith(b"\x89PNG") and len(png) > 2000
    assert png == DRAW[name]("png")


@pytest.mark.parametrize("name", ["importance", "trades"])
def test_svg(name: str) -> None:
    svg = DRAW[name]("svg")
    assert b"<svg" in svg and svg == DRAW[name]("svg")


def test_the_picture_follows_the_numbers() -> None:
    assert plots.factor_importance({"a": 0.9, "b": 0.1}) != plots.factor_importance({"a": 0.1, "b": 0.9})
    with pytest.raises(UsageError):
        DRAW["pnl"]("gif")


@pytest.mark.parametrize(("low", "high"), [(1.64, 1.95), (2.1, 4.8), (5.0, 51.0), (3.0, 20_000.0), (2.0, 2.0)])
def test_an_axis_of_times_has_numbers_on_it(low: float, high: float) -> None:
    front = plots.loss_against_latency({"a": (low, 0.9, True), "b": (high, 0.8, True)}, {}, kind="svg")
    spread = plots.latency_histogram(np.linspace(low, high, 50), kind="svg")
    for svg in (front.decode(), spread.decode()):
        axis = svg.partition('id="matplotlib.axis_1"')[2].partition('id="matplotlib.axis_2"')[0]
        assert len(re.findall(r"<!-- [0-9.]+ -->", axis)) >= 2, axis
