"""Holds the static facts of the contracts a simulated exchange lists.

How they look on the wire is in `protocol.instrument_query`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ghtrader_exchange.world.contract_listing import Listing
from ghtrader_market.reference.symbols import parse_symbol

BASE_PRICES = {"cu": 74_000.0, "au": 620.0, "ag": 7_600.0}
"""CNY, about where each variety traded in 2025: the level a scenario starts from."""
CARRY_TICKS = 3
"""Ticks by which each further delivery month costs more; constant, so contracts of a variety move together."""


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One listed contract.

    symbol : ``SHFE.cu2505``. variety : ``cu``. expires : last trading day. price_tick : CNY. decimals : of the price
    tick. multiplier : units a lot. base_ticks : price in ticks before the scenario's first day.
    """

    symbol: str
    variety: str
    expires: date
    price_tick: float
    decimals: int
    multiplier: int
    base_ticks: int


def list_instruments(listing: Listing) -> dict[str, Instrument]:
    """The instruments of one variety, by symbol."""
    variety, start = listing.variety, listing.scenario.start
    found = {}
    for symbol in listing.contracts:
        delivery = parse_symbol(symbol).delivered(start)
        months_ahead = (delivery.year - start.year) * 12 + delivery.month - start.month
        tick = variety.price_tick(symbol, start)
        found[symbol] = Instrument(
            symbol=symbol,
            variety=variety.key,
            expires=listing.expiry(symbol),
            price_tick=tick,
            decimals=len(f"{tick:.6f}".rstrip("0").partition(".")[2]),
            multiplier=variety.multiplier,
            base_ticks=round(BASE_PRICES[variety.key] / tick) + CARRY_TICKS * months_ahead,
        )
    return found
