"""Predicts the orders that may follow the present book: what the core would send for a likely target.

Nothing is decided here and no state changes: the gateway writes such intents to disk while a strategy still computes,
so that the one that is then decided on need not wait for the disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ghtrader_runtime.core.order_planning import ExecutionStyle, plan_target
from ghtrader_runtime.core.orders import Intent, OrderKind, TradingState
from ghtrader_runtime.core.pre_trade_check import PreTradeCheck
from ghtrader_runtime.core.state import CoreConfig, CoreState, order_number

MOST = 4
"""Orders predicted at most."""


class OrderPrediction:
    """Predicts the next orders.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
        Read only.
    style : ExecutionStyle
        As `target_steps` has it.
    order_id : callable
        Number of an intent to its client order id.
    check : PreTradeCheck
    is_left : callable
        Whether a symbol is a contract of an earlier day.
    """

    def __init__(
        self,
        config: CoreConfig,
        state: CoreState,
        style: ExecutionStyle,
        order_id: Callable[[int], str],
        check: PreTradeCheck,
        is_left: Callable[[str], bool],
    ) -> None:
        self.config, self.state, self._style, self._order_id = config, state, style, order_id
        self._check, self._is_left = check, is_left

    def likely(self, symbol: str, targets: Iterable[int]) -> list[Intent]:
        """Intents that one of `targets` (lots, signed) would bring about at once, were it wanted next.

        They are as the core would give them out (`WriteIntent`), but name no target. None of direct orders: such
        a request must be known for ever once it was acted on, where a target only says what is wanted now. Each has a
        number of its own: of two targets that begin with an order of one side the first counts.
        """
        state = self.state
        book, spec = state.books.get(symbol), self.config.symbols.get(symbol)
        position = state.positions.get(symbol)
        if book is None or spec is None or position is None or self._is_left(symbol) or state.live_orders(symbol):
            return []
        writer = state.writers.get(symbol)
        if state.trading_state is not TradingState.ACTIVE or writer is None or writer.kind != OrderKind.TARGET:
            return []
        terms = state.terms.get(symbol)
        lower, upper = (terms.lower, terms.upper) if terms is not None else (math.nan, math.nan)
        found: list[Intent] = []
        for target in targets:
            number = state.next_number
            for place in plan_target(target, position, (), book, spec, self._style, 0, lower, upper).place:
                number = order_number(number, place.side)
                taken = any(number == one.number for one in found)
                if taken or len(found) == MOST or self._check.forbidden(symbol, place, book):
                    break
                found.append(
                    Intent(
                        order_id=self._order_id(number),
                        number=number,
                        symbol=symbol,
                        side=place.side,
                        offset=place.offset,
                        volume=place.volume,
                        price=place.price,
                        tif=place.tif,
                        market_ns=state.market_ns,
                        price_type=place.price_type,
                    )
                )
                number += 1
        return found
