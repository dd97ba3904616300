"""Matches client orders against the printed tape: who is filled, at what price, how much. Pure and deterministic.

The tape (five levels, volume, turnover) is history: client orders queue in its book and change nothing of it.

Assumptions of the fill model
-----------------------------
- A crossing order walks the five displayed levels and takes no more than is displayed. What clients took of a level
  stays taken until the tape shows another volume at that price. Past level five there is nothing.
- A resting order joins behind the whole displayed volume at its price. Beyond level five its place is unknown until
  the price is displayed; then all that is displayed is ahead of it. Cancellations happen behind it, except that no
  more can be ahead than is displayed.
- Between two snapshots the printed volume is spread over two prices so that the turnover comes out. Volume printed at
  the order's price first serves what is ahead; volume printed through the price serves the order, never more of
  it than was printed, since the sellers behind those prints would have met the order first.
- When the other side is displayed at or through a resting order's price, the order is filled from what is displayed.
- A resting order is filled at its own limit. Clients are not matched with each other: the better price, then the
  earlier arrival, is served first.
Prices are whole numbers of price ticks throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_exchange.enums import Lifetime, Side

BUY, SELL, GFD, FOK = Side.BUY, Side.SELL, Lifetime.GFD, Lifetime.FOK
"""Bound once: an enum's attribute takes half a microsecond to look up, as long as a step of the matching."""
Levels = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One row of the tape: `bids`, `asks` as (price in ticks, volume), best first, absent levels left out.

    `volume` in lots and `amount` in CNY are cumulative over the trading day. `highest`, `lowest` of the day so far
    are in ticks, None before the first trade.
    """

    datetime_ns: int
    bids: Levels
    asks: Levels
    volume: int
    amount: float
    highest: int | None = None
    lowest: int | None = None


@dataclass(kw_only=True, slots=True)
class BookOrder:
    """A client's limit order in the book; `ahead` is the market volume served before it, None while unknown."""

    order_id: str
    side: Side
    price: int
    left: int
    ahead: int | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """`volume` lots of `order_id` at `price` ticks; `maker` where the order was resting."""

    order_id: str
    price: int
    volume: int
    datetime_ns: int
    maker: bool


