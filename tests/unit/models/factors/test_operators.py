"""Every operator against its plain definition in NumPy and pandas; sources: `test_oracle_sources`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse

# The engine's output is float32; a scaled copy of the remainder shows the rest of the float64.
FINE = 2.0**24


def engine_values(text: str, times: np.ndarray, values: np.ndarray, bounds=None) -> np.ndarray:
    """float64[n]: the expression to about 48 bits, from its float32 part and the scaled remainder."""
    coarse = FactorEngine(FactorSet("s", {"f": parse(text)}), 10.0, 5.0, bounds).batch(times, values)[:, 0]
    # feed the rounded part back through a level the expression does not use
    carrier = values.copy()
    carrier[COLUMN_INDEX["bid_price5"]], carrier[COLUMN_INDEX["bid_volume5"]] = 10.0, coarse
    fine = f"Mul(Sub({text}, BidVolume(5)), {FINE})"
    rest = FactorEngine(FactorSet("s", {"f": parse(fine)}), 10.0, 5.0, bounds).batch(times, carrier)[:, 0]
    return coarse.astype(np.float64) + rest.astype(np.float64) / FINE


def given(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ticks whose BidVolume(1) is x and BidVolume(2) is y."""
    values = np.full((len(VALUE_COLUMNS), len(x)), np.nan)
    for level, column in ((1, x), (2, y)):
        values[COLUMN_INDEX[f"bid_price{level}"]] = 10.0
        values[COLUMN_INDEX[f"bid_volume{level}"]] = column
    return np.arange(len(x), dtype=np.int64), values


