"""Books lots and their fees as the exchange does: its own arithmetic, apart from `ghtrader_market/accounting`. Pure.

It is the check on the clients' accounting, so it shares no rule with it: which lots a closing order takes and what each
of them pays is written here a second time. What lots are worth and what they bind is `accounts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ghtrader_exchange.enums import Offset
from ghtrader_market.reference.varieties import FeeRates

HeldSide = Literal["long", "short"]
Age = Literal["today", "his"]


def lots_to_close(
    exchange_id: str, offset: Offset, volume: int, today: int, his: int
) -> tuple[tuple[Age, int], tuple[Age, int]]:
    """How many of today's and of yesterday's lots an order to close takes, in that order.

    Parameters
    ----------
    exchange_id : str
        SHFE and INE go by the order's word; CFFEX takes today's lots first, the others yesterday's.
    offset : Offset
        CLOSE or CLOSETODAY.
    volume, today, his : int
        Lots wanted, and lots there are by age.

    Raises
    ------
    ValueError
        There are not so many.
    """
    if offset is Offset.CLOSETODAY:
        from_today = volume
    elif exchange_id in ("SHFE", "INE"):
        from_today = 0
    elif exchange_id == "CFFEX":
        from_today = min(volume, today)
    else:
        from_today = max(volume - his, 0)
    if from_today > today or volume - from_today > his:
        raise ValueError(f"{offset} of {volume} lots where {today} of today's and {his} of yesterday's are held")
    return ("today", from_today), ("his", volume - from_today)


def open_fee(rates: FeeRates, price: float, volume: int, multiplier: int) -> float:
    """Fee of opening `volume` lots at `price`, CNY."""
    return volume * (price * multiplier * rates.open_ratio + rates.open_lot)


def close_fee(rates: FeeRates, age: Age, price: float, volume: int, multiplier: int) -> float:
    """Fee of closing `volume` lots of one age at `price`, CNY."""
    if age == "today":
        return volume * (price * multiplier * rates.close_today_ratio + rates.close_today_lot)
    return volume * (price * multiplier * rates.close_ratio + rates.close_lot)


@dataclass
class Bucket:
    """Lots of one side and age.

    Attributes
    ----------
    volume : int
    opened, marked : float
        Sums of price x lots, CNY without the multiplier: what they were opened for, and what they were marked at when
        the last day was settled (today's: what they were opened for). Both are 0 where there are no lots.
    """

    volume: int = 0
    opened: float = 0.0
    marked: float = 0.0

    def add(self, price: float, volume: int) -> None:
        """Lots that are opened."""
        self.volume += volume
        self.opened += price * volume
        self.marked += price * volume

    def take(self, volume: int) -> float:
        """Lots that are closed, each at the bucket's average; returns what they were marked at."""
        share = volume / self.volume
        marked = self.marked * share
        if volume == self.volume:
            marked, self.opened, self.marked = self.marked, 0.0, 0.0
        else:
            self.opened -= self.opened * share
            self.marked -= marked
        self.volume -= volume
        return marked
