"""What a trading run amounts to: fills, round trips, fees and net PnL. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def round_trips(fills: Sequence[dict[str, Any]], opening: dict[str, int] | None = None) -> int:
    """How often the net position came back to flat or crossed it, symbol by symbol; `opening` is what it was first."""
    net = dict(opening or {})
    count = 0
    for fill in fills:
        before = net.get(fill["symbol"], 0)
        after = before + fill["side"] * fill["volume"]
        net[fill["symbol"]] = after
        count += before != 0 and (after == 0 or (after > 0) != (before > 0))
    return count


class Tally:
    """Cash and position of a run, fill by fill; what `profit` computes over all of them, at no cost for each look.

    Parameters
    ----------
    multiplier : float
        Units a lot.
    """

    def __init__(self, multiplier: float) -> None:
        self._multiplier, self._moved = multiplier, 0
        self._cash = self.fees = 0.0

    def add(self, fill: dict[str, Any]) -> None:
        """One fill: side, volume, price, commission (NaN counts as none)."""
        self._moved += fill["side"] * fill["volume"]
        self._cash -= fill["side"] * fill["volume"] * fill["price"] * self._multiplier
        self.fees += fill["commission"] if math.isfinite(fill["commission"]) else 0.0

    def net(self, mark: float) -> float:
        """CNY after fees, with what was bought or sold since valued at `mark`."""
        held = self._moved * self._multiplier * mark if self._moved else 0.0
        return self._cash + held - self.fees


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
