"""Computes what can be known of the fitted world's future: chances of the mid's net move, and its exact expectation.

For evaluation alone. Who knows the hidden driver and the regime knows all that any model could learn.

`expected_moves` is exact. `class_table` is exact while the time of day does not change how far the mid moves; across
the edge of two parts of the day (there are sixteen) it takes the mean over the horizon for both.
"""

from __future__ import annotations

import math

import numpy as np

from ghtrader_exchange.world.realistic.market_fit import DRIVER_MEMORY, MoveLaw, RealisticWorld

GRID_LIMIT = 4.6
GRID_POINTS = 47
"""Driver values: a step is 1.1 standard deviations of the driver's own step, where sums are as good as integrals."""
LEVELS = 5
FINE_LEVELS, FINE_GRID = 41, 231


def size_chances(moves: MoveLaw, mean: np.ndarray, largest: int) -> np.ndarray:
    """P(size = 0, 1 ... largest half ticks) of moves with each mean: float64[..., largest + 1].

    A gamma variable g rounded at random is j with chance E max(0, 1 - |g - j|), a second difference of E max(0, g - j).
    """
    from scipy.special import gammaincc

    whole = np.asarray(mean, np.float64)[..., None] / (1.0 - moves.zero_chance)
    at = np.arange(largest + 2.0)
    edge = moves.shape * at / whole
    beyond = whole * gammaincc(moves.shape + 1, edge) - at * gammaincc(moves.shape, edge)
    chance = np.empty((*whole.shape[:-1], largest + 1))
    chance[..., 0] = 1.0 - beyond[..., 0] + beyond[..., 1]
    chance[..., 1:] = beyond[..., :-2] - 2.0 * beyond[..., 1:-1] + beyond[..., 2:]
    chance *= 1.0 - moves.zero_chance
    chance[..., 0] += moves.zero_chance
    return chance


def regime_factors(moves: MoveLaw) -> np.ndarray:
    """What the mean move is multiplied by in each regime, float64[2**k]; bit k is set while component k is high."""
    made = np.ones(1)
    for up, down in zip(moves.up, moves.down, strict=True):
        made = np.concatenate([made * down, made * up])
    return made


def driver_grid() -> tuple[np.ndarray, np.ndarray]:
    """Driver values float64[g], symmetric about 0, and the chances of each at the next snapshot float64[g, g]."""
    driver = np.linspace(-GRID_LIMIT, GRID_LIMIT, GRID_POINTS)
    persistence = 1.0 - 1.0 / DRIVER_MEMORY
    transition = np.exp(-0.5 * (driver[None, :] - persistence * driver[:, None]) ** 2 / (1.0 - persistence**2))
    return driver, transition / transition.sum(axis=1, keepdims=True)


