"""Fits a market to one recorded day: method of moments, then a few played days that correct what it differences.

Shares, means and the session's shape are counted. The volatility components come from the autocorrelations of the
moves' sizes and of the volume, in closed form; the shapes of both distributions from their zeros and second moments.
What rounding to ticks and lots takes from an autocorrelation is found by playing days and aiming higher.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from ghtrader_base.errors import BadRecordingError
from ghtrader_exchange.world.realistic.day_playing import draw_path, render, snapshots_of
from ghtrader_exchange.world.realistic.market_fit import (
    DEPTH_MARK,
    DRIVER_MEMORY,
    MAX_SHAPE,
    MEAN_MOVES,
    MEAN_VOLUMES,
    MarketFit,
    RealisticWorld,
    factors,
)
from ghtrader_exchange.world.realistic.statistics import (
    LAGS,
    LONG_LAGS,
    MarketStatistics,
    SnapshotDay,
    average,
    measure,
    season,
)

SEASON_PARTS = 16
RENEWAL = (0.6, 0.15, 0.02, 0.003)
"""Chances a snapshot that a component is drawn anew: half a second, some seconds, half a minute, three minutes."""
HIGH_CHANCES = ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.15, 0.3), (0.5, 0.3, 0.1, 0.3))
"""Chances tried for the components to be high: the rarer, the heavier the tails at the same clustering."""
LARGEST_AMPLITUDE = 0.97
"""Part of the amplitude at which a component that is low would multiply by 0."""
LEAST_AMPLITUDE = 0.02
SHAPES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, MAX_SHAPE)
ZERO_CHANCES = 31
LATENT_PERSISTENCE = (0.4, 0.8, 0.97)
TRIAL_ROUNDS, ROUNDS = 2, 4
PLAYED_DAYS = 5
FIRST_SEED, SHOWN_SEED = 1001, 2001
"""First seeds of the days that a fit is chosen by, and of those that it is shown by."""
ROUNDING = 0.15
"""What rounding at random adds to a mean square, about."""
LARGEST_SPREAD, LARGEST_DEPTH = 200, 500
LEAST_ROWS = 2000
LEAST_VARIANCE, LEAST_MEAN = 1e-6, 1e-12
"""Divided by where all sizes of a day are the same, or a part of it has none."""
_SHORT = tuple(lag for lag in LAGS if lag not in LONG_LAGS)


@dataclass(frozen=True, kw_only=True)
class _Targets:
    """Autocorrelations that the closed forms are asked for; they start at the recorded ones."""

    move: np.ndarray
    volume: np.ndarray
    spread: np.ndarray
    depth: np.ndarray
    cross: float
    zero_moves: float
    zero_volume: float
    move_square: float
    volume_square: float


def fit_market(
    recorded: SnapshotDay, source: str, day: date, tick_share: float, progress: Callable[[str], None] = lambda _: None
) -> MarketFit:
    """Fit a market to a day's snapshots inside its sessions.

    Parameters
    ----------
    recorded : SnapshotDay
    source : str, the contract. day : date, its trading day. tick_share : float, price tick over mean mid.
    progress : callable, told in a sentence what goes on.

    Raises
    ------
    BadRecordingError
        The day is too short, or hardly anything moves or trades on it, or more than a market may that is played.
    """
    rows = recorded.bid.size
    if rows < LEAST_ROWS:
        raise BadRecordingError(
            f"{source} on {day} has {rows} snapshots inside its sessions", f"give a day with at least {LEAST_ROWS}"
        )
    if (recorded.spread < 1).any():
        raise BadRecordingError(f"{source} on {day} has crossed or locked quotes", "give a day of continuous trading")
    real = measure(recorded)
    low = real.mean_move < MEAN_MOVES[0] or real.mean_volume < MEAN_VOLUMES[0]
    if low or real.unchanged >= 0.999:
        raise BadRecordingError(f"{source} hardly moves or trades on {day}", "give a day of a liquid contract")
    if real.mean_move > MEAN_MOVES[1] or real.mean_volume > MEAN_VOLUMES[1]:
        raise BadRecordingError(
            f"{source} on {day}: {real.mean_move:.0f} half ticks of move and {real.mean_volume:.0f} lots a snapshot",
            f"such a market is not played (at most {MEAN_MOVES[1]:.0f} and {MEAN_VOLUMES[1]:.0f}); check the symbol",
        )
    size, traded = np.abs(recorded.moves).astype(np.float64), recorded.traded.astype(np.float64)
    targets = _Targets(
        move=np.array(real.move_autocorrelation),
        volume=np.array(real.volume_autocorrelation),
        spread=np.array(real.spread_autocorrelation),
        depth=np.array(real.depth_autocorrelation),
        cross=float(np.mean(size * traded) / (size.mean() * traded.mean()) - 1.0),
        zero_moves=max(real.unchanged, 1e-3),
        zero_volume=max(real.no_volume, 1e-3),
        move_square=real.deviation**2,
        volume_square=float(np.mean(traded**2)),
    )
    recording = _Recording(recorded, real, source, day, tick_share)
    tried = []
    for high_chance in HIGH_CHANCES:
        found = _correct(recording, targets, high_chance, TRIAL_ROUNDS)
        progress(f"components high with chances {high_chance}: largest difference {found.miss:.0%}")
        tried.append(found)
    best = min(tried, key=lambda one: one.miss)
    best = min(best, _correct(recording, best.targets, best.fit.high_chance, ROUNDS), key=lambda one: one.miss)
    # The days that chose the fit flatter it; it is shown by others.
    played = play_statistics(best.fit, rows, PLAYED_DAYS, SHOWN_SEED)
    progress(f"on days it was not chosen by: largest difference {_largest_difference(real, played):.0%}")
    return replace(best.fit, played=played)


@dataclass(frozen=True)
class _Recording:
    """What is fitted to."""

    snapshots: SnapshotDay
    statistics: MarketStatistics
    source: str
    day: date
    tick_share: float


@dataclass(frozen=True)
class _Tried:
    """A fit, the targets it was made from, and the largest relative difference of its statistics."""

    fit: MarketFit
    targets: _Targets
    miss: float


def _correct(recording: _Recording, targets: _Targets, high_chance: tuple[float, ...], rounds: int) -> _Tried:
    """The best of some rounds of fitting, playing and aiming anew."""
    real = recording.statistics
    best: _Tried | None = None
    for _ in range(rounds):
        made = _from_targets(recording, targets, high_chance)
        played = play_statistics(made, recording.snapshots.bid.size, PLAYED_DAYS)
        found = _Tried(replace(made, played=played), targets, _largest_difference(real, played))
        best = found if best is None or found.miss < best.miss else best
        targets = _corrected(targets, real, played)
    assert best is not None
    return best


def play_statistics(fit: MarketFit, rows: int, days: int, first_seed: int = FIRST_SEED) -> MarketStatistics:
    """The mean statistics of some days of `rows` snapshots, played without a signal."""
    world = RealisticWorld(fit, 0.0)
    return average([measure(play(world, seed, rows)) for seed in range(first_seed, first_seed + days)])


def play(world: RealisticWorld, seed: int, rows: int) -> SnapshotDay:
    """One day of the recorded contract's own ticks, keyed by a seed alone."""
    path = draw_path(world, np.uint64(2 * seed), rows, 0)
    return snapshots_of(render(world, np.uint64(2 * seed + 1), path, 1.0, 0, 0))


