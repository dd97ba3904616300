"""Computes a position in one contract: today's and yesterday's lots, close-today splitting, fees, profit, margin.

The only place of these rules on our side: gateway, paper account, replay, benchmark and reports use it; the simulated
exchange keeps a book of its own (`ghtrader_exchange/venue/lots.py`), which checks this one. Pure functions on frozen
values; no clock, no table of varieties, no storage. Prices are CNY per unit, volumes are lots, money is CNY.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from ghtrader_base.errors import RefusedError, UsageError
from ghtrader_market.accounting.fees import fee
from ghtrader_market.accounting.fill import Fill, Offset, Side
from ghtrader_market.reference.closing_rules import ClosingRule, closing_rule
from ghtrader_market.reference.varieties import FeeRates

_SIDES, _OFFSETS = tuple(Side), tuple(Offset)


@dataclass(frozen=True, kw_only=True)
class Position:
    """Lots held in one contract, by side and by age, with what they cost.

    A cost is the sum of price x lots over the lots of its bucket (no multiplier); it is exactly 0 where the bucket
    is empty. `*_his` was held at the start of the trading day, `*_today` opened in it.
    """

    long_today: int = 0
    long_his: int = 0
    short_today: int = 0
    short_his: int = 0
    long_today_cost: float = 0.0
    long_his_cost: float = 0.0
    short_today_cost: float = 0.0
    short_his_cost: float = 0.0

    @property
    def long(self) -> int:
        """Long lots, today's and yesterday's."""
        return self.long_today + self.long_his

    @property
    def short(self) -> int:
        """Short lots, today's and yesterday's."""
        return self.short_today + self.short_his

    @property
    def net(self) -> int:
        """Long minus short lots."""
        return self.long - self.short

    @property
    def open_price_long(self) -> float:
        """Average opening price of the long lots; NaN where there are none."""
        return (self.long_today_cost + self.long_his_cost) / self.long if self.long else float("nan")

    @property
    def open_price_short(self) -> float:
        """Average opening price of the short lots; NaN where there are none."""
        return (self.short_today_cost + self.short_his_cost) / self.short if self.short else float("nan")


class FillOutcome(NamedTuple):
    """What a fill did: the position after it, profit realised against open cost, and its fee (positive is paid)."""

    position: Position
    realised: float
    fee: float

    @property
    def cash(self) -> float:
        """Change of the account's cash: realised profit less the fee."""
        return self.realised - self.fee



def apply_fill(position: Position, fill: Fill, rates: FeeRates, multiplier: int) -> FillOutcome:
    """Book one fill by the rule of the exchange its contract is listed at (`closing_rules`); each lot pays its own fee.

    Parameters
    ----------
    position : Position
        Before the fill.
    fill : Fill
        BUY with a closing offset closes short lots, SELL closes long ones.
    rates, multiplier
        Of the contract on the trading day of the fill (`Variety.fees`, `.multiplier`).

    Raises
    ------
    RefusedError
        It closes more lots than are there; the position is untouched.
    UsageError
        A volume that is not positive, an unknown side or offset.
    """
    if fill.volume <= 0 or fill.side not in _SIDES or fill.offset not in _OFFSETS:
        raise UsageError(f"no such fill: {fill}", "sides are BUY and SELL, offsets OPEN, CLOSE, CLOSETODAY")
    if fill.offset == Offset.OPEN:
        name = "long_today" if fill.side == Side.BUY else "short_today"
        changes = {
            name: getattr(position, name) + fill.volume,
            f"{name}_cost": getattr(position, f"{name}_cost") + fill.price * fill.volume,
        }
        paid = fee(rates, Offset.OPEN, fill.price, fill.volume, multiplier)
        return FillOutcome(replace(position, **changes), 0.0, paid)
    held = "short" if fill.side == Side.BUY else "long"
    direction = 1 if held == "long" else -1
    realised = paid = 0.0
    for age, lots in _split(position, held, fill.offset, fill.volume, closing_rule(fill.symbol)):
        position, gain = _close_bucket(position, f"{held}_{age}", lots, fill.price, direction)
        realised += gain * multiplier
        paid += fee(rates, Offset.CLOSETODAY if age == "today" else Offset.CLOSE, fill.price, lots, multiplier)
    return FillOutcome(position, realised, paid)


