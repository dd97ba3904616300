"""Counts round trips: how often a position was closed or reversed, and how often that paid. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ghtrader_market.accounting.fill import Fill


class RoundTrips(NamedTuple):
    """`count` times a position ended, flat or reversed; `winning` of them earned more than their fees."""

    count: int  # type: ignore[assignment]  # hides the method of tuple
    winning: int


def round_trips(
    fills: Sequence[Fill], multipliers: Mapping[str, int], opening: Mapping[str, int] | None = None
) -> RoundTrips:
    """Round trips of fills, contract by contract; a reversal's fee is split by lots.

    Parameters
    ----------
    fills : sequence of Fill
        In time order.
    multipliers : mapping
        Units a lot of each symbol.
    opening : mapping, optional
        Net lots before the first fill. What they cost is not known: a trip that ends them does not count as winning.
    """
    net = dict(opening or {})
    cash = {symbol: math.nan for symbol, lots in net.items() if lots}
    count = winning = 0
    for fill in fills:
        symbol, signed = fill.symbol, fill.signed
        before, units = net.get(symbol, 0), multipliers[symbol]
        closing = min(fill.volume, abs(before)) if before * signed < 0 else 0
        opened = fill.volume - closing
        direction = 1 if signed > 0 else -1
        net[symbol] = before + signed
        if closing:
            cash[symbol] -= direction * closing * fill.price * units + fill.paid * closing / fill.volume
            if net[symbol] == 0 or opened:
                count += 1
                winning += cash[symbol] > 0
                cash[symbol] = 0.0
        if opened:
            cash[symbol] = cash.get(symbol, 0.0) - (
                direction * opened * fill.price * units + fill.paid * opened / fill.volume
            )
    return RoundTrips(count, winning)
