"""Measures a day of snapshots: the statistics by which a played market is held against a recorded one.

One list for both: `fitting` aims at them, the table of `exchange fit` shows them, the tests judge by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ghtrader_base.errors import ConfigError

LAGS = (1, 2, 5, 10, 20, 50, 100)
"""Snapshots between the two sides of an autocorrelation."""
BINS = 8
"""Equal parts of the day whose means show the session's shape."""
SPREADS = 4
"""Spreads of 1, 2, 3 ticks are counted apart, then 4 and more together."""
DEPTHS = (1, 2, 3, 5, 10)
"""Lots: the share of first levels with at most so many."""
LONG_LAGS = (50, 100)


class SnapshotDay(NamedTuple):
    """A day of snapshots as the statistics need it.

    bid, ask : int64[n], best prices in ticks. bid_volume, ask_volume : int64[n], lots on them.
    volume : int64[n], lots, cumulative over the day.
    """

    bid: np.ndarray
    ask: np.ndarray
    bid_volume: np.ndarray
    ask_volume: np.ndarray
    volume: np.ndarray

    @property
    def moves(self) -> np.ndarray:
        """Half ticks by which the mid moves from each snapshot to the next, int64[n - 1]."""
        return np.diff(self.bid + self.ask)

    @property
    def traded(self) -> np.ndarray:
        """Lots from each snapshot to the next, int64[n - 1]."""
        return np.diff(self.volume)

    @property
    def spread(self) -> np.ndarray:
        """Ticks, int64[n]."""
        spread: np.ndarray = self.ask - self.bid
        return spread


@dataclass(frozen=True, kw_only=True)
class MarketStatistics:
    """What a day looks like from one snapshot to the next.

    Attributes
    ----------
    unchanged : float
        Share of snapshots in which the mid stands still.
    half_ticks : float
        Share of snapshots whose mid lies between two ticks.
    mean_move, deviation : float
        Mean and root mean square of the mid's moves, half ticks.
    kurtosis : float
        Fourth moment of the moves over the squared second: 3 for a normal distribution.
    large_moves : float
        Share of moves of at least four times the mean.
    kurtosis_20 : float
        The same kurtosis of moves over 20 snapshots.
    move_autocorrelation, volume_autocorrelation, spread_autocorrelation, depth_autocorrelation : tuple of float
        Autocorrelation at `LAGS` of the size of moves, of the volume, of the spread, of the logarithm of the first
        levels' lots; the last two without the `LONG_LAGS`, where next to nothing is left.
    move_with_volume : float
        Correlation of the size of a snapshot's move with its volume.
    spread : tuple of float
        Share of snapshots with a spread of 1, 2, 3 ticks, and of more.
    mean_spread : float
        Ticks.
    depth : tuple of float
        Share of first levels with at most `DEPTHS` lots.
    mean_depth : float
        Lots on a first level.
    mean_volume, volume_deviation : float
        Lots a snapshot.
    no_volume : float
        Share of snapshots without a trade.
    move_season, volume_season : tuple of float
        Mean of each of `BINS` equal parts of the day over the mean of the day.
    """

    unchanged: float
    half_ticks: float
    mean_move: float
    deviation: float
    kurtosis: float
    large_moves: float
    kurtosis_20: float
    move_autocorrelation: tuple[float, ...]
    volume_autocorrelation: tuple[float, ...]
    move_with_volume: float
    spread: tuple[float, ...]
    mean_spread: float
    spread_autocorrelation: tuple[float, ...]
    depth: tuple[float, ...]
    mean_depth: float
    depth_autocorrelation: tuple[float, ...]
    mean_volume: float
    volume_deviation: float
    no_volume: float
    move_season: tuple[float, ...]
    volume_season: tuple[float, ...]

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> MarketStatistics:
        """Read them back from the values of a TOML table; ConfigError where a field is missing or no number."""
        try:
            values = {f.name: table[f.name] for f in fields(cls)}
            made = {n: tuple(map(float, v)) if isinstance(v, list | tuple) else float(v) for n, v in values.items()}
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(f"scenario: [fit]: the statistics are garbled: {error}", "fit it anew") from error
        return cls(**made)  # type: ignore[arg-type]  # each has the type its table gives it

    def lines(self) -> dict[str, float]:
        """Every single figure under a name of its own, in the order a person reads them."""
        found: dict[str, float] = {}
        for name, value in asdict(self).items():
            if isinstance(value, tuple):
                found |= {f"{name} {mark}": v for mark, v in zip(_marks(name), value, strict=True)}
            else:
                found[name] = value
        return found


