"""Computes fees and PnL of fills: of a whole run, by contract, and fill by fill. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ghtrader_market.accounting.round_trips import round_trips


class RunTotals:
    """Cash and position of a run, fill by fill; what `profit` computes over all of them, at no cost for each look.

    Parameters
    ----------
    multiplier : float
        Units a lot, the same for every contract of the variety.
    """

    def __init__(self, multiplier: float) -> None:
        self._multiplier = multiplier
        self._moved: dict[str, int] = {}
        self._cash = self.fees = 0.0

    def add(self, fill: dict[str, Any]) -> None:
        """One fill: side, volume, price, commission (NaN counts as none)."""
        self._moved[fill["symbol"]] = self._moved.get(fill["symbol"], 0) + fill["side"] * fill["volume"]
        self._cash -= fill["side"] * fill["volume"] * fill["price"] * self._multiplier
        self.fees += fill["commission"] if math.isfinite(fill["commission"]) else 0.0

    def net(self, marks: Mapping[str, float]) -> float:
        """CNY after fees, with what was bought or sold of a contract since valued at its mark."""
        held = sum(lots * marks.get(symbol, math.nan) for symbol, lots in self._moved.items() if lots)
        return self._cash + held * self._multiplier - self.fees


def by_contract(
    fills: Sequence[dict[str, Any]], multipliers: dict[str, int], marks: dict[str, float], opening: dict[str, int]
) -> dict[str, dict[str, float]]:
    """`profit` and the number of fills and round trips of each contract apart; arguments as there."""
    found: dict[str, dict[str, float]] = {}
    for symbol in sorted({fill["symbol"] for fill in fills}):
        own, held = [fill for fill in fills if fill["symbol"] == symbol], {symbol: opening.get(symbol, 0)}
        money = {name: round(value, 6) for name, value in profit(own, multipliers, marks, held).items()}
        found[symbol] = {"fills": len(own), "round_trips": round_trips(own, held), **money}
    return found


def profit(
    fills: Sequence[dict[str, Any]], multipliers: dict[str, int], marks: dict[str, float], opening: dict[str, int]
) -> dict[str, float]:
    """Cash from fills plus what is held at the last mid, against what was held at the start.

    Parameters
    ----------
    fills : sequence of dict
        symbol, side, volume, price, commission.
    multipliers, marks : dict
        Units a lot and last mid of each symbol; a position without a mark is valued at its last fill.
    opening : dict
        Net lots before the first fill, marked at `marks` too: a position carried in counts no PnL of its own
        from before the run.

    Returns
    -------
    dict
        gross_pnl, fees, net_pnl in CNY.
    """
    cash = fees = 0.0
    held = dict(opening)
    value = dict(marks)
    for fill in fills:
        symbol = fill["symbol"]
        cash -= fill["side"] * fill["volume"] * fill["price"] * multipliers[symbol]
        fees += fill["commission"] if math.isfinite(fill["commission"]) else 0.0
        held[symbol] = held.get(symbol, 0) + fill["side"] * fill["volume"]
        if not math.isfinite(value.get(symbol, math.nan)):
            value[symbol] = fill["price"]
    moved = sum((held[s] - opening.get(s, 0)) * multipliers[s] * value[s] for s in held if held[s] != opening.get(s, 0))
    return {"gross_pnl": cash + moved, "fees": fees, "net_pnl": cash + moved - fees}