def data(kind: str, n: int = 700) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(kind))
    x, y = rng.normal(0, 1, n), rng.normal(3, 1, n)
    if kind == "shifts":
        x += np.repeat(rng.choice([0.0, 1e6, -1e9], n // 50), 50)
    elif kind == "gaps":
        x[rng.random(n) < 0.02] = np.nan
        y[rng.random(n) < 0.02] = np.inf
    elif kind == "steps":
        x, y = np.rint(x) * 0.1, np.rint(y - 3)
    elif kind == "outlier":
        x[n // 3] = 1e12
    return x, y


def windows(x: np.ndarray, w: int, function) -> np.ndarray:
    out = np.full(len(x), np.nan)
    for t in range(w - 1, len(x)):
        window = x[t - w + 1 : t + 1]
        if np.isfinite(window).all():
            out[t] = function(window)
    return out


def zscore(window: np.ndarray) -> float:
    exact = window.astype(np.longdouble)
    deviation = np.sqrt(((exact - exact.mean()) ** 2).mean())
    if (window == window[0]).all():
        return 0.0
    return float((exact[-1] - exact.mean()) / deviation)


def deviation(window: np.ndarray) -> float:
    exact = window.astype(np.longdouble)
    return float(np.sqrt(((exact - exact.mean()) ** 2).mean()))


WINDOWED = {
    "Sum": lambda w: float(np.sum(w.astype(np.longdouble))),
    "Mean": lambda w: float(np.mean(w.astype(np.longdouble))),
    "Min": np.min,
    "Max": np.max,
    "Range": lambda w: w.max() - w.min(),
    "Std": deviation,
    "ZScore": zscore,
}


def agree(got: np.ndarray, want: np.ndarray, scale: np.ndarray | float = 0.0) -> None:
    assert (np.isnan(got) == np.isnan(want)).all()
    known = ~np.isnan(want)
    tolerance = 1e-9 * np.maximum(np.abs(want), scale)
    assert (np.abs(got - want)[known] <= tolerance[known] + 1e-300).all(), np.nanmax(np.abs(got - want))


@pytest.mark.parametrize("kind", ["plain", "shifts", "gaps", "steps", "outlier"])
@pytest.mark.parametrize("window", [1, 2, 7, 50])
@pytest.mark.parametrize("name", sorted(WINDOWED))
def test_windowed(name, window, kind):
    x, y = data(kind)
    got = engine_values(f"{name}(BidVolume(1), {window})", *given(x, y))
    # a difference has no relative precision of its own: judge a sum against what was added, a z-score against 1
    scale = windows(x, window, lambda w: np.abs(w).max()) if name in ("Sum", "Mean") else float(name == "ZScore")
    agree(got, windows(x, window, WINDOWED[name]), scale)


@pytest.mark.parametrize("kind", ["plain", "gaps", "shifts"])
def test_ema(kind):
    x, y = data(kind)
    want, e, seen = np.full(len(x), np.nan), 0.0, 0
    for t, v in enumerate(x):
        if np.isfinite(v):
            e = v if seen == 0 else (1 - 2 / 21) * e + 2 / 21 * v
            seen += 1
            if seen >= 20:
                want[t] = e
    agree(engine_values("Ema(BidVolume(1), 20)", *given(x, y)), want, 1e9 if kind == "shifts" else 1.0)
    if kind == "plain":
        frame = pd.Series(x).ewm(span=20, adjust=False).mean().to_numpy()
        agree(want[19:], frame[19:], 1.0)


def elementwise(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(all="ignore"):
        return {
            "Add(X, Y)": x + y,
            "Sub(X, Y)": x - y,
            "Mul(X, Y)": x * y,
            "Ratio(X, Y)": np.where(y == 0, np.where(np.isnan(x), np.nan, 0.0), x / y),
            "Ratio(X, Y, zero=7)": np.where(y == 0, np.where(np.isnan(x), np.nan, 7.0), x / y),
            "Log(X)": np.where(x > 0, np.log(np.where(x > 0, x, 1)), np.nan),
            "Abs(X)": np.abs(x),
            "Sign(X)": np.sign(x),
            "Clip(X, -0.5, 1)": np.clip(x, -0.5, 1),
            "Lag(X, 3)": pd.Series(x).shift(3).to_numpy(),
            "Diff(X, 3)": pd.Series(x).diff(3).to_numpy(),
            "Mul(X, 0.25)": x * 0.25,
        }


@pytest.mark.parametrize("kind", ["plain", "gaps", "steps"])
@pytest.mark.parametrize("text", sorted(elementwise(np.zeros(1), np.zeros(1))))
def test_elementwise(text, kind):
    x, y = data(kind)
    y = np.where(np.isinf(y), np.nan, y)
    got = engine_values(text.replace("X", "BidVolume(1)").replace("Y", "BidVolume(2)"), *given(x, y))
    agree(got, elementwise(x, y)[text], 1e-9)


def test_at_change():
    x = np.array([5.0, 6, 7, 8, 9, 10, 11])
    y = np.array([np.nan, 1, 1, 2, np.nan, 2, 1])
    got = engine_values("AtChange(BidVolume(1), BidVolume(2))", *given(x, y))
    np.testing.assert_array_equal(got, [np.nan, 6, 6, 8, np.nan, 8, 11])


def test_a_falling_volume_is_not_a_trade(make_ticks):
    times, values = make_ticks(5)
    values[COLUMN_INDEX["volume"], 3] = 0
    for text in ("VolumeDelta()", "SignedVolume()"):
        got = FactorEngine(FactorSet("s", {"f": parse(text)}), 10.0, 5.0).batch(times, values)[:, 0]
        assert np.isnan(got[3])


def test_session_sources_count_no_breaks():
    second = 1_000_000_000
    bounds = [(100 * second, 200 * second), (300 * second, 400 * second)]
    times = np.array([50, 100, 150, 200, 250, 300, 350, 400, 500], np.int64) * second
    values = np.full((len(VALUE_COLUMNS), len(times)), np.nan)
    got = engine_values("SessionTime()", times, values, bounds)
    np.testing.assert_allclose(got, [0, 0, 0.25, 0.5, 0.5, 0.5, 0.75, 1, 1], rtol=1e-12)
    age = engine_values("SessionAge()", times, values, bounds)
    np.testing.assert_allclose(age, [np.nan, 0, 50, np.nan, np.nan, 0, 50, np.nan, np.nan], rtol=1e-12)


def test_windows_do_not_drift_over_a_million_ticks():
    rng = np.random.default_rng(5)
    n = 1_000_000
    x = rng.normal(0, 1e-3, n)
    x[200_000:400_000] += 1e9
    x[600_000:600_010] = 1e15
    times, values = given(x, x)
    names = {"mean": "Mean", "std": "Std", "z": "ZScore", "max": "Max"}
    expressions = {k: parse(f"{v}(BidVolume(1), 97)") for k, v in names.items()}
    got = FactorEngine(FactorSet("s", expressions), 10.0, 5.0).batch(times, values)
    for t in (150_000, 450_000, 599_999, 600_200, 999_999):
        window = x[t - 96 : t + 1]
        want = [window.mean(), window.std(), (x[t] - window.mean()) / window.std(), window.max()]
        np.testing.assert_allclose(got[t], np.array(want, np.float32), rtol=1e-6, atol=1e-12)