def _from_targets(recording: _Recording, targets: _Targets, high_chance: tuple[float, ...]) -> MarketFit:
    recorded, real = recording.snapshots, recording.statistics
    size, traded, spread = np.abs(recorded.moves), recorded.traded, recorded.spread
    move_season, volume_season = season(size, SEASON_PARTS), season(traded, SEASON_PARTS)
    move_amplitude, volume_amplitude = _amplitudes(
        real, targets, np.array(move_season), np.array(volume_season), high_chance
    )
    shapes = [
        _shape(*_levels(mean, parts, high_chance, amplitude), zeros, square)
        for mean, parts, amplitude, zeros, square in (
            (real.mean_move, move_season, move_amplitude, targets.zero_moves, targets.move_square),
            (real.mean_volume, volume_season, volume_amplitude, targets.zero_volume, targets.volume_square),
        )
    ]
    (move_shape, move_zero_chance), (volume_shape, volume_zero_chance) = shapes
    depth = np.clip(np.concatenate([recorded.bid_volume, recorded.ask_volume]), 1, LARGEST_DEPTH)
    lots, counts = np.unique(depth, return_counts=True)
    spreads = np.bincount(np.clip(spread, 1, LARGEST_SPREAD))[1:]
    return MarketFit(
        source=recording.source,
        day=recording.day,
        tick_share=_short_number(recording.tick_share),
        mean_move=_short_number(real.mean_move),
        move_shape=move_shape,
        move_zero_chance=_short_number(move_zero_chance),
        mean_volume=_short_number(real.mean_volume),
        volume_shape=volume_shape,
        volume_zero_chance=_short_number(volume_zero_chance),
        renewal=RENEWAL,
        high_chance=high_chance,
        move_amplitude=_short_numbers(move_amplitude),
        volume_amplitude=_short_numbers(volume_amplitude),
        move_season=_short_numbers(np.maximum(move_season, 0.01)),
        volume_season=_short_numbers(np.maximum(volume_season, 0.01)),
        spread_share=_short_numbers(spreads / spread.size),
        spread_weight=_short_numbers(_weights(targets.spread, LATENT_PERSISTENCE, _SHORT)),
        spread_persistence=LATENT_PERSISTENCE,
        depth_lots=tuple(int(n) for n in lots),
        depth_share=_short_numbers(counts / depth.size),
        depth_weight=_short_numbers(_weights(_without_mark(targets.depth), LATENT_PERSISTENCE, _SHORT)),
        depth_persistence=LATENT_PERSISTENCE,
        recorded=real,
        played=real,
    )


