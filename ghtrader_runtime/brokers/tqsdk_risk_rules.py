"""Applies TqSdk's own local risk rules: broker-side risk rules behind those of the core.

They count in the client library, know nothing of the core, and count the day's orders again from the broker's list
after every login. They need a right of the login (`tq_lc_rk`, the professional edition); without it there are no
broker-side rules, and the gateway says so. A refusal is asked for before the order is submitted: raised from within
TqSdk's loop it would come out of a later `wait_update`, of no order in particular.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ghtrader_runtime.core.orders import Order

OPERATIONS_A_SECOND = 100
"""Orders and cancels of one exchange in a second (ours): nothing but a loop gone wild comes near."""


@dataclass(frozen=True)
class BrokerSideLimits:
    """What TqSdk's rules are told, for each contract and trading day; 0 leaves a rule out.

    Attributes
    ----------
    orders : int
        Opening orders. 2000.
    lots : int
        Lots of opening orders. 10,000.
    """

    orders: int = 2000
    lots: int = 10_000


class BrokerSideRules:
    """The rules of one connection.

    Parameters
    ----------
    limits : BrokerSideLimits
    """

    def __init__(self, limits: BrokerSideLimits) -> None:
        self._limits = limits
        self._rules: list[Any] = []
        self._symbols: set[str] = set()
        self._exchanges: set[str] = set()
        self.missing = ""

    @property
    def names(self) -> list[str]:
        """Classes of the rules in force."""
        return sorted({type(rule).__name__ for rule in self._rules})

    def renew(self) -> None:
        """Another connection: nothing is attached yet."""
        self._rules, self._symbols, self._exchanges, self.missing = [], set(), set(), ""

    def guard(self, api: Any, symbol: str) -> None:
        """Attach the rules for a contract; they count what the broker lists of the day."""
        from tqsdk import risk_rule

        if symbol in self._symbols or self.missing:
            return
        exchange = symbol.partition(".")[0]
        try:
            if self._limits.orders:
                self._attach(api, risk_rule.TqRuleOpenCountsLimit(api, self._limits.orders, symbol))
            if self._limits.lots:
                self._attach(api, risk_rule.TqRuleOpenVolumesLimit(api, self._limits.lots, symbol))
            if exchange not in self._exchanges:
                self._attach(api, risk_rule.TqRuleOrderRateLimit(api, OPERATIONS_A_SECOND, exchange))
        except Exception as exc:  # TqSdk has no class of its own for a right that is missing
            self.missing = str(exc)
            return
        self._symbols.add(symbol)
        self._exchanges.add(exchange)

    def _attach(self, api: Any, rule: Any) -> None:
        api.add_risk_rule(rule)
        self._rules.append(rule)

    def why_not(self, account_key: str, order: Order) -> str:
        """What a rule has against an order, or an empty string."""
        exchange, _, instrument = order.symbol.partition(".")
        pack = {
            "account_key": account_key, "exchange_id": exchange, "instrument_id": instrument, "volume": order.volume,
            "offset": order.offset.value,  # TqSdk gets plain words
        }  # fmt: skip
        for rule in self._rules:
            passes, why = rule._could_insert_order(pack)
            if not passes:
                return f"TqSdk's {type(rule).__name__}: {why}"
        return ""
