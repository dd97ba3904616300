"""Takes the next step of a symbol towards its target: places or cancels orders, one step at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

from ghtrader_runtime.core.actions import Action, Record
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.order_entry import OrderEntry
from ghtrader_runtime.core.order_planning import ExecutionStyle, plan_target, towards_flat
from ghtrader_runtime.core.orders import OrderKind, TradingState
from ghtrader_runtime.core.pre_trade_check import PreTradeCheck
from ghtrader_runtime.core.state import CoreConfig, CoreState, WantedPosition

_WAITING = frozenset((BlockReason.RECONCILE, BlockReason.BROKER, BlockReason.ROLL, BlockReason.MONITOR))
"""While one of these stands, an order that is not sent is put off, or was never to be sent."""


class TargetSteps:
    """Moves positions to their targets.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    style : ExecutionStyle
        With the largest order that the limits allow.
    orders : OrderEntry
    check : PreTradeCheck
    is_left : callable
        Whether a symbol is a contract of an earlier day, which is to be flat.
    """

    def __init__(
        self,
        config: CoreConfig,
        state: CoreState,
        style: ExecutionStyle,
        orders: OrderEntry,
        check: PreTradeCheck,
        is_left: Callable[[str], bool],
    ) -> None:
        self.config, self.state, self._style = config, state, style
        self._orders, self._check, self._is_left = orders, check, is_left

    def advance(self, symbol: str) -> list[Action]:
        """The next step of a symbol towards its target, where there is one and nothing forbids it."""
        state = self.state
        wanted, book, spec = state.targets.get(symbol), state.books.get(symbol), self.config.symbols.get(symbol)
        if book is None or spec is None:
            return []
        if state.trading_state is TradingState.HALTED:
            return self._not_allowed(symbol, wanted)
        if state.killed or self._is_left(symbol):
            wanted = WantedPosition("kill" if state.killed else "roll", -1, 0)
        if wanted is None:
            return []
        position, working = state.position(symbol), state.live_orders(symbol)
        target = wanted.volume
        if state.trading_state is TradingState.REDUCING:
            target = towards_flat(target, position.net)
        if not working and target == position.net:
            state.chases[symbol] = 0
            return self._not_allowed(symbol, wanted)
        terms = state.terms.get(symbol)
        lower, upper = (terms.lower, terms.upper) if terms is not None else (math.nan, math.nan)
        chases = state.chases.get(symbol, 0)
        step = plan_target(target, position, working, book, spec, self._style, chases, lower, upper)
        if step.place and (retry := state.retries.get(symbol)) is not None and state.now_ns < retry.at_ns:
            return []
        actions: list[Action] = []
        if step.cancel:
            state.chases[symbol] = chases + 1
            for order_id in step.cancel:
                actions += self._orders.cancel(state.orders[order_id])
        for place in step.place:
            reason = self._check.forbidden(symbol, place, book)
            if reason:
                key = reason, place.side, place.offset, place.volume
                return [*actions, *self._say_once(symbol, key, reason)]
            state.last_refusal.pop(symbol, None)
            actions += self._orders.place(symbol, place, wanted.session, wanted.revision, book, OrderKind.TARGET)
        return actions

    def _not_allowed(self, symbol: str, wanted: WantedPosition | None) -> list[Action]:
        """Nothing is sent now: tell where a target is given up because of what stands against trading.

        What only waits (for the broker's list, for a roll) is not given up, and who only watches never wanted it.
        """
        state = self.state
        position = state.positions.get(symbol)
        held = position.net if position is not None else 0
        if wanted is None or wanted.volume == held:
            state.last_refusal.pop(symbol, None)
            return []
        if not state.blocks or state.live_orders(symbol) or not _WAITING.isdisjoint(state.blocks):
            return []
        key = (*state.blocks, wanted.volume - held)
        return self._say_once(symbol, key, state.limits)

    def _say_once(self, symbol: str, key: tuple[object, ...], reason: str) -> list[Action]:
        """Record an order that is not sent; again only where another one is refused, or for another reason."""
        if self.state.last_refusal.get(symbol) == key:  # not with every tick
            return []
        self.state.last_refusal[symbol] = key
        return [Record("order-refused", {"symbol": symbol, "reason": reason})]
