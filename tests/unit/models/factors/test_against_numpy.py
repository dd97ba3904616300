"""Operators over windows, in ticks and in time, and those with a memory: against plain NumPy and pandas to 1e-9."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.expressions import CLOCK_RATE, clock_us
from ghtrader_models.factors.language.parser import parse

FINE = 2.0**24
"""The engine gives float32; the remainder, scaled, shows the rest."""


def engine_values(text: str, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64[n]: the expression to about 48 bits."""
    first = FactorEngine(FactorSet("s", {"f": parse(text)}), 10.0, 5.0).batch(times, values)[:, 0]
    carrier = values.copy()
    carrier[COLUMN_INDEX["bid_price5"]], carrier[COLUMN_INDEX["bid_volume5"]] = 10.0, first
    fine = FactorSet("s", {"f": parse(f"Mul(Sub({text}, BidVolume(5)), {FINE})")})
    rest = FactorEngine(fine, 10.0, 5.0).batch(times, carrier)[:, 0]
    return first.astype(np.float64) + rest.astype(np.float64) / FINE


def ticks(x: np.ndarray, y: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ticks whose BidVolume(1) is x and BidVolume(2) is y, half a second to three apart, with a break in the middle."""
    values = np.full((len(VALUE_COLUMNS), len(x)), np.nan)
    for level, column in ((1, x), (2, y)):
        values[COLUMN_INDEX[f"bid_price{level}"]] = 10.0
        values[COLUMN_INDEX[f"bid_volume{level}"]] = column
    steps = np.random.default_rng(seed).choice([500_000_000, 1_000_000_000, 3_000_000_000], len(x))
    steps[len(x) // 2] = 900_000_000_000
    return 1_700_000_000_000_000_000 + np.cumsum(steps), values


def data(kind: str, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(kind))
    x, y = rng.normal(0, 1, n), rng.normal(3, 1, n)
    if kind == "prices":
        x, y = 7000 + np.rint(np.cumsum(x)) / 2, np.rint(y * 4)
    elif kind == "gaps":
        x[rng.random(n) < 0.008], y[rng.random(n) < 0.008] = np.nan, np.inf
        x[100:110] = 4.0
    elif kind == "shifts":
        x += np.repeat(rng.choice([0.0, 1e6, -1e9], n // 50), 50)
    return x, y


Window = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def moment(v: np.ndarray, power: int) -> float:
    d = v.astype(np.longdouble)
    return float(((d - d.mean()) ** power).mean())


def comoment(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    return float(((x - x.mean()) * (y - y.mean())).mean())


def ratio(a: float, b: float) -> float:
    return a / b if b != 0 else 0.0


def line_residual(y: np.ndarray, x: np.ndarray) -> float:
    mean_y, mean_x = y.astype(np.longdouble).mean(), x.astype(np.longdouble).mean()
    return float((y[-1] - mean_y) - ratio(comoment(x, y), moment(x, 2)) * (x[-1] - mean_x))


def standardised(x: np.ndarray) -> float:
    return ratio(float(x[-1] - x.astype(np.longdouble).mean()), math.sqrt(moment(x, 2)))


def age(best: Callable[[np.ndarray], float]) -> Window:
    return lambda x, y, s: float(np.flatnonzero(x[::-1] == best(x))[0])


# operator of X, Y and the window W; the definition of the last value of a window, given x, y and seconds
OF_WINDOWS: dict[str, Window] = {
    "Sum(X, W)": lambda x, y, s: float(np.sum(x.astype(np.longdouble))),
    "Mean(X, W)": lambda x, y, s: float(np.mean(x.astype(np.longdouble))),
    "Var(X, W)": lambda x, y, s: moment(x, 2),
    "Std(X, W)": lambda x, y, s: math.sqrt(moment(x, 2)),
    "ZScore(X, W)": lambda x, y, s: standardised(x),
    "Min(X, W)": lambda x, y, s: x.min(),
    "Max(X, W)": lambda x, y, s: x.max(),
    "Range(X, W)": lambda x, y, s: x.max() - x.min(),
    "PlaceInRange(X, W)": lambda x, y, s: 0.5 if x.max() == x.min() else (x[-1] - x.min()) / (x.max() - x.min()),
    "RootMeanSquare(X, W)": lambda x, y, s: math.sqrt(float(np.mean(x.astype(np.longdouble) ** 2))),
    "Cov(X, Y, W)": lambda x, y, s: comoment(x, y),
    "Corr(X, Y, W)": lambda x, y, s: ratio(comoment(x, y), math.sqrt(moment(x, 2) * moment(y, 2))),
    "Beta(Y, X, W)": lambda x, y, s: ratio(comoment(x, y), moment(x, 2)),
    "KyleLambda(Y, X, W)": lambda x, y, s: ratio(comoment(x, y), moment(x, 2)),
    "Residual(Y, X, W)": lambda x, y, s: line_residual(y, x),
    "Amihud(X, Abs(Y), W)": lambda x, y, s: ratio(np.abs(x).sum(), np.abs(y).sum()),
    "Sharpe(X, W)": lambda x, y, s: min(10.0, max(-10.0, ratio(float(x.mean()), math.sqrt(moment(x, 2))))),
}
OF_TICKS: dict[str, Window] = {
    "Skew(X, W)": lambda x, y, s: ratio(moment(x, 3), moment(x, 2) ** 1.5),
    "ArgMaxAge(X, W)": age(np.max),
    "ArgMinAge(X, W)": age(np.min),
    "Quantile(X, 0.3, W)": lambda x, y, s: np.quantile(x, 0.3),
    "Median(X, W)": lambda x, y, s: np.median(x),
    "Rank(X, W)": lambda x, y, s: ((x < x[-1]).sum() + ((x == x[-1]).sum() - 1) / 2) / (len(x) - 1),
    "Slope(X, W)": lambda x, y, s: ratio(comoment(np.arange(len(x)), x), moment(np.arange(len(x)), 2)),
    "TrendResidual(X, W)": lambda x, y, s: line_residual(x, np.arange(len(x))),
}
OF_TIME: dict[str, Window] = {
    "Slope(X, W)": lambda x, y, s: ratio(comoment(s, x), moment(s, 2)),
    "TrendResidual(X, W)": lambda x, y, s: line_residual(x, s),
}


def over_ticks(x: np.ndarray, y: np.ndarray, s: np.ndarray, w: int, function: Window) -> np.ndarray:
    out = np.full(len(x), np.nan)
    for t in range(w - 1, len(x)):
        a, b = x[t - w + 1 : t + 1], y[t - w + 1 : t + 1]
        if np.isfinite(a).all() and np.isfinite(b).all():
            out[t] = function(a, b, s[t - w + 1 : t + 1])
    return out


def over_time(x: np.ndarray, y: np.ndarray, times: np.ndarray, length: str, function: Window) -> np.ndarray:
    us, out = clock_us(length), np.full(len(x), np.nan)
    micro = times // 1000
    for t in range(len(x)):
        inside = np.flatnonzero(micro[: t + 1] > micro[t] - us)
        if inside[0] == 0:
            continue
        a, b = x[inside], y[inside]
        if np.isfinite(a).all() and np.isfinite(b).all():
            out[t] = function(a, b, (micro[inside] - micro[0]) / 1e6)
    return out


def agree(got: np.ndarray, want: np.ndarray, scale: np.ndarray | float = 0.0) -> None:
    assert (np.isnan(got) == np.isnan(want)).all()
    assert np.isfinite(want).sum() > 20
    known = ~np.isnan(want)
    tolerance = 1e-9 * np.maximum(np.abs(want), scale) + 1e-300
    assert (np.abs(got - want)[known] <= np.broadcast_to(tolerance, want.shape)[known]).all(), np.nanmax(
        np.abs(got - want)
    )


def scale_of(text: str, x: np.ndarray, y: np.ndarray, window: Callable[[Window], np.ndarray]) -> np.ndarray:
    """What a difference of like numbers is to be judged against: the size of the numbers it is made of."""
    reach_x = window(lambda a, b, s: np.abs(a).max())
    wide_x, wide_y = window(lambda a, b, s: np.ptp(a)), window(lambda a, b, s: np.ptp(b))
    name = text[: text.index("(")]
    count = window(lambda a, b, s: len(a))
    if name in ("Sum", "Mean", "RealizedVar"):
        return reach_x * (count if name == "Sum" else 1)
    if name == "Cov":
        return wide_x * wide_y
    if name in ("Beta", "KyleLambda"):
        return wide_y / np.where(wide_x > 0, wide_x, 1)
    if name in ("Residual",):
        return wide_y
    if name in ("Slope", "TrendResidual"):
        return wide_x
    if name in ("ZScore", "Corr", "Skew", "Sharpe"):
        return np.full(len(x), 10.0)
    return np.zeros(len(x))


@pytest.mark.parametrize("kind", ["plain", "gaps", "prices", "shifts"])
@pytest.mark.parametrize("w", [3, 7, 20, 75])
@pytest.mark.parametrize("text", [*OF_WINDOWS, *OF_TICKS])
def test_windows_of_ticks(text, w, kind):
    (x, y), function = data(kind), {**OF_WINDOWS, **OF_TICKS}[text]
    used = y if "Y" in text else np.zeros(len(x))
    times, values = ticks(x, y)
    written = text.replace("X", "BidVolume(1)").replace("Y", "BidVolume(2)").replace("W", str(w))
    got = engine_values(written, times, values)
    seconds = np.arange(len(x), dtype=float)
    want = over_ticks(x, used, seconds, w, function)
    agree(got, want, scale_of(text, x, used, lambda f: over_ticks(x, used, seconds, w, f)))


@pytest.mark.parametrize("kind", ["plain", "gaps", "prices"])
@pytest.mark.parametrize("w", ["2s", "17s", "1m"])
@pytest.mark.parametrize("text", [*OF_WINDOWS, *OF_TIME])
def test_windows_of_time(text, w, kind):
    (x, y), function = data(kind), {**OF_WINDOWS, **OF_TIME}[text]
    used = y if "Y" in text else np.zeros(len(x))
    times, values = ticks(x, y)
    written = text.replace("X", "BidVolume(1)").replace("Y", "BidVolume(2)").replace("W", repr(w))
    want = over_time(x, used, times, w, function)
    agree(
        engine_values(written, times, values), want, scale_of(text, x, used, lambda f: over_time(x, used, times, w, f))
    )


@pytest.mark.parametrize("kind", ["plain", "gaps", "prices"])
def test_lags_of_time(kind):
    x, y = data(kind)
    times, values = ticks(x, y)
    for length in ("1s", "17s", "5m"):
        before = np.searchsorted(times // 1000, times // 1000 - clock_us(length), side="right") - 1
        want = np.where(before >= 0, np.where(np.isfinite(x), x, x)[np.maximum(before, 0)], np.nan)
        agree(engine_values(f"Lag(BidVolume(1), '{length}')", times, values), want)


@pytest.mark.parametrize("kind", ["plain", "gaps", "prices"])
@pytest.mark.parametrize("w", [5, 30])
def test_measures(w, kind):
    x, y = data(kind)
    times, values = ticks(x, y)
    step = pd.Series(x).diff().to_numpy()
    sign = pd.Series(np.sign(x))

    def rolled(series: np.ndarray, function: Callable) -> np.ndarray:
        return pd.Series(series).rolling(w).apply(function, raw=True).to_numpy()

    neighbours = np.abs(step) * np.abs(pd.Series(step).shift(1).to_numpy())
    realized, bipower = rolled(step**2, np.sum), math.pi / 2 * rolled(neighbours, np.sum)
    path, moved = rolled(np.abs(step), np.sum), np.abs(pd.Series(x).diff(w).to_numpy())
    with np.errstate(all="ignore"):
        wanted = {
            "RealizedVar(X, W)": realized,
            "BipowerVar(X, W)": bipower,
            "JumpShare(X, W)": np.where(realized == 0, 0 * bipower, 1 - bipower / realized),
            "SignPersistence(X, W)": rolled((sign * sign.shift(1)).to_numpy(), np.mean),
            "Efficiency(X, W)": np.where(path == 0, 0 * moved, moved / path),
        }
    for text, want in wanted.items():
        got = engine_values(text.replace("X", "BidVolume(1)").replace("W", str(w)), times, values)
        agree(got, want, 1.0)
    pairs = pd.DataFrame({"a": sign, "b": sign.shift(3)})
    want = np.full(len(x), np.nan)
    for t in range(w - 1, len(x)):
        part = pairs.iloc[t - w + 1 : t + 1]
        if part.notna().all().all():
            want[t] = comoment(part["a"].to_numpy(), part["b"].to_numpy())
    agree(engine_values(f"SignAutocov(BidVolume(1), 3, {w})", times, values), want, 1.0)


def exponential(x: np.ndarray, alpha: np.ndarray, known: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = np.full(len(x), np.nan), np.full(len(x), np.nan)
    e = v = 0.0
    seen = 0
    for t, now in enumerate(x):
        if not np.isfinite(now):
            continue
        if seen == 0:
            e, v = now, 0.0
        else:
            d = now - e
            e, v = e + alpha[t] * d, (1 - alpha[t]) * (v + alpha[t] * d * d)
        seen += 1
        if seen >= least and known[t]:
            mean[t], variance[t] = e, v
    return mean, variance


@pytest.mark.parametrize("kind", ["plain", "gaps", "prices"])
def test_exponential_means_and_variances(kind):
    x, y = data(kind)
    times, values = ticks(x, y)
    always = np.ones(len(x), bool)
    mean, variance = exponential(x, np.full(len(x), 2 / 21), always, 20)
    agree(engine_values("Ema(BidVolume(1), 20)", times, values), mean, 1.0)
    agree(engine_values("EwVar(BidVolume(1), 20)", times, values), variance)
    agree(engine_values("EwStd(BidVolume(1), 20)", times, values), np.sqrt(variance))
    with np.errstate(all="ignore"):
        agree(engine_values("EwZScore(BidVolume(1), 20)", times, values), (x - mean) / np.sqrt(variance), 1.0)
    micro = times // 1000
    alpha = 1 - np.exp(-np.diff(micro, prepend=micro[0]) / clock_us("17s"))
    old = micro - micro[0] >= clock_us("17s")
    mean, variance = exponential(x, alpha, old, 1)
    agree(engine_values("Ema(BidVolume(1), '17s')", times, values), mean, 1.0)
    agree(engine_values("EwVar(BidVolume(1), '17s')", times, values), variance)
    if kind == "plain":  # pandas says the same
        frame = pd.Series(x).ewm(span=20, adjust=False)
        agree(engine_values("EwVar(BidVolume(1), 20)", times, values)[19:], frame.var(bias=True).to_numpy()[19:])


def test_events_and_runs():
    x = np.array([0.0, 0, 3, 0, 0, -2, -2, np.nan, 0, 5, 5, 5, 0])
    times, values = ticks(x, x)
    nan = np.nan
    keep = 1 - 2 / 4
    wanted = {
        "Held(X)": [nan, nan, 3, 3, 3, -2, -2, -2, -2, 5, 5, 5, 5],
        "RunLength(X)": [1, 2, 1, 1, 2, 1, 2, nan, 1, 1, 2, 3, 1],
        "Since(X)": [nan, nan, 0, 1, 2, 0, 0, 1, 2, 0, 0, 0, 1],
        "DecaySince(X, 3)": [0, 0, 1, keep, keep**2, 1, 1, keep, keep**2, 1, 1, 1, keep],
        "Fill(X, 9)": [0, 0, 3, 0, 0, -2, -2, 9, 0, 5, 5, 5, 0],
        "Greater(X, 2)": [0, 0, 1, 0, 0, 0, 0, nan, 0, 1, 1, 1, 0],
        "Equal(X, 5)": [0, 0, 0, 0, 0, 0, 0, nan, 0, 1, 1, 1, 0],
        "Where(X, 1, 2)": [2, 2, 1, 2, 2, 1, 1, nan, 2, 1, 1, 1, 2],
        "Larger(X, 1)": [1, 1, 3, 1, 1, 1, 1, nan, 1, 5, 5, 5, 1],
        "Smaller(X, 1)": [0, 0, 1, 0, 0, -2, -2, nan, 0, 1, 1, 1, 0],
        "Sqrt(X)": [0, 0, math.sqrt(3), 0, 0, nan, nan, nan, 0, *[math.sqrt(5)] * 3, 0],
        "Square(X)": [0, 0, 9, 0, 0, 4, 4, nan, 0, 25, 25, 25, 0],
        "SignedLog(X)": [0, 0, math.log(4), 0, 0, *[-math.log(3)] * 2, nan, 0, *[math.log(6)] * 3, 0],
    }
    for text, want in wanted.items():
        got = engine_values(text.replace("X", "BidVolume(1)"), times, values)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=0, err_msg=text)
    faded, d = [], 0.0
    for value in x:
        d = d * keep + (value if np.isfinite(value) else 0.0)
        faded.append(d if np.isfinite(value) else nan)
    np.testing.assert_allclose(engine_values("Decay(BidVolume(1), 3)", times, values), faded, rtol=1e-12)


def test_a_clock_window_has_room_for_so_many_ticks_a_second():
    n = 200
    times, values = ticks(np.arange(n, dtype=float), np.zeros(n))
    times = 1_700_000_000_000_000_000 + np.arange(n) * 1_000_000  # a thousand a second
    got = engine_values("Sum(BidVolume(1), '10s')", times, values)
    most = 10 * CLOCK_RATE + 1
    assert np.isnan(got[:most]).all()
    assert got[most] == sum(range(1, most + 1))


def test_constant_windows_have_no_spread_at_all():
    x = np.full(300, 0.1) + 1e6
    times, values = ticks(x, x)
    for w in (2, 7, 30, 75, "17s"):
        for name in ("Var", "Std", "ZScore", "Slope", "TrendResidual"):
            got = engine_values(f"{name}(BidVolume(1), {w!r})", times, values)
            assert (got[np.isfinite(got)] == 0).all(), (name, w)
        assert (engine_values(f"Corr(BidVolume(1), BidVolume(2), {w!r})", times, values)[200:] == 0).all()
