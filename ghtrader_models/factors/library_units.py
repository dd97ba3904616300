"""The unit of an expression, from its parts: a factor's unit is derived, never typed in beside it.

What belongs here: the unit of each source and what each operator does to units. A unit is a product of powers of base
units, written like ``price ticks^2 / lots``; ``1`` is a plain number.
"""

from __future__ import annotations

from ghtrader_models.factors import expressions as ex
from ghtrader_models.factors import sources as src
from ghtrader_models.factors import windows as win
from ghtrader_models.factors.expressions import Expression

PRICE, LOTS, SECONDS, ONE = "price ticks", "lots", "seconds", "1"
_Powers = dict[str, int]

_SOURCES: dict[type[Expression], str] = {
    **dict.fromkeys((src.BidPrice, src.AskPrice, src.LastPrice, src.Mid, src.Spread, src.Microprice), PRICE),
    **dict.fromkeys((src.MicropriceOffset, src.MidReturn, src.VwapOffset), PRICE),
    **dict.fromkeys((src.BidVolume, src.AskVolume, src.Depth, src.Ofi, src.MultiOfi), LOTS),
    **dict.fromkeys((src.VolumeDelta, src.OpenInterestChange, src.SignedVolume), LOTS),
    **dict.fromkeys((src.TickInterval, src.SessionAge), SECONDS),
    **dict.fromkeys((src.Imbalance, src.CumImbalance, src.TradeSign, src.SessionTime, ex.Const), ONE),
}
_NUMBERS = (ex.Sign, win.ZScore)
_PRODUCTS = (ex.Mul,)
_QUOTIENTS = (ex.Ratio,)


def unit_of(expression: Expression) -> str:
    """The unit of what an expression computes, for example ``lots`` or ``price ticks^2``."""
    return _written(_powers(expression))


def _powers(expression: Expression) -> _Powers:
    kind = type(expression)
    if kind in _SOURCES:
        return {} if _SOURCES[kind] == ONE else {_SOURCES[kind]: 1}
    if kind in _NUMBERS:
        return {}
    below = [_powers(operand) for operand in expression.operands()]
    if kind is ex.Log:
        return {f"log {_written(below[0])}": 1} if below[0] else {}
    if kind in _PRODUCTS:
        return _combined(below[0], below[1], 1)
    if kind in _QUOTIENTS:
        return _combined(below[0], below[1], -1)
    if kind in (ex.Add, ex.Sub):  # a bare number takes on the other's unit
        return below[0] or below[1]
    return below[0]  # windows, lags and bounds keep the unit of what they are taken over


def _combined(left: _Powers, right: _Powers, sign: int) -> _Powers:
    total = {name: left.get(name, 0) + sign * right.get(name, 0) for name in (*left, *right)}
    return {name: power for name, power in total.items() if power}


def _written(powers: _Powers) -> str:
    def product(chosen: list[tuple[str, int]]) -> str:
        return " ".join(name if power == 1 else f"{name}^{power}" for name, power in chosen)

    above = product([(name, power) for name, power in powers.items() if power > 0])
    below = product([(name, -power) for name, power in powers.items() if power < 0])
    return f"{above or ONE} / {below}" if below else above or ONE