def class_table(world: RealisticWorld, mean_move: float, horizon: int, threshold_ticks: int) -> np.ndarray:
    """Chances of DOWN, FLAT, UP: the mid moves by at least `threshold_ticks` over the next `horizon` snapshots.

    The net move's characteristic function is carried back from the horizon: each step multiplies by that of one
    snapshot at the next driver and regime, and averages over both.

    Returns
    -------
    float64[2**k, g, 3], by regime and by the driver of `driver_grid`.
    """
    moves, of_regime = _moving_parts(world.fit.moves)
    driver, transition = driver_grid()
    means = mean_move * regime_factors(moves)
    points = _circle(moves, mean_move, horizon)
    sizes = size_chances(moves, means, points // 2)
    angle = 2.0 * np.pi * np.arange(points // 2 + 1) / points
    phase = np.exp(1j * angle[:, None] * np.arange(sizes.shape[1]))
    turned = sizes @ phase.T
    tilt = world.skew * np.tanh(driver)
    step = turned.real[:, None, :] + 1j * tilt[None, :, None] * turned.imag[:, None, :]
    transformed = np.ones_like(step)
    for _ in range(horizon):
        after = (step * transformed).view(np.float64)
        after = (transition @ after).view(np.complex128)
        for k, (renewal, high_chance) in enumerate(zip(moves.renewal, moves.high_chance, strict=True)):
            pairs = after.reshape(-1, 2, 1 << k, *after.shape[1:])
            drawn = (1.0 - high_chance) * pairs[:, :1] + high_chance * pairs[:, 1:]
            after = ((1.0 - renewal) * pairs + renewal * drawn).reshape(after.shape)
        transformed = after
    chance = np.fft.irfft(np.conj(transformed), n=points, axis=-1)
    net = np.fft.fftfreq(points, 1.0 / points)
    down = chance[..., net <= -2 * threshold_ticks].sum(axis=-1)
    up = chance[..., net >= 2 * threshold_ticks].sum(axis=-1)
    table: np.ndarray = np.stack([down, 1.0 - down - up, up], axis=-1)[of_regime]
    return table


def _moving_parts(moves: MoveLaw) -> tuple[MoveLaw, np.ndarray]:
    """The law with those components alone that move the mid, and where each regime is found among its regimes."""
    kept = [k for k, (up, down) in enumerate(zip(moves.up, moves.down, strict=True)) if up != down]
    chosen = (tuple(values[k] for k in kept) for values in (moves.renewal, moves.high_chance, moves.up, moves.down))
    regimes = np.arange(1 << len(moves.renewal))
    index = np.zeros(regimes.size, np.int64)
    for place, k in enumerate(kept):
        index |= (regimes >> k & 1) << place
    return MoveLaw(moves.shape, moves.zero_chance, *chosen), index


def _circle(moves: MoveLaw, mean_move: float, horizon: int) -> int:
    """Points of the circle that net moves are counted on, a power of two: room for nearly every move, both ways."""
    largest = mean_move * math.prod(moves.up) / (1.0 - moves.zero_chance)
    # Regimes that outlast the horizon may all be high; the others meet their mean.
    factor = 1.0
    for renewal, high_chance, up, down in zip(*moves[2:], strict=True):
        factor *= up if renewal * horizon < 1.0 else math.sqrt(high_chance * up**2 + (1.0 - high_chance) * down**2)
    square = (mean_move * factor) ** 2 * (1.0 + 1.0 / moves.shape) / (1.0 - moves.zero_chance)
    reach = 5.0 * np.sqrt(horizon * square) + largest * (1.0 + 6.0 / np.sqrt(moves.shape)) + 8.0
    return 1 << int(np.ceil(np.log2(2.0 * reach)))


class MoveChances:
    """Chances of DOWN, FLAT, UP for one horizon and threshold, at any driver, regime and mean move.

    Parameters
    ----------
    world : RealisticWorld
    mean_move : float64[n], the mean moves that will be asked for: the table spans them.
    horizon : int, snapshots. threshold_ticks : int.
    """

    def __init__(self, world: RealisticWorld, mean_move: np.ndarray, horizon: int, threshold_ticks: int) -> None:
        from scipy.interpolate import CubicSpline, RegularGridInterpolator

        low, high = np.log(mean_move.min()) - 0.01, np.log(mean_move.max()) + 0.01
        levels = np.linspace(low, high, LEVELS)
        tables = [class_table(world, float(np.exp(level)), horizon, threshold_ticks) for level in levels]
        driver, _ = driver_grid()
        fine_levels, fine = np.linspace(low, high, FINE_LEVELS), np.linspace(driver[0], driver[-1], FINE_GRID)
        dense = CubicSpline(driver, CubicSpline(levels, np.stack(tables))(fine_levels), axis=2)(fine)
        self._reach = driver[-1]
        self._regimes = [RegularGridInterpolator((fine_levels, fine), dense[:, r]) for r in range(dense.shape[1])]

    def at(self, driver: np.ndarray, regime: np.ndarray, mean_move: np.ndarray) -> np.ndarray:
        """Chances float64[n, 3]."""
        where = np.column_stack([np.log(mean_move), np.clip(driver, -self._reach, self._reach)])
        chances = np.empty((driver.size, 3))
        for bits, table in enumerate(self._regimes):
            rows = regime == bits
            if rows.any():
                chances[rows] = table(where[rows])
        chances = np.clip(chances, 1e-12, 1.0)
        scaled: np.ndarray = chances / chances.sum(axis=1, keepdims=True)
        return scaled


def mean_over_horizon(mean_move: np.ndarray, horizon: int) -> np.ndarray:
    """Mean of the following `horizon` values at each row, float64[n]; beyond the day's end the last one goes on."""
    padded = np.concatenate([mean_move[1:], np.full(horizon, mean_move[-1])])
    total = np.concatenate([[0.0], np.cumsum(padded)])
    mean: np.ndarray = (total[horizon:][: mean_move.size] - total[: mean_move.size]) / horizon
    return mean


def expected_moves(
    world: RealisticWorld, driver: np.ndarray, regime: np.ndarray, mean_move: np.ndarray, horizon: int
) -> np.ndarray:
    """The exact expectation of the mid's net move over the next `horizon` snapshots, given driver and regime now.

    It is the edge of a trader who knows the truth. Size and sign of a move are independent, and so are the components.

    Parameters
    ----------
    driver, regime, mean_move : one day's, as the truth holds them, arrays of n rows.

    Returns
    -------
    float64[n], ticks; as if the day's last mean move went on beyond its end.
    """
    from scipy.interpolate import CubicSpline

    grid, transition = driver_grid()
    inside = np.clip(driver, grid[0], grid[-1])
    tilt = np.tanh(grid)
    moves = world.fit.moves
    beyond = [
        np.where(regime >> k & 1, up, down) - 1.0 for k, (up, down) in enumerate(zip(moves.up, moves.down, strict=True))
    ]
    total = np.zeros(driver.size)
    rows = np.arange(driver.size)
    for ahead in range(1, horizon + 1):
        tilt = transition @ tilt
        mean = mean_move[np.minimum(rows + ahead, driver.size - 1)]
        for now, renewal in zip(beyond, moves.renewal, strict=True):
            mean = mean * (1.0 + now * (1.0 - renewal) ** ahead)
        total += mean * CubicSpline(grid, tilt)(inside)
    return 0.5 * world.skew * total