def _marks(name: str) -> Sequence[str]:
    if name in ("spread_autocorrelation", "depth_autocorrelation"):
        return [f"lag {lag}" for lag in LAGS if lag not in LONG_LAGS]
    if name.endswith("_autocorrelation"):
        return [f"lag {lag}" for lag in LAGS]
    if name.endswith("_season"):
        return [f"part {k + 1} of {BINS}" for k in range(BINS)]
    if name == "spread":
        return [*(str(k + 1) for k in range(SPREADS - 1)), f"{SPREADS} or more"]
    return [f"up to {lots}" for lots in DEPTHS]


def autocorrelation(values: np.ndarray, lags: Sequence[int]) -> tuple[float, ...]:
    """Autocorrelation of `values`, float64[n], at each lag; 0 where nothing varies or the lag is too long."""
    centred = np.asarray(values, np.float64) - np.mean(values)
    variance = float(centred @ centred)
    if variance <= 0.0:
        return tuple(0.0 for _ in lags)
    return tuple(float(centred[:-lag] @ centred[lag:]) / variance if lag < centred.size else 0.0 for lag in lags)


def season(values: np.ndarray, parts: int) -> tuple[float, ...]:
    """Mean of each of `parts` equal parts of `values` over the mean of all; ones where all are 0."""
    mean = float(np.mean(values))
    if mean <= 0.0:
        return (1.0,) * parts
    split = np.array_split(np.asarray(values, np.float64), parts)
    return tuple(float(part.mean()) / mean if part.size else 0.0 for part in split)


def kurtosis(values: np.ndarray) -> float:
    """Fourth moment about 0 over the squared second; 0 where nothing moves."""
    squares = np.asarray(values, np.float64) ** 2
    second = float(squares.mean()) if squares.size else 0.0
    return float((squares**2).mean()) / second**2 if second > 0.0 else 0.0


def measure(day: SnapshotDay) -> MarketStatistics:
    """The statistics of a day of at least two snapshots."""
    moves, traded, spread = day.moves, day.traded, day.spread
    size = np.abs(moves)
    mid = day.bid + day.ask
    depth = np.concatenate([day.bid_volume, day.ask_volume])
    short = [lag for lag in LAGS if lag not in LONG_LAGS]
    both = [autocorrelation(np.log(side + 1.0), short) for side in (day.bid_volume, day.ask_volume)]
    counts = np.bincount(np.clip(spread, 1, SPREADS), minlength=SPREADS + 1)[1:] / spread.size
    varies = size.std() > 0 and traded.std() > 0
    return MarketStatistics(
        unchanged=float((moves == 0).mean()),
        half_ticks=float((mid % 2 == 1).mean()),
        mean_move=float(size.mean()),
        deviation=float(np.sqrt((size.astype(np.float64) ** 2).mean())),
        kurtosis=kurtosis(moves),
        large_moves=float((size >= 4.0 * size.mean()).mean()) if size.any() else 0.0,
        kurtosis_20=kurtosis(np.diff(mid[::20])),
        move_autocorrelation=autocorrelation(size, LAGS),
        volume_autocorrelation=autocorrelation(traded, LAGS),
        move_with_volume=float(np.corrcoef(size, traded)[0, 1]) if varies else 0.0,
        spread=tuple(counts.tolist()),
        mean_spread=float(spread.mean()),
        spread_autocorrelation=autocorrelation(spread, short),
        depth=tuple(float((depth <= lots).mean()) for lots in DEPTHS),
        mean_depth=float(depth.mean()),
        depth_autocorrelation=tuple(float(np.mean(pair)) for pair in zip(*both, strict=True)),
        mean_volume=float(traded.mean()),
        volume_deviation=float(traded.std()),
        no_volume=float((traded == 0).mean()),
        move_season=season(size, BINS),
        volume_season=season(traded, BINS),
    )


def average(found: Sequence[MarketStatistics]) -> MarketStatistics:
    """The mean of each figure over some days."""
    tables = [asdict(one) for one in found]
    return MarketStatistics.from_dict({n: np.mean([table[n] for table in tables], axis=0).tolist() for n in tables[0]})
