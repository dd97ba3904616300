"""The price-time-priority book and its random numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_exchange.world import day_simulation, order_book_kernel
from ghtrader_exchange.world.order_book_kernel import ASK, BID, BUY, CENTRE, SELL

MASK = (1 << 64) - 1


def sizes_at(made: order_book_kernel.Book, side: int, price: int) -> list[int]:
    """The queue at a price, first in line first."""
    level, sizes = made.levels[side, price], []
    index = int(level["head"]) if level["count"] else -1
    while index >= 0:
        sizes.append(int(made.orders[index]["size"]))
        index = int(made.orders[index]["next"])
    assert len(sizes) == level["count"] and sum(sizes) == level["quantity"]
    return sizes


def state_of(made: order_book_kernel.Book) -> np.ndarray:
    return made.state[0]


def test_the_generator_is_xoshiro256plusplus_seeded_by_splitmix64() -> None:
    key = 0x0123456789ABCDEF
    words, z = [], key
    for _ in range(4):
        z = (z + 0x9E3779B97F4A7C15) & MASK
        y = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        y = ((y ^ (y >> 27)) * 0x94D049BB133111EB) & MASK
        words.append(y ^ (y >> 31))

    def rotate(x: int, k: int) -> int:
        return ((x << k) | (x >> (64 - k))) & MASK

    state = np.zeros(1, order_book_kernel.STATE)
    order_book_kernel.seed(state[0], np.uint64(key))
    for _ in range(200):
        result = (rotate((words[0] + words[3]) & MASK, 23) + words[0]) & MASK
        shifted = (words[1] << 17) & MASK
        words[2] ^= words[0]
        words[3] ^= words[1]
        words[1] ^= words[2]
        words[0] ^= words[3]
        words[2] ^= shifted
        words[3] = rotate(words[3], 45)
        assert order_book_kernel.uniform(state[0]) == ((result >> 11) + 0.5) / 2**53


def test_a_market_order_serves_the_queue_in_the_order_of_arrival() -> None:
    made = day_simulation.empty_book(10)
    for size in (3, 1, 5):
        order_book_kernel.add_order(made, ASK, CENTRE + 1, size)
    order_book_kernel.market_order(made, BUY, 4, 0.3)
    assert sizes_at(made, ASK, CENTRE + 1) == [5]
    order_book_kernel.market_order(made, BUY, 2, 0.3)
    assert sizes_at(made, ASK, CENTRE + 1) == [3]
    assert state_of(made)["volume"] == 6 and state_of(made)["turnover"] == 6 * (CENTRE + 1)
    assert [tuple(t) for t in made.trades[:2]] == [(0, CENTRE + 1, 4, BUY), (0, CENTRE + 1, 2, BUY)]


def test_the_best_price_moves_to_the_next_queue() -> None:
    made = day_simulation.empty_book(10)
    for price in (CENTRE, CENTRE - 1, CENTRE - 4):
        order_book_kernel.add_order(made, BID, price, 2)
    order_book_kernel.market_order(made, SELL, 2, 0.3)
    assert state_of(made)["best_bid"] == CENTRE - 1
    order_book_kernel.clear_level(made, BID, CENTRE - 1)
    assert state_of(made)["best_bid"] == CENTRE - 4
    order_book_kernel.clear_book(made)
    assert state_of(made)["live"] == 0 and not made.levels["count"].any() and not made.levels["quantity"].any()


@given(st.lists(st.tuples(st.sampled_from("ac"), st.integers(0, 1), st.integers(0, 4), st.integers(1, 9)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_mix_of_orders_and_cancels_keeps_the_queues_whole(moves: list[tuple[str, int, int, int]]) -> None:
    made = day_simulation.empty_book(10)
    queues: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for what, side, distance, size in moves:
        price = CENTRE - distance if side == BID else CENTRE + 1 + distance
        queue = queues.setdefault((side, price), [])
        if what == "a":
            index = int(made.live[state_of(made)["live"]])
            order_book_kernel.add_order(made, side, price, size)
            queue.append((index, size))
        elif queue:
            index, _ = queue.pop(size % len(queue))
            order_book_kernel.remove_order(made, index)
    for (side, price), queue in queues.items():
        assert sizes_at(made, side, price) == [size for _, size in queue]
    live = made.live[: state_of(made)["live"]]
    assert sorted(live) == sorted(index for queue in queues.values() for index, _ in queue)
    assert all(made.orders[index]["slot"] == slot for slot, index in enumerate(live))
    bids = [price for (side, price), queue in queues.items() if side == BID and queue]
    asks = [price for (side, price), queue in queues.items() if side == ASK and queue]
    assert state_of(made)["best_bid"] == max(bids, default=0)
    assert state_of(made)["best_ask"] == min(asks, default=order_book_kernel.GRID - 1)
