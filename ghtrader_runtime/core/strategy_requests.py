"""Handles a strategy's requests in the core: targets, direct orders, cancels.

A request counts once, by its session and revision. The first to write a symbol keeps it, in the way it began (targets
or direct orders), until its session is gone. Every request is answered.
"""

from __future__ import annotations

from collections.abc import Callable

from ghtrader_base.trading_enums import TimeInForce
from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Answer, AnswerStatus, Record
from ghtrader_runtime.core.order_entry import OrderEntry
from ghtrader_runtime.core.order_planning import Place, towards_flat, why_not
from ghtrader_runtime.core.orders import OrderKind, PriceType, TradingState
from ghtrader_runtime.core.pre_trade_check import PreTradeCheck
from ghtrader_runtime.core.state import AT_WORK, CoreConfig, CoreState, WantedPosition, Writer


class StrategyRequests:
    """Decides about targets, direct orders and cancels, and answers each.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    orders : OrderEntry
    check : PreTradeCheck
    advance : callable
        Takes a symbol's next step towards its target.
    """

    def __init__(
        self,
        config: CoreConfig,
        state: CoreState,
        orders: OrderEntry,
        check: PreTradeCheck,
        advance: Callable[[str], list[Action]],
    ) -> None:
        self.config, self.state = config, state
        self._orders, self._check, self._advance = orders, check, advance

    def on_target(self, event: ev.TargetWanted) -> list[Action]:
        """A target: the position a session wants, lots with sign."""
        refused = self._claim(event, OrderKind.TARGET)
        if refused:
            return refused
        limit = self.config.limits.max_position
        if abs(event.volume) > limit and not self._reduces(event):
            return self._refuse(event, f"target {event.volume:+d} of {event.symbol}, at most {limit} allowed")
        state = self.state
        known = state.targets.get(event.symbol)
        if known is None or known.volume != event.volume:
            state.chases[event.symbol] = 0
        state.targets[event.symbol] = WantedPosition(event.session, event.revision, event.volume)
        actions = self._advance(event.symbol)
        return [*actions, Answer(event.session, event.revision, AnswerStatus.ACCEPTED, state.limits)]

    def _claim(self, event: ev.TargetWanted | ev.OrderWanted, kind: OrderKind) -> list[Action]:
        """Whether a session may write a symbol in this way; what to answer where it may not."""
        state = self.state
        verdict = state.watermark.note(event.session, event.revision, state.now_ns)
        if verdict == "full" and self._reduces(event):
            verdict = state.watermark.note(event.session, event.revision, state.now_ns, reduces=True)
        if verdict == "duplicate":
            return [Answer(event.session, event.revision, AnswerStatus.DUPLICATE)]
        if verdict == "full":
            return self._refuse(event, "too many sessions")
        if event.symbol not in self.config.symbols:
            return self._refuse(event, f"{event.symbol} is not traded here")
        if state.bound is not None and event.symbol != state.bound:
            return self._refuse(event, f"{event.symbol} is left: the contract of the day is {state.bound or 'none'}")
        writer = state.writers.setdefault(event.symbol, Writer(event.session, kind))
        if writer.session != event.session:
            return self._refuse(event, f"{event.symbol} is written by session {writer.session}")
        if writer.kind != kind:
            return self._refuse(event, f"{event.symbol} is written by {writer.kind}s, not by {kind}s, in this session")
        return []

    def _reduces(self, event: ev.TargetWanted | ev.OrderWanted) -> bool:
        """Whether a request only brings the position nearer to zero: then neither state nor limit stands against it."""
        position = self.state.positions.get(event.symbol)
        if position is None:
            return False
        if isinstance(event, ev.TargetWanted):
            return event.volume != position.net and towards_flat(event.volume, position.net) == event.volume
        return event.offset != Offset.OPEN and 0 < event.volume <= self.state.room(event.symbol, event.side)

    def _refuse(self, event: ev.TargetWanted | ev.OrderWanted, reason: str) -> list[Action]:
        fields = {"session": event.session, "revision": event.revision, "volume": event.volume, "reason": reason}
        return [Record("refused", fields), Answer(event.session, event.revision, AnswerStatus.REFUSED, reason)]

    def on_order_wanted(self, event: ev.OrderWanted) -> list[Action]:
        """A direct order: sent once as it is, or refused."""
        refused = self._claim(event, OrderKind.DIRECT)
        if refused:
            return refused
        state, symbol = self.state, event.symbol
        book, position = state.books.get(symbol), state.position(symbol)
        reason = why_not(event, position, state.live_orders(symbol), self.config.symbols[symbol])
        if state.trading_state is TradingState.HALTED or state.killed:  # killed, it closes by itself or not at all
            reason = state.limits
        elif state.trading_state is TradingState.REDUCING:
            reason = reason or ("" if self._reduces(event) else state.limits)
        if reason or book is None:
            return self._refuse(event, reason or "no tick yet")
        place = Place(
            side=event.side,
            offset=Offset(event.offset),
            volume=event.volume,
            price=event.price,
            tif=TimeInForce(event.tif),
            price_type=PriceType(event.price_type),
        )
        if reason := self._check.forbidden(symbol, place, book):
            return self._refuse(event, reason)
        sent = self._orders.place(symbol, place, event.session, event.revision, book, OrderKind.DIRECT)
        return [*sent, Answer(event.session, event.revision, AnswerStatus.ACCEPTED, "", sent[0].order.order_id)]

    def on_cancel_wanted(self, event: ev.CancelWanted) -> list[Action]:
        """Cancel a session's own direct orders, one or all."""
        if self.state.watermark.note(event.session, event.revision, self.state.now_ns) != "new":
            return [Answer(event.session, event.revision, AnswerStatus.DUPLICATE)]
        actions: list[Action] = []
        for order in self.state.every_live_order():
            mine = order.session == event.session and order.kind == OrderKind.DIRECT
            if mine and event.order_id in ("", order.order_id) and not (order.cancel_ns or order.over):
                actions += self._orders.cancel(order)
        status = AnswerStatus.ACCEPTED if actions else AnswerStatus.REFUSED
        reason = "" if actions else "no such order at work"
        return [*actions, Answer(event.session, event.revision, status, reason, event.order_id)]

    def release(self, session: str) -> list[Action]:
        """A session is gone: its symbols are free, its targets void, its orders cancelled."""
        state = self.state
        actions: list[Action] = []
        for symbol in [symbol for symbol, writer in state.writers.items() if writer.session == session]:
            del state.writers[symbol]
            state.targets.pop(symbol, None)
            for order in state.live_orders(symbol):
                if order.status in AT_WORK:
                    actions += self._orders.cancel(order)
        return actions
