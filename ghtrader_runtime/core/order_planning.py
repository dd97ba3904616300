"""Turns a wanted position, or a wanted order, into orders. Pure; one writer a symbol, one step at a time.

`plan_target` never sends while an order of the symbol is out: it first waits for (or cancels) what works, then closes
what has to be closed (today's lots with CLOSETODAY where the exchange wants that), and only then opens. Its orders are
limit orders, since SHFE and INE take no others. `why_not` says what is wrong with a direct order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ghtrader_base.trading_enums import Peg, TimeInForce
from ghtrader_base.trading_limits import default
from ghtrader_market.accounting.fill import Offset, Side
from ghtrader_market.accounting.positions import Position, close_plan
from ghtrader_runtime.core.events import Book, OrderWanted
from ghtrader_runtime.core.orders import Order, OrderStatus, PriceType
from ghtrader_runtime.core.risk_rules import GRID

PRICE_TYPES = {
    "SHFE": (PriceType.LIMIT,),
    "INE": (PriceType.LIMIT,),
    "DCE": (PriceType.LIMIT, PriceType.ANY),
    "CZCE": (PriceType.LIMIT, PriceType.ANY),
    "GFEX": (PriceType.LIMIT, PriceType.ANY),
    "CFFEX": tuple(PriceType),
}
"""What each exchange takes."""
_OFFSETS, _TIMES_IN_FORCE = tuple(Offset), tuple(TimeInForce)
_OPEN = Offset.OPEN  # a class of an enum is slow to ask for its members, and this module is asked with every tick
_BUY, _SELL = Side.BUY, Side.SELL
_GFD = TimeInForce.GFD


@dataclass(frozen=True, kw_only=True)
class ExecutionStyle:
    """How a target is reached; defaults and ranges are `ghtrader_base.trading_limits`.

    Attributes
    ----------
    slip_ticks : int
        Price ticks beyond the opposite best price a crossing order may pay.
    tif : TimeInForce
        FAK (what does not fill at once is cancelled), FOK (all or nothing) or GFD (rests until chased).
    reprice_s : float
        Market seconds after which a resting order is cancelled and sent anew at the price of then.
    max_order : int
        Largest single order, lots.
    peg : Peg
        Where a GFD order is placed: `cross` (opposite best and `slip_ticks` beyond) or `join` (our own best).
    chase_ticks : int
        A resting order is chased early once its price is so many ticks away from where it would be placed now; 0
        never.
    max_chases : int
        After so many chases on the way to one target a `join` order crosses instead.
    """

    slip_ticks: int = default("slip_ticks")
    tif: TimeInForce = default("tif")
    reprice_s: float = default("reprice_s")
    max_order: int = default("max_order")
    peg: Peg = default("peg")
    chase_ticks: int = default("chase_ticks")
    max_chases: int = default("max_chases")


@dataclass(frozen=True)
class SymbolSpec:
    """What the executor must know of a contract.

    Attributes
    ----------
    symbol : str
    price_tick : float
        CNY.
    multiplier : int
        Units a lot.
    needs_close_today : bool
        Whether today's lots are closed with CLOSETODAY.
    no_open_from : str
        Trading day (YYYY-MM-DD) from which on nothing is opened: the last one on which a natural person may hold the
        contract. Empty where there is none.
    """

    symbol: str
    price_tick: float
    multiplier: int
    needs_close_today: bool
    no_open_from: str = ""

    @property
    def exchange(self) -> str:
        """The exchange it is listed at."""
        return self.symbol.partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Place:
    """An order to place."""

    side: int
    offset: Offset
    volume: int
    price: float
    tif: TimeInForce
    price_type: PriceType = PriceType.LIMIT


@dataclass(frozen=True)
class Step:
    """What to do next: orders to place, or order ids to cancel. Never both."""

    place: tuple[Place, ...] = ()
    cancel: tuple[str, ...] = ()


NOTHING = Step()


def crossing_price(
    book: Book, side: int, spec: SymbolSpec, slip_ticks: int, lower: float = math.nan, upper: float = math.nan
) -> float:
    """Limit price that takes the opposite best and up to `slip_ticks` beyond, within the day's limits.

    A limit that lies beside the price grid is rounded inwards: at it an order would be refused. NaN where that side is
    empty.
    """
    best = book.ask if side > 0 else book.bid
    if math.isnan(best):
        return math.nan
    tick = spec.price_tick
    price = round((round(best / tick) + side * slip_ticks) * tick, 10)
    if price > upper:
        return round(math.floor(upper / tick + GRID) * tick, 10)
    return round(math.ceil(lower / tick - GRID) * tick, 10) if price < lower else price


def target_price(
    book: Book, side: int, spec: SymbolSpec, style: ExecutionStyle, chases: int, lower: float, upper: float
) -> float:
    """Where an order of the target executor is placed now; NaN where the book has no such price."""
    if style.tif == _GFD and style.peg == Peg.JOIN and chases < style.max_chases:
        own = book.bid if side > 0 else book.ask
        if not math.isnan(own):
            return own
    return crossing_price(book, side, spec, style.slip_ticks, lower, upper)


def _stale(order: Order, book: Book, spec: SymbolSpec, style: ExecutionStyle, price: float) -> bool:
    if book.market_ns - order.sent_market_ns >= style.reprice_s * 1e9:
        return True
    return style.chase_ticks > 0 and abs(price - order.price) >= (style.chase_ticks - 0.5) * spec.price_tick


def plan_target(
    target: int,
    position: Position,
    working: Sequence[Order],
    book: Book,
    spec: SymbolSpec,
    style: ExecutionStyle,
    chases: int = 0,
    lower: float = math.nan,
    upper: float = math.nan,
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
    chases : int
        How often an order towards this target was chased already.
    lower, upper : float
        The day's price limits, CNY; NaN where unknown.
    """
    delta = target - position.net
    side = 1 if delta > 0 else -1
    if working:
        price = target_price(book, side, spec, style, chases, lower, upper)
        out = sum(order.side * order.pending for order in working)
        # While closing legs work, the opening ones have not been sent yet: less than `delta` may be out, never more.
        fits = out * side > 0 and abs(out) <= abs(delta)
        resting = [order for order in working if order.tif == _GFD and order.status is OrderStatus.WORKING]
        return Step(cancel=tuple(o.order_id for o in resting if not fits or _stale(o, book, spec, style, price)))
    if delta == 0:
        return NOTHING
    price = target_price(book, side, spec, style, chases, lower, upper)
    if math.isnan(price):
        return NOTHING
    legs = close_plan(position, _BUY if side > 0 else _SELL, abs(delta), spec.needs_close_today)
    closing = [leg for leg in legs if leg[0] != _OPEN]
    orders = [
        Place(side=side, offset=offset, volume=min(style.max_order, volume - done), price=price, tif=style.tif)
        for offset, volume in (closing or legs)
        for done in range(0, volume, style.max_order)
    ]
    return Step(place=tuple(orders))


