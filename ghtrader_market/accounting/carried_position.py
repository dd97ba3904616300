"""Carries what could not be closed from one recorded trading day to the next: its lots, their age, their mark. Pure.

For paper accounts and simulations, whose account would else end with the day; a broker keeps its own. Lots of a
contract that is played again are held on, as yesterday's, and valued from their mark on. Where the next day has another
contract (a roll), or the contract has traded for the last time (expiry), they are closed at their last mark, at that
day's fee.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from ghtrader_base.errors import UsageError
from ghtrader_market.accounting.fill import Fill, Side
from ghtrader_market.accounting.positions import Position, apply_fill, close_plan, roll_day
from ghtrader_market.reference.closing_rules import ClosingRule, closing_rule
from ghtrader_market.reference.varieties import FeeRates


@dataclass(frozen=True, kw_only=True)
class CarriedPosition:
    """What is held of a contract after a trading day, or a part of one.

    Attributes
    ----------
    contract : str
    day : date
        The trading day; lots opened in it are today's.
    position : Position
        Not flat.
    mark : float
        What the contract was valued at last, CNY; positive.
    """

    contract: str
    day: date
    position: Position
    mark: float

    def __post_init__(self) -> None:
        if not 0.0 < self.mark < float("inf"):
            raise UsageError(f"{self.contract} is held without a mark: {self.mark}")

    @property
    def net(self) -> int:
        """Long minus short lots."""
        return self.position.net

    def at_start_of(self, day: date) -> CarriedPosition:
        """The same as a trading day has it: what was opened on an earlier one is yesterday's; costs are the mark's."""
        position = self.position if day == self.day else roll_day(self.position)
        costs = {
            f"{side}_cost": getattr(position, side) * self.mark
            for side in ("long_today", "long_his", "short_today", "short_his")
        }
        return replace(self, day=day, position=replace(position, **costs))


def carried(contract: str, day: date, position: Position, mark: float) -> CarriedPosition | None:
    """What is held of a contract after a trading day; None where nothing is."""
    if not (position.long or position.short):
        return None
    return CarriedPosition(contract=contract, day=day, position=position, mark=mark)


def why_settled(held: CarriedPosition, next_contract: str, expires: date | None) -> str:
    """Why lots are closed at their mark after their day, in words; empty where they are held on.

    Parameters
    ----------
    held : CarriedPosition
    next_contract : str
        The contract of the next day that is played; empty where there is none.
    expires : date or None
        The contract's last trading day, where it is known.
    """
    if expires is not None and held.day >= expires:
        why = "it traded for the last time"
    elif next_contract and next_contract != held.contract:
        why = f"the next day has {next_contract}"
    else:
        return ""
    lots = " and ".join(
        f"{count} {side}" for side, count in (("long", held.position.long), ("short", held.position.short)) if count
    )
    return f"{lots} of {held.contract} could not be closed on {held.day}: closed at {held.mark:g}, its last mark; {why}"


def settlement_fills(held: CarriedPosition, rates: FeeRates, multiplier: int, market_ns: int) -> list[Fill]:
    """Fills that close all lots at their mark, with the fees of lots of their age.

    Parameters
    ----------
    held : CarriedPosition
    rates, multiplier
        Of the contract on its day.
    market_ns : int
        End of the day, UTC epoch ns.
    """
    position = held.position
    fills: list[Fill] = []
    split = closing_rule(held.contract) == ClosingRule.BY_OFFSET
    for side, lots in ((Side.SELL, position.long), (Side.BUY, position.short)):
        for offset, volume in close_plan(position, side, lots, split) if lots else ():
            name = f"settled-{held.day}-{len(fills) + 1}"
            fill = Fill(
                symbol=held.contract, side=side, offset=offset, volume=volume, price=held.mark, market_ns=market_ns,
                trade_id=name, order_id=name,
            )  # fmt: skip
            booked = apply_fill(position, fill, rates, multiplier)
            position = booked.position
            fills.append(replace(fill, fee=booked.fee))
    return fills
