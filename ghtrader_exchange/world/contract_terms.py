"""Defines what an account needs to know of a contract: multiplier, fees, margin, price limits."""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_market.reference.varieties import FeeRates

MAX_ORDER_VOLUME = 500
"""Lots an order; SHFE's limit for these metals."""


@dataclass(frozen=True, kw_only=True)
class ContractTerms:
    """What one contract is reckoned by on one trading day. Prices in CNY; `multiplier` units a lot."""

    symbol: str
    multiplier: int
    price_tick: float
    fees: FeeRates
    margin_ratio: float
    needs_close_today: bool
    pre_settlement: float
    upper_limit: float
    lower_limit: float