def printed_volume(before: Snapshot, after: Snapshot, multiplier: int, price_tick: float) -> dict[int, int]:
    """Volume that traded between two snapshots, by price.

    Parameters
    ----------
    before, after : Snapshot
        Consecutive snapshots of one trading day.
    multiplier : int
        Units a lot.
    price_tick : float
        CNY.

    Returns
    -------
    dict of int to int
        Price in ticks to lots; the lots sum to the difference in volume. The old best bid and ask where the mean
        price lies between them, else the two ticks around the mean price.
    """
    lots = after.volume - before.volume
    if lots <= 0:
        return {}
    mean = (after.amount - before.amount) / (lots * multiplier * price_tick)
    low = int(mean // 1)
    high = low + 1
    if before.bids and before.asks and before.bids[0][0] <= mean <= before.asks[0][0]:
        low, high = before.bids[0][0], before.asks[0][0]
    above = min(lots, max(0, round(lots * (mean - low) / (high - low))))
    return {price: n for price, n in ((low, lots - above), (high, above)) if n}


class ContractBook:
    """The clients' orders of one contract beside its tape.

    Parameters
    ----------
    multiplier : int
        Units a lot.
    price_tick : float
        CNY.
    """

    def __init__(self, multiplier: int, price_tick: float) -> None:
        self.multiplier = multiplier
        self.price_tick = price_tick
        self.snapshot: Snapshot | None = None
        self.orders: dict[str, BookOrder] = {}
        self._taken: dict[tuple[Side, int], tuple[int, int]] = {}

    @property
    def busy(self) -> bool:
        """Whether the next snapshot matters: an order rests here, or clients have taken of what is displayed."""
        return bool(self.orders or self._taken)

    def insert(self, order: BookOrder, lifetime: Lifetime, now_ns: int) -> list[Fill]:
        """A new order arrives; what is left of a GFD order stays in the book, of the others nothing.

        Returns
        -------
        list of Fill
            At once, at displayed prices. Without a book yet a GFD order waits for the day's first snapshot.
        """
        if order.order_id in self.orders:
            raise ValueError(f"order {order.order_id} is in the book already")
        if self.snapshot is None:
            if lifetime is GFD:
                order.waiting = True
                self.orders[order.order_id] = order
            return []
        if lifetime is FOK and sum(n for _, n in self._reachable(order)) < order.left:
            return []
        fills = self._take(order, now_ns)
        if order.left and lifetime is GFD:
            order.ahead = _displayed(self._own_side(order), order)
            self.orders[order.order_id] = order
        return fills

    def cancel(self, order_id: str) -> BookOrder | None:
        """Take an order out; None where it is not in the book."""
        return self.orders.pop(order_id, None)

    def clear(self) -> list[BookOrder]:
        """The trading day is over: every order leaves, and so does the book."""
        left = list(self.orders.values())
        self.orders.clear()
        self._taken.clear()
        self.snapshot = None
        return left

    def advance(self, snapshot: Snapshot) -> list[Fill]:
        """The tape moves on by one snapshot of the same trading day; the fills of resting orders, in priority."""
        before, self.snapshot = self.snapshot, snapshot
        self._taken = {key: taken for key, taken in self._taken.items() if taken[0] == self._shown(*key)}
        if not self.orders:
            return []
        fills: list[Fill] = []
        for order in [order for order in self.orders.values() if order.waiting]:
            order.waiting = False
            fills += self._take(order, snapshot.datetime_ns)
            order.ahead = _displayed(self._own_side(order), order)
        if before is not None:
            prints = printed_volume(before, snapshot, self.multiplier, self.price_tick)
            for side in (BUY, SELL):
                fills += self._serve(side, before, prints)
        for order in self._by_priority():
            fills += self._take(order, snapshot.datetime_ns, at=order.price)
            shown = _displayed(self._own_side(order), order)
            if shown is not None:
                order.ahead = shown if order.ahead is None else min(order.ahead, shown)
        self.orders = {key: order for key, order in self.orders.items() if order.left}
        return fills

    def _serve(self, side: Side, before: Snapshot, prints: dict[int, int]) -> list[Fill]:
        """Prints of one interval serve the resting orders of one side."""
        assert self.snapshot is not None
        sign = 1 if side is BUY else -1
        opposite = before.asks if side is BUY else before.bids
        extreme = _new_extreme(side, before, self.snapshot)
        fills: list[Fill] = []
        used = 0
        for order in self._by_priority(side):
            if opposite and sign * (order.price - opposite[0][0]) >= 0:
                continue  # it stands where the tape's other side stood: prints there were not its counterparts
            at = prints.get(order.price, 0)
            through = sum(n for price, n in prints.items() if sign * (order.price - price) > 0)
            if extreme is not None and sign * (order.price - extreme) > 0:
                through = max(through, 1)  # turnover alone cannot tell, the day's new extreme can
            if through:
                order.ahead = 0
            reach = through + (0 if order.ahead is None else max(0, at - order.ahead)) - used
            if order.ahead is not None:
                order.ahead = max(0, order.ahead - at)
            volume = min(order.left, reach)
            if volume > 0:
                used += volume
                order.left -= volume
                fills.append(Fill(order.order_id, order.price, volume, self.snapshot.datetime_ns, maker=True))
        return fills

    def _take(self, order: BookOrder, now_ns: int, at: int | None = None) -> list[Fill]:
        """Take displayed volume the order reaches, at its prices, or at `at` for an order that was there first."""
        fills = []
        side = SELL if order.side is BUY else BUY
        for price, available in self._reachable(order):
            volume = min(available, order.left)
            if volume <= 0:
                break
            shown, taken = self._taken.get((side, price), (self._shown(side, price), 0))
            self._taken[side, price] = (shown, taken + volume)
            order.left -= volume
            fills.append(Fill(order.order_id, price if at is None else at, volume, now_ns, maker=at is not None))
        return fills

    def _reachable(self, order: BookOrder) -> list[tuple[int, int]]:
        """Displayed levels within the order's limit, less what clients already took of them."""
        assert self.snapshot is not None
        side = SELL if order.side is BUY else BUY
        sign = 1 if order.side is BUY else -1
        found = []
        for price, volume in self.snapshot.asks if order.side is BUY else self.snapshot.bids:
            if sign * (order.price - price) < 0:
                break
            available = volume - self._taken.get((side, price), (0, 0))[1]
            if available > 0:
                found.append((price, available))
        return found

    def _shown(self, side: Side, price: int) -> int:
        assert self.snapshot is not None
        return dict(self.snapshot.bids if side is BUY else self.snapshot.asks).get(price, 0)

    def _own_side(self, order: BookOrder) -> Levels:
        assert self.snapshot is not None
        return self.snapshot.bids if order.side is BUY else self.snapshot.asks

    def _by_priority(self, side: Side | None = None) -> list[BookOrder]:
        """Better price first, then earlier arrival (the order of the dictionary)."""
        chosen = [order for order in self.orders.values() if order.left and side in (None, order.side)]
        return sorted(chosen, key=lambda order: -order.price if order.side is BUY else order.price)


def _displayed(levels: Levels, order: BookOrder, depth: int = 5) -> int | None:
    """Volume displayed at the order's price on its own side; None where that price lies beyond the last level."""
    sign = 1 if order.side is BUY else -1
    if len(levels) >= depth and sign * (order.price - levels[-1][0]) < 0:
        return None
    return dict(levels).get(order.price, 0)


def _new_extreme(side: Side, before: Snapshot, after: Snapshot) -> int | None:
    """The day's new low (for buyers) or high (for sellers), where the interval set one."""
    old, new = (before.lowest, after.lowest) if side is BUY else (before.highest, after.highest)
    return new if new is not None and new != old else None
