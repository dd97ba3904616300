"""Every source, and every operator with a memory, against a plain definition to 1e-9 on random ticks with holes; and a
list that no name of the language is missing from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import NAMES, parse

FINE = 2.0**24
PRICE_TICK, MULTIPLIER = 10.0, 5.0
SECOND = 1_000_000_000


def engine_values(text: str, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64[n]: the expression to about 48 bits; what float32 leaves comes by way of a column it does not read."""
    spare, column = ("Highest()", "highest") if "OpenInterest" in text else ("OpenInterest()", "open_interest")
    bounds = sessions(times)
    first = FactorEngine(FactorSet("s", {"f": parse(text)}), PRICE_TICK, MULTIPLIER, bounds).batch(times, values)[:, 0]
    carrier = values.copy()
    carrier[COLUMN_INDEX[column]] = first * (PRICE_TICK if column == "highest" else 1.0)
    fine = FactorSet("s", {"f": parse(f"Mul(Sub({text}, {spare}), {FINE})")})
    rest = FactorEngine(fine, PRICE_TICK, MULTIPLIER, bounds).batch(times, carrier)[:, 0]
    return first.astype(np.float64) + rest.astype(np.float64) / FINE


def sessions(times: np.ndarray) -> list[tuple[int, int]]:
    """Two sessions with a break between them, a little shorter than the ticks on either end."""
    n = len(times)
    return [(int(times[3]), int(times[n // 2])), (int(times[n // 2 + 9]), int(times[-4]))]


def day(make_ticks: Callable, gaps: float) -> tuple[np.ndarray, np.ndarray]:
    times, values = make_ticks(600, 3, gaps)
    last = values[COLUMN_INDEX["last_price"]]
    values[COLUMN_INDEX["highest"]], values[COLUMN_INDEX["lowest"]] = np.maximum.accumulate(last), last - 20
    return times, values


def before(x: np.ndarray) -> np.ndarray:
    return np.concatenate([[np.nan], x[:-1]])


class Book:
    """The columns of a day in the language's units."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def raw(self, name: str) -> np.ndarray:
        return self.values[COLUMN_INDEX[name]]

    def price(self, side: str, level: int) -> np.ndarray:
        return self.raw(f"{side}_price{level}") / PRICE_TICK

    def lots(self, side: str, level: int) -> np.ndarray:
        return np.where(np.isnan(self.price(side, level)), np.nan, self.raw(f"{side}_volume{level}"))

    @property
    def mid(self) -> np.ndarray:
        return (self.price("bid", 1) + self.price("ask", 1)) / 2

    @property
    def spread(self) -> np.ndarray:
        return self.price("ask", 1) - self.price("bid", 1)

    def depth(self, side: str, levels: int) -> np.ndarray:
        return sum(self.lots(side, k) for k in range(1, levels + 1))

    def away(self, side: str, level: int) -> np.ndarray:
        return np.abs(self.price(side, level) - self.mid)

    def flow(self, side: str, level: int) -> np.ndarray:
        p, q = self.price(side, level), self.lots(side, level)
        p0, q0 = before(p), before(q)
        if side == "ask":
            p, p0 = -p, -p0
        return np.where(np.isnan(p + p0), np.nan, np.where(p >= p0, q, 0) - np.where(p <= p0, q0, 0))

    def ofi(self, level: int) -> np.ndarray:
        return self.flow("bid", level) - self.flow("ask", level)


def source_definitions(times: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Each source as its docstring says it."""
    b = Book(values)
    bid, ask, spread, mid = b.lots("bid", 1), b.lots("ask", 1), b.spread, b.mid
    micro = (b.price("bid", 1) * ask + b.price("ask", 1) * bid) / (bid + ask)
    lots, volume = np.diff(b.raw("volume"), prepend=np.nan), b.raw("volume")
    turnover = b.raw("amount") / MULTIPLIER / PRICE_TICK
    paid, middle = np.diff(turnover, prepend=np.nan), (mid + before(mid)) / 2
    with np.errstate(all="ignore"):
        offset = np.where(lots == 0, 0 * middle, (paid - lots * middle) / lots)
        half = (spread + before(spread)) / 4
        signed = lots * np.clip(offset / half, -1, 1)
    cumulated = {side: [b.depth(side, k) for k in range(1, 5)] for side in ("bid", "ask")}
    away = {side: [b.away(side, k) for k in range(1, 5)] for side in ("bid", "ask")}
    seconds = (times - times[0]) / SECOND
    (a1, z1), (a2, z2) = sessions(times)
    open_for = np.clip(times - a1, 0, z1 - a1) + np.clip(times - a2, 0, z2 - a2)
    first, second = (times >= a1) & (times < z1), (times >= a2) & (times < z2)
    pairs = zip([0.0, *cumulated["ask"][:-1]], cumulated["ask"], strict=True)
    area = sum((nearer + now) / 2 for nearer, now in pairs)
    return {
        "BidPrice(2)": b.price("bid", 2),
        "AskPrice(3)": b.price("ask", 3),
        "BidVolume(4)": b.lots("bid", 4),
        "AskVolume(3)": b.lots("ask", 3),
        "LastPrice()": b.raw("last_price") / PRICE_TICK,
        "Highest()": b.raw("highest") / PRICE_TICK,
        "Lowest()": b.raw("lowest") / PRICE_TICK,
        "DayVolume()": volume,
        "DayTurnover()": turnover,
        "OpenInterest()": b.raw("open_interest"),
        "Mid()": mid,
        "Spread()": spread,
        "Microprice()": micro,
        "MicropriceOffset()": micro - mid,
        "MidReturn(4)": pd.Series(mid).diff(4).to_numpy(),
        "Imbalance(2)": (b.lots("bid", 2) - b.lots("ask", 2)) / (b.lots("bid", 2) + b.lots("ask", 2)),
        "Depth('ask', 3)": b.depth("ask", 3),
        "CumImbalance(4)": (b.depth("bid", 4) - b.depth("ask", 4)) / (b.depth("bid", 4) + b.depth("ask", 4)),
        "DepthCentre('bid', 4)": sum(b.lots("bid", k) * b.away("bid", k) for k in range(1, 5)) / b.depth("bid", 4),
        "BookSlope('ask', 4)": sum(d * q for d, q in zip(away["ask"], cumulated["ask"], strict=True))
        / sum(d * d for d in away["ask"]),
        "BookConvexity('ask', 4)": 1 - 2 * area / (4 * cumulated["ask"][3]),
        "BookWidth('bid', 4)": b.price("bid", 1) - b.price("bid", 4),
        "Ofi(2)": b.ofi(2),
        "MultiOfi(3)": b.ofi(1) + b.ofi(2) + b.ofi(3),
        "SideFlow('bid', 1)": b.flow("bid", 1),
        "SideFlow('ask', 2)": b.flow("ask", 2),
        "VolumeDelta()": lots,
        "TurnoverDelta()": paid,
        "OpenInterestChange()": np.diff(b.raw("open_interest"), prepend=np.nan),
        "VwapOffset()": offset,
        "VwapDeviation()": mid - turnover / volume,
        "SignedVolume()": signed,
        "TradeSign()": np.sign(signed),
        "DaySeconds()": seconds,
        "TickInterval()": np.diff(seconds, prepend=np.nan),
        "SessionTime()": open_for / (z1 - a1 + z2 - a2),
        "SessionAge()": np.where(first, times - a1, np.where(second, times - a2, np.nan)) / SECOND,
        "SessionLeft()": np.where(first, z1 - times, np.where(second, z2 - times, np.nan)) / SECOND,
    }


@pytest.mark.parametrize("gaps", [0.0, 0.05])
def test_sources(make_ticks: Callable, gaps: float) -> None:
    times, values = day(make_ticks, gaps)
    turnover = np.nanmax(values[COLUMN_INDEX["amount"]]) / MULTIPLIER / PRICE_TICK
    for text, want in source_definitions(times, values).items():
        got = engine_values(text, times, values)
        assert (np.isnan(got) == np.isnan(want)).all(), text
        assert np.isfinite(want).sum() > 200, text
        # what is made of a difference of turnovers is as exact as these are
        from_turnover = text.startswith(("Vwap", "Turnover", "Signed"))
        exact = 1e-15 * turnover if from_turnover else 1e-9
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=exact, err_msg=text)


def ticks_of(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ticks whose BidVolume(1) is x and BidVolume(2) is y, half a second apart."""
    values = np.full((len(VALUE_COLUMNS), len(x)), np.nan)
    for level, column in ((1, x), (2, y)):
        values[COLUMN_INDEX[f"bid_price{level}"]], values[COLUMN_INDEX[f"bid_volume{level}"]] = 10.0, column
    return 1_700_000_000 * SECOND + np.arange(len(x)) * (SECOND // 2), values


def one_by_one(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """Operators that remember, told tick by tick as their docstrings do."""
    nan, keep = np.nan, 1 - 2 / 8
    names = ("Held", "RunLength", "Since", "DecaySince", "Decay", "AtChange")
    out: dict[str, list[float]] = {name: [] for name in names}
    held, since, decayed, at_change, run, previous, y_before = nan, nan, 0.0, nan, 0, nan, nan
    fading = 0.0
    for now, other in zip(x, y, strict=True):
        known, event = np.isfinite(now), np.isfinite(now) and now != 0
        held = now if event else held
        since = 0.0 if event else since + 1
        fading = 1.0 if event else fading * keep
        decayed = decayed * keep + (now if known else 0.0)
        if known:
            run = run + 1 if now == previous else 1
        previous = now
        if np.isfinite(other):
            if other != y_before:  # the first known one counts as new
                at_change = now
            y_before = other
        out["Held"].append(held)
        out["Since"].append(since)
        out["DecaySince"].append(fading)
        out["Decay"].append(decayed if known else nan)
        out["RunLength"].append(float(run) if known else nan)
        out["AtChange"].append(at_change if np.isfinite(other) else nan)
    return out


@pytest.mark.parametrize("seed", range(3))
def test_what_remembers_on_random_values_with_holes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 500
    x = rng.choice([-2.5, 0.0, 0.0, 0.0, 1.25, 3.0], n)
    y = np.cumsum(rng.choice([0.0, 0.0, 1.0, -1.0], n)) + 5
    x[rng.random(n) < 0.05], y[rng.random(n) < 0.05] = np.nan, np.nan
    times, values = ticks_of(x, y)
    texts = {
        "Held": "Held(X)", "RunLength": "RunLength(X)", "Since": "Since(X)", "DecaySince": "DecaySince(X, 7)",
        "Decay": "Decay(X, 7)", "AtChange": "AtChange(X, Y)",
    }  # fmt: skip
    for name, want in one_by_one(x, y).items():
        text = texts[name].replace("X", "BidVolume(1)").replace("Y", "BidVolume(2)")
        np.testing.assert_allclose(engine_values(text, times, values), want, rtol=1e-9, atol=1e-12, err_msg=text)


@pytest.mark.parametrize(("lag", "window"), [(1, 5), (3, 30)])
def test_autocorrelation(lag: int, window: int) -> None:
    rng = np.random.default_rng(lag)
    x = rng.normal(size=400)
    x[rng.random(400) < 0.01] = np.nan
    x[200:260] = 4.0
    times, values = ticks_of(x, x)
    want = np.full(400, np.nan)
    for t in range(window + lag - 1, 400):
        a, b = x[t - window + 1 : t + 1], x[t - window - lag + 1 : t - lag + 1]
        if np.isfinite(a).all() and np.isfinite(b).all():
            da, db = a - a.mean(), b - b.mean()
            spread = np.sqrt((da**2).sum() * (db**2).sum())
            want[t] = (da * db).sum() / spread if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
    got = engine_values(f"AutoCorr(BidVolume(1), {lag}, {window})", times, values)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    assert np.isfinite(want).sum() > 100


def test_every_name_of_the_language_has_an_oracle() -> None:
    """A source or an operator without a plain definition fails here, not in use."""
    files = [*Path(__file__).parent.glob("test_*against_numpy.py"), Path(__file__).with_name("test_operators.py")]
    written = "".join(path.read_text("utf-8") for path in files)
    assert [name for name in NAMES if f"{name}(" not in written] == []