def towards_flat(target: int, net: int) -> int:
    """The target that is left of `target` where a position may only shrink: between `net` and zero."""
    if net > 0:
        return min(max(target, 0), net)
    return max(min(target, 0), net)


def why_not(order: OrderWanted, position: Position, working: Sequence[Order], spec: SymbolSpec) -> str:
    """What is wrong with a direct order, or an empty string.

    Parameters
    ----------
    order : OrderWanted
    position : Position
        What is held.
    working : sequence of Order
        Orders of the symbol that may still fill.
    """
    if order.side not in (1, -1) or order.offset not in _OFFSETS:
        return f"{order.symbol}: no such order: side {order.side}, offset {order.offset}"
    if order.tif not in _TIMES_IN_FORCE:
        return f"{order.symbol}: no time in force {order.tif!r}; " + ", ".join(_TIMES_IN_FORCE)
    allowed = PRICE_TYPES.get(spec.exchange, (PriceType.LIMIT,))
    if order.price_type not in allowed:
        return f"{order.symbol}: {spec.exchange} takes {', '.join(allowed)} orders, not {order.price_type}"
    if order.price_type != PriceType.LIMIT and order.tif == TimeInForce.GFD:
        return f"{order.symbol}: an order without a price cannot rest: FAK or FOK"
    if order.price_type in (PriceType.BEST, PriceType.FIVELEVEL) and order.tif == TimeInForce.FOK:
        return f"{order.symbol}: {order.price_type} orders are FAK"
    if order.price_type == PriceType.LIMIT and math.isnan(order.price):
        return f"{order.symbol}: a limit order wants a price"
    if order.offset == Offset.OPEN:
        return ""
    if order.offset == Offset.CLOSETODAY and not spec.needs_close_today:
        return f"{order.symbol}: {spec.exchange} knows no CLOSETODAY, use CLOSE"
    today, his = (
        (position.short_today, position.short_his) if order.side > 0 else (position.long_today, position.long_his)
    )
    held = today if order.offset == Offset.CLOSETODAY else his if spec.needs_close_today else today + his
    out = sum(o.pending for o in working if (o.side, o.offset) == (order.side, order.offset))
    if order.volume > held - out:
        return f"{order.symbol}: {order.offset} of {order.volume} lots, {held - out} are there to close"
    return ""
