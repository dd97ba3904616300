"""Checks an order before it is sent: whether it has to wait for a roll, and every risk limit of an order."""

from __future__ import annotations

import math
from collections.abc import Callable

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.order_planning import Place
from ghtrader_runtime.core.risk_rules import Proposed, first_reason
from ghtrader_runtime.core.state import CoreConfig, CoreState


class PreTradeCheck:
    """Says why an order may not be sent now.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    waits_for_roll : callable
        Why an order of a symbol has to wait for a roll, or an empty string.
    """

    def __init__(self, config: CoreConfig, state: CoreState, waits_for_roll: Callable[[str, Place], str]) -> None:
        self.config, self.state, self._waits_for_roll = config, state, waits_for_roll
        self._rules = config.limits.rules()

    def forbidden(self, symbol: str, place: Place, book: ev.Book) -> str:
        """Why an order may not be sent with this book, or an empty string."""
        state = self.state
        if reason := self._waits_for_roll(symbol, place):
            return reason
        spec, terms = self.config.symbols[symbol], state.terms.get(symbol)
        known = terms if terms is not None and terms.trading_day == state.trading_day else None
        out = [order for order in state.live_orders(symbol) if order.side == place.side]
        quotes = [quote for quote in (book.bid, book.ask) if not math.isnan(quote)]
        proposed = Proposed(
            symbol=symbol,
            side=place.side,
            volume=place.volume,
            offset=place.offset,
            price=place.price,
            net=state.position(symbol).net,
            working=sum(order.side * order.pending for order in out),
            market_ns=book.market_ns,
            sent_ns=state.sent_ns,
            latest_ns=state.market_ns,
            open_orders=sum(map(len, state.live.values())),
            reference=sum(quotes) / len(quotes) if quotes else math.nan,
            multiplier=spec.multiplier,
            price_tick=spec.price_tick,
            lower=known.lower if known else math.nan,
            upper=known.upper if known else math.nan,
            sessions=known.sessions if known else None,
            data_age_s=(state.now_ns - book.now_ns) / 1e9,
            trading_day=state.trading_day,
            no_open_from=spec.no_open_from,
        )
        return first_reason(self._rules, proposed)
