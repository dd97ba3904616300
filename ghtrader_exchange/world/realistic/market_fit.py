"""Defines what a market fitted to a recorded day is: its laws as numbers, where they are from, and its file form.

`fitting` finds the numbers, `snapshot_kernel` plays them, `scenario` carries them. Sizes of moves are half ticks of the
mid a snapshot, volumes lots a snapshot.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from ghtrader_base.errors import ConfigError
from ghtrader_exchange.world.realistic.statistics import MarketStatistics

SKEW = 0.1
"""Skew of the sign of the mid's moves a unit of strength, at the driver's full deflection."""
DRIVER_MEMORY = 60.0
"""Snapshots after which the hidden driver has lost most of its deflection."""
DEPTH_MARK, SIDE_MARK, SIDE_FOLLOW = 0.2, 0.3, 0.4
"""How strongly the driver shows in the first levels and in the side of trades, and how far trades follow the move that
the mid makes in the same snapshot. Not fitted: a recording does not say what drove it."""
LEVEL_PROFILE = (1.0, 1.06, 0.98, 0.88, 0.78)
"""Mean volume of each level over that of the first in the world `driver`. Not fitted: the sample has one level."""
NOT_FITTED = (
    "levels 2 to 5 (the shape of the world driver)",
    "the autocorrelation of returns (0 by construction: with the signal off the mid is a martingale)",
    "the side and the prices of trades within a snapshot",
    "how spread and depth depend on volatility, and depth on the price it stands at",
    "open interest, gaps between days and the opening auction",
)
REALISTIC = "realistic"
"""The name of the world, and of the scenario that `exchange serve` knows by this word."""
PACKAGED = "IF2101_20210104.toml"
"""The fit to the packaged sample of CFFEX.IF2101, made by `ghtrader exchange fit`."""
MAX_SHAPE = 40
MEAN_MOVES, MEAN_VOLUMES = (1e-3, 100.0), (1e-3, 1e6)
"""Ranges of a fit's mean move (half ticks a snapshot) and volume (lots a snapshot)."""


class MoveLaw(NamedTuple):
    """How far the mid moves in a snapshot.

    shape, zero_chance : of the size's distribution (`snapshot_kernel.draw_size`).
    renewal : chance a snapshot that a volatility component is drawn anew. high_chance : chance that it is high then.
    up, down : what the mean size is multiplied by while the component is high, and while it is low.
    """

    shape: int
    zero_chance: float
    renewal: tuple[float, ...]
    high_chance: tuple[float, ...]
    up: tuple[float, ...]
    down: tuple[float, ...]


class VolumeLaw(NamedTuple):
    """How many lots trade in a snapshot; fields as in `MoveLaw`, the components are the same."""

    shape: int
    zero_chance: float
    up: tuple[float, ...]
    down: tuple[float, ...]


class BookLaw(NamedTuple):
    """How spread and depth persist, and how the driver and the mid's moves show in book and trades.

    spread_weight, spread_persistence, depth_weight, depth_persistence : shares of the variance, and autocorrelations
    from one snapshot to the next, of the AR(1) parts of the normal quantity behind spread and depth; the rest is noise.
    depth_mark, side_mark, side_follow : see `DEPTH_MARK`.
    """

    spread_weight: tuple[float, ...]
    spread_persistence: tuple[float, ...]
    depth_weight: tuple[float, ...]
    depth_persistence: tuple[float, ...]
    depth_mark: float
    side_mark: float
    side_follow: float


