"""The position in one contract: today's and yesterday's lots, close-today splitting, fees, realised profit.

One home for these rules, used by the simulated exchange, by simulation and by execution. Arithmetic only; who
is asked and where the answer is kept is for the callers.

On SHFE and INE the word CLOSE closes yesterday's lots alone and CLOSETODAY today's; elsewhere CLOSE reaches both,
yesterday's first. Lots held before today are called `his`, as TqSdk calls them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_base.errors import FailedError
from ghtrader_market.varieties import FeeRates

OFFSETS = ("OPEN", "CLOSE", "CLOSETODAY")
BUY, SELL = 1, -1


@dataclass
class Position:
    """Lots held in one contract.

    Attributes
    ----------
    long_today, long_his, short_today, short_his : int
        Lots, never negative.
    long_cost, short_cost : float
        Open cost of the lots still held, CNY (price x volume x multiplier).
    realised : float
        Profit of what was closed, before fees, CNY, against the average open cost of its side.
    """

    long_today: int = 0
    long_his: int = 0
    short_today: int = 0
    short_his: int = 0
    long_cost: float = 0.0
    short_cost: float = 0.0
    realised: float = 0.0

    @property
    def long(self) -> int:
        """Lots held long."""
        return self.long_today + self.long_his

    @property
    def short(self) -> int:
        """Lots held short."""
        return self.short_today + self.short_his

    @property
    def net(self) -> int:
        """Long minus short."""
        return self.long - self.short

    def closable(self, side: int, offset: str, needs_close_today: bool) -> int:
        """Lots an order to `side` (BUY closes short lots) with this word could close."""
        today, his = (self.short_today, self.short_his) if side == BUY else (self.long_today, self.long_his)
        if not needs_close_today:
            return today + his
        return today if offset == "CLOSETODAY" else his


def apply_fill(
    position: Position,
    side: int,
    offset: str,
    volume: int,
    price: float,
    multiplier: float = 1.0,
    needs_close_today: bool = True,
) -> float:
    """Book one fill into `position`, in place.

    Parameters
    ----------
    side : int
        BUY (1) or SELL (-1).
    offset : str
        OPEN, CLOSE or CLOSETODAY.
    volume : int
        Lots, positive.
    price, multiplier : float
        CNY a unit, units a lot.
    needs_close_today : bool
        Whether CLOSE reaches yesterday's lots alone (SHFE, INE).

    Returns
    -------
    float
        Realised profit of this fill before fees, CNY.

    Raises
    ------
    FailedError
        More is closed than is held, or the volume is not positive. The position is untouched.
    """
    if volume <= 0 or offset not in OFFSETS or side not in (BUY, SELL):
        raise FailedError(f"no fill: side {side}, {offset}, {volume} lots")
    value = price * volume * multiplier
    if offset == "OPEN":
        if side == BUY:
            position.long_today += volume
            position.long_cost += value
        else:
            position.short_today += volume
            position.short_cost += value
        return 0.0
    held = position.closable(side, offset, needs_close_today)
    if volume > held:
        raise FailedError(f"{offset} of {volume} lots, {held} held", "reconcile the position with the broker")
    name = "short" if side == BUY else "long"
    lots, cost = getattr(position, name), getattr(position, f"{name}_cost")
    closed_cost = cost if volume == lots else cost * volume / lots
    setattr(position, f"{name}_cost", cost - closed_cost)
    first, second = ("today", "his") if offset == "CLOSETODAY" else ("his", "today")
    from_first = min(volume, getattr(position, f"{name}_{first}"))
    setattr(position, f"{name}_{first}", getattr(position, f"{name}_{first}") - from_first)
    setattr(position, f"{name}_{second}", getattr(position, f"{name}_{second}") - (volume - from_first))
    profit = side * (closed_cost - value)
    position.realised += profit
    return profit


def close_plan(position: Position, side: int, volume: int, needs_close_today: bool) -> list[tuple[str, int]]:
    """How to trade `volume` lots to `side`: what closes the other side first, then what opens.

    Yesterday's lots are closed before today's: closing today's may cost more.

    Returns
    -------
    list of (offset, volume)
        Volumes are positive and add up to `volume`; CLOSETODAY appears only where the exchange needs it.
    """
    today, his = (position.short_today, position.short_his) if side == BUY else (position.long_today, position.long_his)
    plan, left = [], volume
    piles = [("CLOSE", his), ("CLOSETODAY", today)] if needs_close_today else [("CLOSE", his + today)]
    for offset, lots in piles:
        part = min(left, lots)
        if part > 0:
            plan.append((offset, part))
            left -= part
    if left > 0:
        plan.append(("OPEN", left))
    return plan


def roll_day(position: Position) -> None:
    """A trading day is over: today's lots become yesterday's, in place."""
    position.long_his += position.long_today
    position.short_his += position.short_today
    position.long_today = position.short_today = 0


def fee(rates: FeeRates, offset: str, price: float, volume: int, multiplier: float) -> float:
    """What a fill costs, CNY: a share of its notional plus an amount a lot."""
    ratio, lot = {
        "OPEN": (rates.open_ratio, rates.open_lot),
        "CLOSE": (rates.close_ratio, rates.close_lot),
        "CLOSETODAY": (rates.close_today_ratio, rates.close_today_lot),
    }[offset]
    return ratio * price * volume * multiplier + lot * volume
