"""Computes the best possible prediction: exact chances of the next price move, given the hidden truth.

For evaluation alone.

Only files written by `History.write_truth` are read, which nothing sends over the wire.
"""

from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path

import numpy as np

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_exchange.world.realistic.market_fit import RealisticWorld
from ghtrader_exchange.world.realistic.move_chances import MoveChances, mean_over_horizon
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.worlds import PathParameters, World

STEP_SECONDS = 0.5
GRID_LIMIT = 5.0
GRID_POINTS = 101
LARGEST_HORIZON = 5000


def move_distribution(path: PathParameters, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(net move of the efficient price over `horizon` snapshots | driver now), for a grid of driver values.

    The net move's characteristic function is carried back from the horizon: each step multiplies by the compound
    Poisson factor at the driver's next value and averages over the driver's Gaussian transition.

    Returns
    -------
    driver : float64[g], the grid, symmetric about 0
    ticks : int64[k], moves
    chance : float64[g, k], rows sum to 1
    """
    driver = np.linspace(-GRID_LIMIT, GRID_LIMIT, GRID_POINTS)
    persistence = 1.0 - 1.0 / path.driver_memory
    spread = np.sqrt(1.0 - persistence**2)
    transition = np.exp(-0.5 * ((driver[None, :] - persistence * driver[:, None]) / spread) ** 2)
    transition /= transition.sum(axis=1, keepdims=True)

    size = _circle(path, horizon)
    step = _step_transform(path, np.tanh(driver), size)
    transformed = np.ones_like(step)
    for _ in range(horizon):
        # The transition is real: it acts on real and imaginary parts side by side.
        transformed = (transition @ (step * transformed).view(np.float64)).view(np.complex128)
    return driver, *_moves(transformed, size)


def block_distribution(path: PathParameters, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """P(net move over `horizon` snapshots | sign of the block before, sign the present block spells, its age).

    The rest of the present block drifts with the sign of the block before, the next block with the sign that the
    present one spells, and of every later block nothing is known: a mixture of both signs.

    Returns
    -------
    ticks : int64[k], moves
    chance : float64[2, 2, block, k], rows sum to 1; sign -1 is index 0, sign 1 is index 1
    """
    size = _circle(path, horizon)
    step = _step_transform(path, np.array([-1.0, 1.0]), size)
    age = np.arange(path.block)
    rest = np.minimum(horizon, path.block - 1 - age)
    following = np.minimum(horizon - rest, path.block)
    beyond = horizon - rest - following
    unknown = np.ones((path.block, step.shape[1]), np.complex128)
    while (taken := np.minimum(beyond, path.block)).any():
        unknown *= 0.5 * (step[0] ** taken[:, None] + step[1] ** taken[:, None])
        beyond = beyond - taken
    before = step[:, None, None, :] ** rest[None, None, :, None]
    spelt = step[None, :, None, :] ** following[None, None, :, None]
    return _moves(before * spelt * unknown, size)


def _circle(path: PathParameters, horizon: int) -> int:
    """Points of the circle that moves are counted on, a power of two.

    Moves beyond half of it would wrap round: room for twelve standard deviations and for a steady drift.
    """
    jumps = path.jump_rate * STEP_SECONDS * horizon
    widths, shares = _jump_widths(path)
    reach = 12.0 * np.sqrt(jumps * (shares @ widths**2)) + jumps * path.skew * (shares @ widths) + 16.0
    return 1 << int(np.ceil(np.log2(2.0 * reach)))


def _jump_widths(path: PathParameters) -> tuple[np.ndarray, np.ndarray]:
    shares = np.array([1.0 - path.two_ticks - path.three_ticks, path.two_ticks, path.three_ticks])
    return np.array([1.0, 2.0, 3.0]), shares


def _step_transform(path: PathParameters, tilt: np.ndarray, size: int) -> np.ndarray:
    """Characteristic function of one snapshot's move at each tilt of the jump sign: complex128[g, size // 2 + 1]."""
    angle = 2.0 * np.pi * np.arange(size // 2 + 1) / size
    up = 0.5 * (1.0 + path.skew * tilt)[:, None]
    jump = sum(
        share * (up * np.exp(1j * angle * width) + (1.0 - up) * np.exp(-1j * angle * width))
        for width, share in zip(*_jump_widths(path), strict=True)
    )
    function: np.ndarray = np.exp(path.jump_rate * STEP_SECONDS * (jump - 1.0))
    return function


def _moves(transformed: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Moves int64[size] and their chances float64[..., size], from characteristic functions."""
    chance = np.fft.irfft(np.conj(transformed), n=size, axis=-1)
    ticks = np.fft.fftshift(np.fft.fftfreq(size, 1.0 / size)).astype(np.int64)
    return ticks, np.fft.fftshift(chance, axes=-1)


def class_table(path: PathParameters, horizon: int, threshold_ticks: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Driver grid float64[g] and the chances float64[g, 3] of DOWN, FLAT, UP moves of at least `threshold_ticks`."""
    driver, ticks, chance = move_distribution(path, horizon)
    return driver, _classes(ticks, chance, threshold_ticks)


def block_table(path: PathParameters, horizon: int, threshold_ticks: int = 1) -> np.ndarray:
    """Chances float64[2, 2, block, 3] of DOWN, FLAT, UP moves; axes as in `block_distribution`."""
    return _classes(*block_distribution(path, horizon), threshold_ticks)


def _classes(ticks: np.ndarray, chance: np.ndarray, threshold_ticks: int) -> np.ndarray:
    down = chance[..., ticks <= -threshold_ticks].sum(axis=-1)
    up = chance[..., ticks >= threshold_ticks].sum(axis=-1)
    return np.stack([down, 1.0 - down - up, up], axis=-1)


class _DriverTruth:
    """Worlds with an AR(1) driver, or none: chances by its value."""

    columns = ("x",)

    def __init__(self, world: World) -> None:
        self._path = world.path
        self._tables: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def chances(self, truth: dict[str, np.ndarray], rows: np.ndarray, horizon: int, threshold_ticks: int) -> np.ndarray:
        from scipy.interpolate import CubicSpline

        key = horizon, threshold_ticks
        if key not in self._tables:
            self._tables[key] = class_table(self._path, horizon, threshold_ticks)
        grid, table = self._tables[key]
        chances = np.clip(CubicSpline(grid, table)(np.clip(truth["x"][rows], grid[0], grid[-1])), 1e-12, 1.0)
        scaled: np.ndarray = chances / chances.sum(axis=1, keepdims=True)
        return scaled


class _BlockTruth:
    """Worlds with blocks: chances by the signs of two blocks and the age of the present one."""

    columns = ("x", "code", "age")

    def __init__(self, world: World) -> None:
        self._path = world.path
        self._tables: dict[tuple[int, int], np.ndarray] = {}

    def chances(self, truth: dict[str, np.ndarray], rows: np.ndarray, horizon: int, threshold_ticks: int) -> np.ndarray:
        key = horizon, threshold_ticks
        if key not in self._tables:
            self._tables[key] = block_table(self._path, horizon, threshold_ticks)
        signs = ((truth[name][rows] > 0).astype(np.int64) for name in ("x", "code"))
        chances: np.ndarray = self._tables[key][(*signs, truth["age"][rows])]
        return chances


class _RealisticTruth:
    """The world fitted to a recorded day: chances by driver, regime and the time of day."""

    columns = ("x", "regime", "mean_move")

    def __init__(self, world: RealisticWorld) -> None:
        self._parameters = world
        self._tables: dict[tuple[int, int, float, float], MoveChances] = {}

    def chances(self, truth: dict[str, np.ndarray], rows: np.ndarray, horizon: int, threshold_ticks: int) -> np.ndarray:
        levels = truth["mean_move"]
        key = horizon, threshold_ticks, float(levels.min()), float(levels.max())
        if key not in self._tables:
            self._tables[key] = MoveChances(self._parameters, levels, horizon, threshold_ticks)
        mean_move = mean_over_horizon(levels, horizon)
        return self._tables[key].at(truth["x"][rows], truth["regime"][rows], mean_move[rows])


class Oracle:
    """The best possible predictor of one scenario.

    Parameters
    ----------
    truth_dir : Path
        As `History.write_truth` wrote it.

    Raises
    ------
    ConfigError
        The folder's scenario.toml cannot be read.
    """

    def __init__(self, truth_dir: Path) -> None:
        self._dir = Path(truth_dir)
        self.scenario = Scenario.from_toml(self._dir / "scenario.toml")
        world = self.scenario.parameters
        self._world: _DriverTruth | _BlockTruth | _RealisticTruth
        if isinstance(world, RealisticWorld):
            self._world = _RealisticTruth(world)
        else:
            self._world = _BlockTruth(world) if world.path.block > 0 else _DriverTruth(world)

    def probabilities(
        self, variety: str, day: date, datetime_ns: np.ndarray, horizon: int, threshold_ticks: int = 1
    ) -> np.ndarray:
        """Chances of DOWN, FLAT, UP: the mid moves by at least `threshold_ticks` over the next `horizon` ticks.

        They speak of the next `horizon` snapshots whether or not the day still has so many.

        Parameters
        ----------
        datetime_ns : int64[n]
            UTC epoch ns of ticks of that day, in any order.

        Returns
        -------
        float64[n, 3]

        Raises
        ------
        UsageError
            No truth for that variety and day, or a horizon or threshold below 1.
        IntegrityError
            The truth file is garbled, or a time is not that of a tick.
        """
        if not 1 <= horizon <= LARGEST_HORIZON or threshold_ticks < 1:
            raise UsageError(
                f"no oracle for horizon {horizon} and threshold {threshold_ticks}",
                f"horizon 1 to {LARGEST_HORIZON} ticks, threshold from 1 price tick",
            )
        truth = self._truth(variety, day)
        times = truth["datetime_ns"]
        wanted = np.asarray(datetime_ns, np.int64)
        rows = np.minimum(np.searchsorted(times, wanted), times.size - 1)
        if not np.array_equal(times[rows], wanted):
            raise IntegrityError(
                f"ticks of {variety} on {day} are not those the exchange printed", "compare the scenario with the data"
            )
        return self._world.chances(truth, rows, horizon, threshold_ticks)

    def _truth(self, variety: str, day: date) -> dict[str, np.ndarray]:
        path = self._dir / variety / f"{day}.npz"
        if not path.is_file():
            raise UsageError(f"no truth about {variety} on {day} in {self._dir}", "was that day part of the scenario?")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in ("datetime_ns", *self._world.columns)}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{path} is garbled: {error}", "start the exchange again to rewrite it") from error