def _amplitudes(
    real: MarketStatistics,
    targets: _Targets,
    move_season: np.ndarray,
    volume_season: np.ndarray,
    high_chance: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Swings of moves and of volume, float64[k] each.

    With independent components the mean of level(t) level(t + lag) over the squared mean level is the season's second
    moment times the product of 1 + amplitude^2 (1 - renewal)^lag; for moves and volume of one snapshot it is the same
    with the product of both amplitudes.
    """
    from scipy.optimize import least_squares

    lags, keep = np.array(LAGS), 1.0 - np.array(RENEWAL)
    fading = keep[None, :] ** lags[:, None]
    relative = [
        (targets.move, (real.deviation / real.mean_move) ** 2 - 1.0, move_season),
        (targets.volume, (real.volume_deviation / real.mean_volume) ** 2, volume_season),
    ]

    def differences(amplitudes: np.ndarray) -> np.ndarray:
        found = []
        for (aim, variance, shape), amplitude in zip(relative, np.split(amplitudes, 2), strict=True):
            wanted = aim * variance
            got = np.mean(shape**2) * np.prod(1.0 + amplitude**2 * fading, axis=1) - 1.0
            found.append((got - wanted) / np.maximum(np.abs(wanted) + 0.01 * variance, LEAST_VARIANCE))
        moves, volumes = np.split(amplitudes, 2)
        cross = np.mean(move_season * volume_season) * np.prod(1.0 + moves * volumes) - 1.0
        found.append(np.array([(cross - targets.cross) / (abs(targets.cross) + 0.05)]))
        return np.concatenate(found)

    largest = np.tile(LARGEST_AMPLITUDE * np.sqrt(1.0 / np.array(high_chance) - 1.0), 2)
    amplitudes = least_squares(differences, np.full(2 * len(RENEWAL), 0.4), bounds=(0.0, largest)).x
    moves, volumes = np.split(np.where(amplitudes < LEAST_AMPLITUDE, 0.0, amplitudes), 2)
    return moves, volumes


def _levels(
    mean: float, parts: Sequence[float], high_chance: Sequence[float], amplitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every mean that the season and the components make, and the share of each: float64[parts * 2**k] twice."""
    levels, shares = mean * np.array(parts), np.full(len(parts), 1.0 / len(parts))
    for up, down, chance in zip(*factors(high_chance, amplitude.tolist()), high_chance, strict=True):
        levels = np.concatenate([levels * up, levels * down])
        shares = np.concatenate([shares * chance, shares * (1.0 - chance)])
    return levels, shares


def _shape(levels: np.ndarray, shares: np.ndarray, zeros: float, square: float) -> tuple[int, float]:
    """Shape and extra chance of 0 whose sizes, over all `levels`, have that share of zeros and that mean square."""
    zero_chance = np.linspace(0.0, 0.9 * zeros, ZERO_CHANCES)
    mean = levels / (1.0 - zero_chance[:, None])
    best = (np.inf, 1, 0.0)
    for shape in SHAPES:
        empty = zero_chance + (1.0 - zero_chance) * (_rounded_to_zero(mean, shape) @ shares)
        second = (1.0 - zero_chance) * (mean**2 @ shares) * (1.0 + 1.0 / shape) + ROUNDING
        miss = np.abs(empty / zeros - 1.0) + np.abs(second / square - 1.0)
        at = int(np.argmin(miss))
        if miss[at] < best[0]:
            best = float(miss[at]), shape, float(zero_chance[at])
    return best[1], best[2]


def _rounded_to_zero(mean: np.ndarray, shape: int) -> np.ndarray:
    """P(a gamma variable of that mean, rounded at random, is 0) = E max(0, 1 - gamma)."""
    from scipy.special import gammainc

    edge = shape / np.maximum(mean, LEAST_MEAN)
    chance: np.ndarray = gammainc(shape, edge) - mean * gammainc(shape + 1, edge)
    return chance


def _weights(aim: np.ndarray, persistence: Sequence[float], lags: Sequence[int]) -> np.ndarray:
    """Shares of the variance of AR(1) parts whose sum has these autocorrelations, none below 0, at most 1 in all."""
    from scipy.optimize import nnls

    fading = np.array(persistence)[None, :] ** np.array(lags)[:, None]
    scale = 1.0 / (np.abs(aim) + 0.02)
    weights: np.ndarray = nnls(fading * scale[:, None], aim * scale)[0]
    return weights / max(1.0, float(weights.sum()) / 0.999)


def _without_mark(aim: np.ndarray) -> np.ndarray:
    """Autocorrelations of depth less what the driver's mark brings along."""
    mark = DEPTH_MARK**2
    fading = (1.0 - 1.0 / DRIVER_MEMORY) ** np.array(_SHORT)
    left: np.ndarray = np.maximum(aim - mark * fading, 0.0) / (1.0 - mark)
    return left


def _corrected(targets: _Targets, real: MarketStatistics, played: MarketStatistics) -> _Targets:
    """Aims moved by most of what the played days miss."""

    def moved(aim: np.ndarray, wanted: Sequence[float], got: Sequence[float]) -> np.ndarray:
        better: np.ndarray = np.clip(aim + 0.7 * (np.array(wanted) - np.array(got)), 0.0, 0.98)
        return better

    def scaled(aim: float, wanted: float, got: float) -> float:
        return aim * math.sqrt(min(max(wanted / max(got, 1e-9), 0.5), 2.0))

    second = real.volume_deviation**2 + real.mean_volume**2
    played_second = played.volume_deviation**2 + played.mean_volume**2
    return _Targets(
        move=moved(targets.move, real.move_autocorrelation, played.move_autocorrelation),
        volume=moved(targets.volume, real.volume_autocorrelation, played.volume_autocorrelation),
        spread=moved(targets.spread, real.spread_autocorrelation, played.spread_autocorrelation),
        depth=moved(targets.depth, real.depth_autocorrelation, played.depth_autocorrelation),
        cross=scaled(targets.cross, max(real.move_with_volume, 0.02), max(played.move_with_volume, 0.02)),
        zero_moves=min(scaled(targets.zero_moves, max(real.unchanged, 1e-3), played.unchanged), 0.999),
        zero_volume=min(scaled(targets.zero_volume, max(real.no_volume, 1e-3), played.no_volume), 0.999),
        move_square=scaled(targets.move_square, real.deviation**2, played.deviation**2),
        volume_square=scaled(targets.volume_square, second, played_second),
    )


def _largest_difference(real: MarketStatistics, played: MarketStatistics) -> float:
    pairs = zip(real.lines().values(), played.lines().values(), strict=True)
    return max(abs(got / wanted - 1.0) for wanted, got in pairs if abs(wanted) > 1e-9)


def _short_number(value: float) -> float:
    return float(f"{value:.6g}")


def _short_numbers(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(_short_number(float(v)) for v in values)