def _split(position: Position, held: str, offset: Offset, volume: int, rule: ClosingRule) -> list[tuple[str, int]]:
    """Which buckets a closing fill takes its lots from; RefusedError where they do not hold enough."""
    available = {"his": getattr(position, f"{held}_his"), "today": getattr(position, f"{held}_today")}
    if offset == Offset.CLOSETODAY:
        wanted = [("today", volume)]
    elif rule == ClosingRule.BY_OFFSET:
        wanted = [("his", volume)]
    else:
        first, second = ("today", "his") if rule == ClosingRule.TODAY_FIRST else ("his", "today")
        taken = min(available[first], volume)
        wanted = [(first, taken), (second, volume - taken)]
    for age, lots in wanted:
        if lots > available[age]:
            raise RefusedError(
                f"{offset} of {volume} {held} lots, but only {available['his']} of yesterday's and "
                f"{available['today']} of today's are held",
                "close what is held: CLOSE for yesterday's lots, CLOSETODAY for today's",
            )
    return [(age, lots) for age, lots in wanted if lots]


def _close_bucket(position: Position, name: str, lots: int, price: float, direction: int) -> tuple[Position, float]:
    held, cost = getattr(position, name), getattr(position, f"{name}_cost")
    # The last lots take the whole rest of the cost, so that an empty bucket costs exactly nothing.
    taken = cost if lots == held else cost * lots / held
    gain = direction * (price * lots - taken)
    return replace(position, **{name: held - lots, f"{name}_cost": 0.0 if lots == held else cost - taken}), gain


def closed_today(before: Position, after: Position) -> int:
    """How many of today's lots a closing fill took, from the position before and after it."""
    return max(before.long_today - after.long_today, before.short_today - after.short_today, 0)


def close_plan(
    position: Position, side: Side, volume: int, needs_close_today: bool, prefer_today: bool = False
) -> list[tuple[Offset, int]]:
    """Orders that trade `volume` lots on `side`: close what is held against it, open the rest.

    Parameters
    ----------
    position : Position
        What is held and free to close (take lots frozen by working orders off first).
    side : Side
        BUY closes short lots, SELL long ones.
    volume : int
        Lots, zero or more.
    needs_close_today : bool
        Split closing into CLOSE (yesterday's) and CLOSETODAY (today's); without it one CLOSE covers both.
    prefer_today : bool
        Close today's lots before yesterday's, for where that is cheaper.

    Returns
    -------
    list of (offset, lots)
        In the order to send them; lots are positive and add up to `volume`.
    """
    if volume < 0 or side not in _SIDES:
        raise UsageError(f"cannot plan {side} of {volume} lots", "sides are BUY and SELL, volumes zero or more")
    held = "short" if side == Side.BUY else "long"
    his, today = getattr(position, f"{held}_his"), getattr(position, f"{held}_today")
    if needs_close_today:
        buckets: list[tuple[Offset, int]] = [(Offset.CLOSE, his), (Offset.CLOSETODAY, today)]
        if prefer_today:
            buckets.reverse()
    else:
        buckets = [(Offset.CLOSE, his + today)]
    plan: list[tuple[Offset, int]] = []
    for offset, lots in buckets:
        if taken := min(lots, volume):
            plan.append((offset, taken))
            volume -= taken
    if volume:
        plan.append((Offset.OPEN, volume))
    return plan


def roll_day(position: Position) -> Position:
    """The position at the start of the next trading day: all of today's lots have become yesterday's."""
    return Position(
        long_his=position.long,
        short_his=position.short,
        long_his_cost=position.long_his_cost + position.long_today_cost,
        short_his_cost=position.short_his_cost + position.short_today_cost,
    )


def unrealised(position: Position, price: float, multiplier: int) -> float:
    """Profit in CNY if every lot were closed at `price`, before fees."""
    long = price * position.long - (position.long_today_cost + position.long_his_cost)
    short = (position.short_today_cost + position.short_his_cost) - price * position.short
    return (long + short) * multiplier


def margin(position: Position, price: float, ratio: float, multiplier: int) -> float:
    """Margin in CNY at `price`: both sides are charged, without an allowance for opposite lots."""
    return (position.long + position.short) * price * multiplier * ratio
