"""Inferred trades keep volume and turnover, and are mostly those that the simulated exchange knows to have been."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import ContractDay, History
from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.simulation.book_tape import TapeTrades
from ghtrader_models.simulation.trade_inference import infer_trades

TICK, UNITS = 10.0, 5


def inferred(bid: list, ask: list, last: list, volume: list, turnover: list) -> list[tuple[int, float, int]]:
    arrays = [np.array(column, float) for column in (bid, ask, last)]
    found = infer_trades(*arrays, np.array(volume), np.array(turnover, float), UNITS, TICK)
    row = np.repeat(np.arange(len(bid)), np.diff(found.first))
    return list(zip(row.tolist(), found.price.tolist(), found.lots.tolist(), strict=True))


NO = float("nan")


@pytest.mark.parametrize(
    ("before", "after", "lots", "paid", "expected"),
    [
        ((100, 110), (100, 110), 5, 5 * 110, [(1, 110.0, 5)]),
        ((100, 110), (100, 110), 5, 5 * 100, [(1, 100.0, -5)]),
        ((100, 110), (100, 110), 5, 2 * 100 + 3 * 110, [(1, 100.0, -2), (1, 110.0, 3)]),
        ((100, 130), (100, 130), 3, 100 + 2 * 130, [(1, 100.0, -1), (1, 130.0, 2)]),
        ((100, 110), (120, 130), 4, 110 + 3 * 120, [(1, 110.0, 1), (1, 120.0, 3)]),  # swept: all of them bought
        ((100, 110), (80, 90), 4, 2 * 90 + 2 * 80, [(1, 80.0, -2), (1, 90.0, -2)]),
        ((NO, NO), (100, 110), 2, 2 * 110, [(1, 110.0, 2)]),
        ((NO, NO), (100, 110), 2, 2 * 100, [(1, 100.0, -2)]),
        ((100, 110), (100, 110), 2, 0.0, [(1, 110.0, 2)]),  # no turnover: at the last price
        ((100, 110), (100, 110), -3, 0.0, []),
    ],
)
def test_by_hand(before: tuple, after: tuple, lots: int, paid: float, expected: list) -> None:
    bid, ask = [before[0], after[0]], [before[1], after[1]]
    assert inferred(bid, ask, [110, 110], [7, 7 + lots], [1000, 1000 + paid * UNITS]) == expected


def day_of(world: str) -> ContractDay:
    history = History(Scenario(world=world, snapshot_seconds=0.5, seed=3))
    day = history.days[1]
    return history.day(history.main_contract("cu", day), day)


def of_day(found: ContractDay) -> TapeTrades:
    columns = (found.values[name] for name in ("bid_price1", "ask_price1", "last_price", "volume", "amount"))
    return infer_trades(*columns, get_variety("cu").multiplier, TICK)


@pytest.mark.parametrize("world", ["driver", "none"])
def test_against_what_the_simulated_exchange_knows(world: str) -> None:
    found = day_of(world)
    trades, truth, rows = of_day(found), found.trades, found.datetime_ns.size
    row = np.repeat(np.arange(rows), np.diff(trades.first))
    volume = np.diff(found.values["volume"], prepend=found.values["volume"][0])
    assert np.array_equal(np.bincount(row, np.abs(trades.lots), rows), volume)
    paid = np.bincount(row, np.abs(trades.lots) * trades.price * 5, rows)
    turnover = np.diff(found.values["amount"], prepend=found.values["amount"][0])
    apart = np.abs(paid - turnover) / 5 / TICK  # in lots that moved by a price tick
    assert np.mean(apart < 0.01) > 0.97
    known = truth.row > 0  # nobody knows what was traded before the first row
    signed = np.where(truth.side == 0, truth.volume, -truth.volume)
    true = added_up(truth.row[known], truth.price[known], signed[known])
    ours = added_up(row, trades.price, trades.lots)
    right = sum(min(lots, true.get(key, 0)) for key, lots in ours.items()) / volume.sum()
    sides = (truth.row[known], signed[known]), (row, trades.lots)
    bought = [np.bincount(at, np.maximum(lots, 0), rows) for at, lots in sides]
    right_side = 1 - np.abs(bought[0] - bought[1]).sum() / volume.sum()
    assert right_side > 0.96 and right > 0.93, (right_side, right)


def added_up(row: np.ndarray, price: np.ndarray, lots: np.ndarray) -> Counter[tuple[int, int, int]]:
    """Lots by row, price in ticks and side."""
    out: Counter[tuple[int, int, int]] = Counter()
    columns = (row, np.rint(price / TICK).astype(int), np.sign(lots), np.abs(lots))
    for at, ticks, side, volume in zip(*(column.tolist() for column in columns), strict=True):
        out[at, ticks, side] += volume
    return out
