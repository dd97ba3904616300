"""Makes days of recorded books at random by seed, as sources deliver them at their worst, with what is held before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_market.accounting.carried_position import CarriedPosition
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from tests.support.runtime_kit import session_times, synthetic_values

CONTRACTS = (
    ("SHFE.cu2502", date(2025, 1, 8), 70_000.0), ("SHFE.au2502", date(2025, 1, 8), 780.0),
    ("INE.sc2503", date(2025, 1, 8), 560.0), ("CFFEX.IF2101", date(2021, 1, 4), 5_000.0),
    ("CFFEX.T2503", date(2025, 1, 8), 108.0), ("DCE.m2105", date(2021, 1, 5), 3_200.0),
    ("CZCE.SR505", date(2025, 1, 8), 6_000.0), ("GFEX.si2505", date(2025, 1, 8), 11_000.0),
)  # fmt: skip
_BEST = [COLUMN_INDEX[f"{side}_price1"] for side in ("bid", "ask")]
PRICES = [COLUMN_INDEX[f"{side}_price{level}"] for side in ("bid", "ask") for level in range(1, 6)]
VOLUMES = [COLUMN_INDEX[f"{side}_volume{level}"] for side in ("bid", "ask") for level in range(1, 6)]
_DBL_MAX = 1.7976931348623157e308


class Trouble(PlainStrEnum):
    """What is wrong with a day."""

    NO_PRICE = "no price"
    """Absent, zero, negative, DBL_MAX, infinite, ten times too high."""
    NO_VOLUME = "no volume"
    """Displayed lots likewise."""
    BESIDE_GRID = "beside the grid"
    """Averages between two price ticks, and what floats leave."""
    SESSION_END = "session end"
    """Snapshots stamped with the end of a session, and a moment later."""
    LAST_PRICE = "last price"
    """Contradicts the book on every row, as a column that means something else."""
    ONE_TIME = "one time"
    """Rows of one moment, as of a source that stamps to the second."""


@dataclass(frozen=True, kw_only=True)
class RandomDay:
    """A day's rows, int64[n] and float64[27, n], what is held before, and how orders are sent."""

    contract: str
    day: date
    price_tick: float
    times: np.ndarray
    values: np.ndarray
    held: CarriedPosition | None
    model: ExecutionModel
    lots: int

    @property
    def bid(self) -> np.ndarray:
        """Best bids."""
        return np.ascontiguousarray(self.values[_BEST[0]])

    @property
    def ask(self) -> np.ndarray:
        """Best asks."""
        return np.ascontiguousarray(self.values[_BEST[1]])


def random_day(seed: int, troubles: tuple[Trouble, ...] = tuple(Trouble)) -> RandomDay:
    """A stretch of a day, 100 to 300 rows of thin books that jump, with the troubles given."""
    rng = np.random.default_rng(seed)
    contract, day, price = CONTRACTS[seed % len(CONTRACTS)]
    tick, n = variety_of(contract).price_tick(contract, day), int(rng.integers(100, 300))
    price = round(price / tick) * tick
    values = synthetic_values(n, seed, price=price, tick=tick)
    values[PRICES] = values[PRICES] + tick * rng.integers(-3, 4, n) * (rng.random(n) < 0.1)
    values[:7], values[PRICES] = np.round(values[:7], 6), np.round(values[PRICES], 6)
    values[VOLUMES] = rng.integers(0, 6, (len(VOLUMES), n))

    def some(share: float) -> np.ndarray:
        return rng.random(n) < share

    if Trouble.BESIDE_GRID in troubles:
        for column in PRICES:
            values[column, some(0.05)] += tick / 2
            values[column, some(0.05)] += tick * float(rng.choice([1e-9, 1e-7, 0.01, 0.25]))
    if Trouble.NO_PRICE in troubles:
        for bad in (np.nan, 0.0, -1.0, _DBL_MAX, np.inf):
            for column in PRICES:
                values[column, some(0.01)] = bad
            values[COLUMN_INDEX["last_price"], some(0.03)] = bad
        for column in _BEST:
            with np.errstate(over="ignore"):
                values[column, some(0.02)] *= float(rng.choice([0.1, 3.0, 10.0]))
    if Trouble.NO_VOLUME in troubles:
        for bad in (np.nan, -3.0, _DBL_MAX, np.inf):
            for column in VOLUMES:
                values[column, some(0.01)] = bad
    if Trouble.LAST_PRICE in troubles and (len(troubles) == 1 or rng.random() < 0.2):
        values[COLUMN_INDEX["last_price"]] = tick
    return RandomDay(
        contract=contract, day=day, price_tick=tick, times=_times(rng, contract, day, n, troubles), values=values,
        held=_held(rng, contract, day, round(price + tick * int(rng.integers(-5, 6)), 6)),
        model=ExecutionModel(
            latency_ms=float(rng.choice([0.0, 2.0, 500.0, 700.0, 3_000.0])), slip_ticks=int(rng.integers(0, 3)),
            max_order=int(rng.choice([1, 2, 5, 10])),
        ),
        lots=int(rng.choice([1, 3, 10])),
    )  # fmt: skip


def _times(rng: np.random.Generator, contract: str, day: date, n: int, troubles: tuple[Trouble, ...]) -> np.ndarray:
    every = session_times(contract, day, 10**6)
    first = int(rng.integers(0, len(every) - n))
    if Trouble.SESSION_END in troubles:
        sessions = bundled_calendar().sessions(variety_of(contract), day)
        end = sessions[int(rng.integers(len(sessions)))][1]
        first = max(0, int(np.searchsorted(every, end)) - n // 2)
        every = np.sort(np.concatenate([every[first : first + n - 2], [end, end + 300_000_000]]))
        first = 0
    times: np.ndarray = every[first : first + n].copy()
    if len(times) < n:  # the day's last rows
        times = np.concatenate([session_times(contract, day, 10**6)[-n : -len(times)], times])
    if Trouble.ONE_TIME in troubles:
        for row in np.flatnonzero(rng.random(n) < 0.1)[1:].tolist():
            times[row] = times[row - 1]
    return np.maximum.accumulate(times)


def _held(rng: np.random.Generator, contract: str, day: date, mark: float) -> CarriedPosition | None:
    """Lots of the day before, sometimes with some of today's, as after the night; none in half of the days."""
    if rng.random() < 0.5:
        return None
    lots, side = int(rng.integers(1, 5)), str(rng.choice(["long", "short"]))
    today = int(rng.integers(0, lots + 1)) if rng.random() < 0.3 else 0
    position = Position(**{
        f"{side}_today": today, f"{side}_his": lots - today,
        f"{side}_today_cost": today * mark, f"{side}_his_cost": (lots - today) * mark,
    })  # fmt: skip
    return CarriedPosition(contract=contract, day=day, position=position, mark=mark)
