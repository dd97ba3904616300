"""Calls the compiled simulation from Python: random keys, one variety-day's path, one contract-day's tape.

Every function here is pure: equal arguments give equal arrays, in any order and on any thread. What a tape's offsets
mean in CNY, and which days exist, is decided in `tick_history`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date

import numpy as np

from ghtrader_base.errors import FailedError
from ghtrader_exchange.world import order_book_kernel
from ghtrader_exchange.world.order_book_kernel import Book, Tape
from ghtrader_exchange.world.realistic import day_playing
from ghtrader_exchange.world.realistic.day_playing import RealisticPath
from ghtrader_exchange.world.realistic.market_fit import RealisticWorld
from ghtrader_exchange.world.worlds import World

ENGINE_VERSION = 1
"""Raise it with every change of what is printed: tapes cached by another version are made anew."""
MAX_TRADES_PER_SECOND = 4.0


@dataclass(frozen=True)
class DayPath:
    """The efficient price of one variety-day, from its opening price, and the hidden driver behind it.

    driver: float64[n], after each snapshot's step. code: int8[n] and age: int32[n], the sign that the block's orders
    spell and the snapshots since it began (0 in worlds without blocks). jump_time: float64[m], engine seconds.
    jump_ticks: int32[m].
    """

    driver: np.ndarray
    code: np.ndarray
    age: np.ndarray
    jump_time: np.ndarray
    jump_ticks: np.ndarray

    @property
    def net(self) -> int:
        """Ticks from the day's opening price to its last."""
        return int(self.jump_ticks.sum())

    @property
    def reach(self) -> int:
        """Largest distance from the opening price, in ticks."""
        return int(np.abs(np.cumsum(self.jump_ticks)).max(initial=0))

    def truth(self) -> dict[str, np.ndarray]:
        """The arrays that an oracle needs, under the names of the truth files: code and age where there are blocks."""
        blocks = {"code": self.code, "age": self.age} if self.code.any() else {}
        return {"x": self.driver, **blocks}


def random_key(*parts: object) -> np.uint64:
    """A 64-bit key from names, numbers and days, the same on every machine."""
    text = "|".join(map(str, parts)).encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def keyed_gaussian(*parts: object) -> float:
    """A standard normal number that belongs to a key."""
    state = np.zeros(1, order_book_kernel.STATE)
    return float(order_book_kernel.draw_gaussian(state, random_key(*parts)))


def draw_path(
    world: World | RealisticWorld, seed: int, variety: str, day: date, snapshots: int, base_ticks: int = 0
) -> DayPath | RealisticPath:
    """The path of one variety-day, keyed by world, seed, variety and day alone.

    Parameters
    ----------
    base_ticks : int, the price in ticks before the first day; the realistic world moves by as much of a price as its
        recording did, at 0 by as many ticks.

    Raises
    ------
    FailedError
        The price would leave the book's grid (thousands of ticks in a day).
    """
    key = random_key(world.name, seed, variety, day)
    if isinstance(world, RealisticWorld):
        return day_playing.draw_path(world, key, snapshots, base_ticks)
    state = np.zeros(1, order_book_kernel.STATE)
    path = DayPath(*order_book_kernel.draw_path(state, key, world.path, snapshots))
    if path.reach > order_book_kernel.CENTRE - order_book_kernel.MARGIN:
        raise FailedError(f"{variety} moves by {path.reach} ticks on {day}: too far for the book", "lower the strength")
    return path


def render(
    world: World | RealisticWorld,
    seed: int,
    contract: str,
    day: date,
    path: DayPath | RealisticPath,
    session_rows: np.ndarray,
    activity: float,
    opening_interest: int,
    closing_interest: int,
) -> Tape:
    """Play one contract-day through a book.

    Parameters
    ----------
    path : DayPath of the contract's variety and day, shared by all its contracts.
    session_rows : int64[s], first snapshot of each session.
    activity : float, 0.02 to 1. opening_interest, closing_interest : lots.

    Returns
    -------
    Tape
        Prices as offsets in ticks from the day's opening efficient price.
    """
    key = random_key(world.name, seed, contract, day)
    if isinstance(world, RealisticWorld):
        assert isinstance(path, RealisticPath)
        return day_playing.render(world, key, path, activity, opening_interest, closing_interest)
    assert isinstance(path, DayPath)
    arrays = order_book_kernel.play_day(
        empty_book(path.driver.size),
        key,
        world.flow,
        activity,
        np.tanh(path.driver),
        path.code,
        path.jump_time,
        path.jump_ticks,
        session_rows,
        opening_interest,
        closing_interest,
    )
    return Tape(*arrays)


def empty_book(snapshots: int) -> Book:
    """A book without orders, with room for the trades of a day of that many snapshots."""
    levels = np.zeros((2, order_book_kernel.GRID), order_book_kernel.LEVEL)
    levels["head"] = levels["tail"] = -1
    state = np.zeros(1, order_book_kernel.STATE)
    state["best_ask"] = order_book_kernel.GRID - 1
    room = int(snapshots * order_book_kernel.STEP_SECONDS * MAX_TRADES_PER_SECOND) + 1000
    return Book(
        np.zeros(order_book_kernel.MAX_ORDERS, order_book_kernel.ORDER),
        levels,
        np.arange(order_book_kernel.MAX_ORDERS, dtype=np.int32),
        state,
        np.zeros(room, order_book_kernel.TRADE),
    )
