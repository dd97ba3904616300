"""Executors: from a wanted position to orders. Pure; one writer a symbol, one step at a time.

`plan_target` never sends while an order of the symbol is out: it first waits for (or cancels) what works, then closes
what has to be closed (today's lots with CLOSETODAY where the exchange wants that), and only then opens. Orders are
limit orders at the opposite best price plus a few ticks, since SHFE takes no market orders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ghtrader_market.positions import Position, close_plan
from ghtrader_runtime.events import Book, Order, OrderStatus
from ghtrader_runtime.positions_of import side_name


@dataclass(frozen=True)
class ExecutionStyle:
    """How a target is reached.

    Attributes
    ----------
    slip_ticks : int
        Price ticks beyond the opposite best price an order may pay.
    tif : str
        FAK (what does not fill at once is cancelled) or GFD (rests; re-priced after `reprice_s`).
    reprice_s : float
        Market seconds after which a resting order is cancelled and sent anew at the price of then.
    max_order : int
        Largest single order, lots.
    """

    slip_ticks: int = 1
    tif: str = "FAK"
    reprice_s: float = 5.0
    max_order: int = 10


@dataclass(frozen=True)
class SymbolSpec:
    """What the executor must know of a contract."""

    symbol: str
    price_tick: float
    multiplier: int
    needs_close_today: bool


@dataclass(frozen=True)
class Place:
    """An order to place."""

    side: int
    offset: str
    volume: int
    price: float
    tif: str


@dataclass(frozen=True)
class Step:
    """What to do next: orders to place, or order ids to cancel. Never both."""

    place: tuple[Place, ...] = ()
    cancel: tuple[str, ...] = ()


def crossing_price(book: Book, side: int, spec: SymbolSpec, slip_ticks: int) -> float:
    """Limit price that takes the opposite best and up to `slip_ticks` beyond; NaN where that side is empty."""
    best = book.ask if side > 0 else book.bid
    if math.isnan(best):
        return math.nan
    steps = round(best / spec.price_tick) + side * slip_ticks
    return round(steps * spec.price_tick, 10)


def _stale(order: Order, wanted_side: int, book: Book, style: ExecutionStyle) -> bool:
    if order.tif != "GFD" or order.status is not OrderStatus.WORKING or order.cancel_ns:
        return False
    return order.side != wanted_side or book.market_ns - order.sent_market_ns >= style.reprice_s * 1e9


def plan_target(
    target: int,
    position: Position,
    working: Sequence[Order],
    book: Book,
    spec: SymbolSpec,
    style: ExecutionStyle,
) -> Step:
    """The next step from `position` and `working` towards `target`.

    Parameters
    ----------
    target : int
        Wanted net position, lots; negative short.
    position : Position
        What is held.
    working : sequence of Order
        Orders of the symbol that may still fill.
    book : Book
        Best quotes now.
    """
    delta = target - position.net
    side = 1 if delta > 0 else -1 if delta < 0 else 0
    if working:
        return Step(cancel=tuple(order.order_id for order in working if _stale(order, side, book, style)))
    if side == 0:
        return Step()
    price = crossing_price(book, side, spec, style.slip_ticks)
    if math.isnan(price):
        return Step()
    legs = close_plan(position, side_name(side), abs(delta), spec.needs_close_today)
    closing = [leg for leg in legs if leg[0] != "OPEN"]
    orders = [
        Place(side, offset, min(style.max_order, volume - done), price, style.tif)
        for offset, volume in (closing or legs)
        for done in range(0, volume, style.max_order)
    ]
    return Step(place=tuple(orders))