@dataclass(frozen=True, kw_only=True)
class MarketFit:
    """One recorded day as the numbers that play its like.

    Attributes
    ----------
    source : str
        The recorded contract, ``CFFEX.IF2101``.
    day : date
        Its trading day.
    tick_share : float
        Price tick over mean mid of the recorded day; a variety with dearer ticks moves by fewer of them.
    mean_move, mean_volume : float
        Half ticks and lots a snapshot, over the day.
    move_shape, move_zero_chance, volume_shape, volume_zero_chance, renewal, high_chance
        See `MoveLaw` and `VolumeLaw`.
    move_amplitude, volume_amplitude : tuple of float
        Standard deviation of what each component multiplies by; its mean is 1.
    move_season, volume_season : tuple of float
        Mean of each of equal parts of the day over the mean of the day.
    spread_share : tuple of float
        Share of snapshots with a spread of 1, 2, 3 ... ticks.
    depth_lots, depth_share : tuple
        Lots on the first level, ascending, and the share of each.
    spread_weight, spread_persistence, depth_weight, depth_persistence : tuple of float
        See `BookLaw`.
    recorded, played : MarketStatistics
        Of the recorded day, and the mean of days played with these numbers.
    not_fitted : tuple of str
        What of a played day does not come from the recording.
    """

    source: str
    day: date
    tick_share: float
    mean_move: float
    move_shape: int
    move_zero_chance: float
    mean_volume: float
    volume_shape: int
    volume_zero_chance: float
    renewal: tuple[float, ...]
    high_chance: tuple[float, ...]
    move_amplitude: tuple[float, ...]
    volume_amplitude: tuple[float, ...]
    move_season: tuple[float, ...]
    volume_season: tuple[float, ...]
    spread_share: tuple[float, ...]
    spread_weight: tuple[float, ...]
    spread_persistence: tuple[float, ...]
    depth_lots: tuple[int, ...]
    depth_share: tuple[float, ...]
    depth_weight: tuple[float, ...]
    depth_persistence: tuple[float, ...]
    not_fitted: tuple[str, ...] = NOT_FITTED
    recorded: MarketStatistics
    played: MarketStatistics

    def __post_init__(self) -> None:
        _check(self)

    @property
    def moves(self) -> MoveLaw:
        """How far the mid moves."""
        up, down = factors(self.high_chance, self.move_amplitude)
        return MoveLaw(self.move_shape, self.move_zero_chance, self.renewal, self.high_chance, up, down)

    @property
    def volumes(self) -> VolumeLaw:
        """How many lots trade."""
        return VolumeLaw(self.volume_shape, self.volume_zero_chance, *factors(self.high_chance, self.volume_amplitude))

    @property
    def book(self) -> BookLaw:
        """How spread and depth persist."""
        return BookLaw(
            spread_weight=self.spread_weight,
            spread_persistence=self.spread_persistence,
            depth_weight=self.depth_weight,
            depth_persistence=self.depth_persistence,
            depth_mark=DEPTH_MARK,
            side_mark=SIDE_MARK,
            side_follow=SIDE_FOLLOW,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the names of the fields, for TOML."""
        return {**asdict(self), "day": self.day}


@dataclass(frozen=True)
class RealisticWorld:
    """The world fitted to a recorded day, with the skew of its hidden driver.

    Attributes
    ----------
    fit : MarketFit
    strength : float
        0 turns the signal off; its marks in book and trades stay and tell nothing.
    """

    fit: MarketFit
    strength: float

    @property
    def name(self) -> str:
        """The name that enters the random keys."""
        return REALISTIC

    @property
    def skew(self) -> float:
        """P(up) = (1 + skew * tanh(driver)) / 2."""
        return SKEW * self.strength


def factors(high_chance: Sequence[float], amplitude: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What each component multiplies by while high and while low: of mean 1 and standard deviation `amplitude`."""
    up = tuple(1.0 + s * math.sqrt((1.0 - p) / p) for p, s in zip(high_chance, amplitude, strict=True))
    down = tuple(1.0 - s * math.sqrt(p / (1.0 - p)) for p, s in zip(high_chance, amplitude, strict=True))
    return up, down


def mean_by_time(mean: float, season: tuple[float, ...], rows: int) -> np.ndarray:
    """The mean at each of a day's `rows` snapshots, float64[rows]: the season's parts are equal parts of the day."""
    return mean * np.array(season)[np.arange(rows) * len(season) // rows]


def scaled_spreads(share: tuple[float, ...], scale: float) -> np.ndarray:
    """Shares of the spreads 1, 2, 3 ... ticks where what exceeds a tick is `scale` times as wide, float64[s].

    Fractions of a tick are rounded at random, so that the mean stays; 1 changes nothing.
    """
    excess = np.arange(len(share)) * scale
    below = np.floor(excess).astype(np.int64)
    scaled = np.zeros(int(below[-1]) + 2)
    np.add.at(scaled, below, np.array(share) * (1.0 - (excess - below)))
    np.add.at(scaled, below + 1, np.array(share) * (excess - below))
    return scaled


def cumulative(share: np.ndarray) -> np.ndarray:
    """Cumulative shares, the last of them 1; a share of nothing at all is all on the first entry."""
    total = np.cumsum(share)
    if total[-1] <= 0.0:
        return np.ones(share.size)
    table: np.ndarray = total / total[-1]
    table[-1] = 1.0
    return table


def fit_from_table(table: Mapping[str, Any]) -> MarketFit:
    """A fit from the values of `MarketFit.to_dict`, as TOML gives them back.

    Raises
    ------
    ConfigError
        A field is missing, unknown or no number of its range.
    """
    known = [field.name for field in fields(MarketFit)]
    _require(isinstance(table, Mapping), "it is no table", "write it as [fit]")
    if wrong := sorted(set(table) ^ set(known)):
        _require(False, f"these fields are missing or unknown: {', '.join(wrong)}", "make it with: exchange fit FILE")
    values = {name: _plain(name, value) for name, value in table.items()}
    for name in ("recorded", "played"):
        values[name] = MarketStatistics.from_dict(values[name])
    return MarketFit(**values)


def _plain(name: str, value: Any) -> Any:
    """A value as the fit holds it: tuples for lists, and floats where whole numbers stand for them."""
    if isinstance(value, list):
        return tuple(value if name in ("depth_lots", "not_fitted") else (_plain(name, v) for v in value))
    return float(value) if type(value) is int and not name.endswith("_shape") else value


@cache
def packaged_fit() -> MarketFit:
    """The fit to the packaged recording of CFFEX.IF2101 on 2021-01-04."""
    import tomllib

    text = files("ghtrader_exchange.world.realistic").joinpath(PACKAGED).read_text("utf-8")
    return fit_from_table(tomllib.loads(text)["fit"])


def toml_lines(fit: MarketFit) -> str:
    """The fit as TOML tables ``[fit]``, ``[fit.recorded]`` and ``[fit.played]``."""
    tables: dict[str, dict[str, Any]] = {"fit": fit.to_dict()}
    for name in ("recorded", "played"):
        tables[f"fit.{name}"] = tables["fit"].pop(name)
    return "".join(
        f"\n[{head}]\n" + "".join(f"{name} = {_value(value)}\n" for name, value in table.items())
        for head, table in tables.items()
    )


def _value(value: Any) -> str:
    # Numbers, text and arrays of them are written alike in JSON and TOML; a date is TOML's own type.
    return str(value) if isinstance(value, date) else json.dumps(value, ensure_ascii=False)


def _require(condition: bool, message: str, hint: str) -> None:
    if not condition:
        raise ConfigError(f"scenario: [fit]: {message}", hint)


def _number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def _check(fit: MarketFit) -> None:
    _require(type(fit.source) is str, "source is no text", "name the recorded contract")
    _require(
        isinstance(fit.not_fitted, tuple) and all(type(line) is str for line in fit.not_fitted),
        "not_fitted is no list of texts",
        "fit it anew",
    )
    _require(type(fit.day) is date, f"day = {fit.day!r} is no date", "write it as YYYY-MM-DD, without quotes")
    for name, low, high in (
        ("tick_share", 1e-7, 0.1), ("mean_move", *MEAN_MOVES), ("mean_volume", *MEAN_VOLUMES),
        ("move_zero_chance", 0.0, 0.99), ("volume_zero_chance", 0.0, 0.99),
    ):  # fmt: skip
        _require(_number(getattr(fit, name), low, high), f"{name} is no number from {low} to {high}", "fit it anew")
    for name in ("move_shape", "volume_shape"):
        value = getattr(fit, name)
        _require(type(value) is int and 1 <= value <= MAX_SHAPE, f"{name} is not 1 to {MAX_SHAPE}", "fit it anew")
    for name, low, high in (
        ("renewal", 1e-6, 1.0), ("high_chance", 0.01, 0.99), ("move_amplitude", 0.0, 9.0),
        ("volume_amplitude", 0.0, 9.0), ("move_season", 1e-3, 100.0),
        ("volume_season", 1e-3, 100.0), ("spread_share", 0.0, 1.0), ("spread_weight", 0.0, 1.0),
        ("spread_persistence", 0.0, 1.0), ("depth_share", 0.0, 1.0), ("depth_weight", 0.0, 1.0),
        ("depth_persistence", 0.0, 1.0), ("depth_lots", 1, 10**6),
    ):  # fmt: skip
        value = getattr(fit, name)
        good = isinstance(value, tuple) and 0 < len(value) <= 1000 and all(_number(v, low, high) for v in value)
        _require(good, f"{name} is no list of numbers from {low} to {high}", "fit it anew")
    for names in (
        ("renewal", "high_chance", "move_amplitude", "volume_amplitude"), ("move_season", "volume_season"),
        ("depth_lots", "depth_share"), ("spread_weight", "spread_persistence"), ("depth_weight", "depth_persistence"),
    ):  # fmt: skip
        _require(len({len(getattr(fit, n)) for n in names}) == 1, f"{', '.join(names)} differ in length", "fit it anew")
    whole = all(type(lots) is int for lots in fit.depth_lots)
    _require(whole and list(fit.depth_lots) == sorted(set(fit.depth_lots)), "depth_lots do not ascend", "fit it anew")
    down = (*fit.moves.down, *fit.volumes.down)
    _require(min(down) > 0.0, "a component multiplies by less than 0 while low", "lower its amplitude")
    _require(len(fit.renewal) <= 6, "more than six components", "fit it anew")
    for name in ("spread_weight", "depth_weight"):
        _require(sum(getattr(fit, name)) <= 1.0 + 1e-9, f"{name} adds up to more than 1", "fit it anew")
