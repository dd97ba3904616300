"""Rolls from the contract of one trading day to that of the next: closes the expiring one before the new one opens.

The targets of the expiring contract are void, its orders are cancelled, its lots flattened with the ticks of its own
book. Until the broker reports them gone, trading is REDUCING and nothing is opened in the contract that follows. That
all is flat is made durable before the first order of the new contract, so that a process that dies in between knows
what it may still hold.
"""

from __future__ import annotations

from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Record, WriteBinding
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.order_entry import OrderEntry
from ghtrader_runtime.core.order_planning import Place, SymbolSpec
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.core.state import CoreConfig, CoreState

_OPEN = Offset.OPEN


class ContractRoll:
    """Changes from the contract of one day to that of the next.

    Parameters
    ----------
    config : CoreConfig
        The new contract joins its symbols.
    state : CoreState
    orders : OrderEntry
    """

    def __init__(self, config: CoreConfig, state: CoreState, orders: OrderEntry) -> None:
        self.config, self.state, self._orders = config, state, orders

    def on_bound(self, bound: ev.Bound) -> list[Action]:
        """The contract of the day, or that there is none."""
        state, before = self.state, self.state.bound
        if bound.symbol:
            spec = SymbolSpec(
                bound.symbol, bound.price_tick, bound.multiplier, bound.needs_close_today, bound.no_open_from
            )
            self.config.symbols[bound.symbol] = spec
        state.requested, state.unbound = bound.requested, bound.reason
        if bound.symbol == before:
            return []
        state.bound, state.rolling = bound.symbol, True
        fields = {"before": before, "contract": bound.symbol, "reason": bound.reason}
        actions: list[Action] = [Record("bound", fields)]
        for symbol in self._left():
            state.targets.pop(symbol, None)
            state.writers.pop(symbol, None)
            for order in state.live_orders(symbol):
                if not order.over and not order.cancel_ns:
                    actions += self._orders.cancel(order)
        return actions

    def _left(self) -> list[str]:
        """Contracts that were traded here and are not the day's."""
        return [symbol for symbol in self.config.symbols if symbol != self.state.bound]

    def is_left(self, symbol: str) -> bool:
        """Whether a symbol is not the contract of the day any more."""
        return self.state.bound is not None and symbol != self.state.bound

    def _to_close(self) -> str:
        """What is still there of expiring contracts, in words."""
        state, found = self.state, []
        for symbol in self._left():
            position, orders = state.positions.get(symbol), len(state.live_orders(symbol))
            net = position.net if position is not None else 0
            if net or orders:
                found.append(f"{symbol}: {net:+d} held, {orders} orders out")
        return "; ".join(found)

    def watch(self) -> list[Action]:
        """Whether something of another contract than the day's is there, or may be."""
        state = self.state
        to_close = self._to_close()
        if not (state.rolling or to_close):
            return []
        asked = BlockReason.RECONCILE not in state.blocks
        if to_close or not asked:
            state.rolling = True
            what = to_close or f"whether only {state.bound or 'nothing'} is held is not known yet"
            state.block(BlockReason.ROLL, TradingState.REDUCING, f"{state.unbound or 'a roll'}: {what}")
            return []
        state.rolling = False
        if not state.bound:
            state.block(BlockReason.ROLL, TradingState.HALTED, state.unbound)
            return [Record("unbound", {"reason": state.unbound})]
        state.unblock(BlockReason.ROLL)
        return [WriteBinding(state.requested, state.bound), Record("rolled", {"contract": state.bound})]

    def waits_for_roll(self, symbol: str, place: Place) -> str:
        """Why an opening order has to wait, or an empty string."""
        if place.offset != _OPEN or self.state.bound is None:
            return ""
        if symbol != self.state.bound:
            return f"{symbol} is not the contract of the day"
        to_close = self._to_close()
        return f"{symbol} opens once what is left is flat: {to_close}" if self.state.rolling or to_close else ""
