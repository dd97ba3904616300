"""Handles a strategy's requests in the core: targets, direct orders, cancels.

A request counts once, by its session and revision. The first to write a symbol keeps it, in the way it began (targets
or direct orders), until its session is gone. Every request is answered.
"""

from __future__ import annotations

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Answer, Record, SendOrder, WriteIntent
from ghtrader_runtime.core.execution import Place, why_not
from ghtrader_runtime.core.orders import Order, TradingState
from ghtrader_runtime.core.state import CoreConfig, CoreState, WantedPosition, Writer


class SessionRequests:
    """The part of the core that handles what strategies ask for."""

    config: CoreConfig
    state: CoreState

    def _advance(self, symbol: str) -> list[Action]:
        raise NotImplementedError

    def _cancel(self, order: Order) -> list[Action]:
        raise NotImplementedError

    def _forbidden(self, symbol: str, place: Place, book: ev.Book) -> str:
        raise NotImplementedError

    def _place(
        self, symbol: str, place: Place, session: str, revision: int, book: ev.Book, kind: str
    ) -> list[WriteIntent | SendOrder]:
        raise NotImplementedError

    def _on_target(self, event: ev.TargetWanted) -> list[Action]:
        refused = self._claim(event, "target")
        if refused:
            return refused
        limit = self.config.limits.max_position
        if abs(event.volume) > limit:
            return self._refuse(event, f"target {event.volume:+d} of {event.symbol}, at most {limit} allowed")
        state = self.state
        known = state.targets.get(event.symbol)
        if known is None or known.volume != event.volume:
            state.chases[event.symbol] = 0
        state.targets[event.symbol] = WantedPosition(event.session, event.revision, event.volume)
        actions = self._advance(event.symbol)
        return [*actions, Answer(event.session, event.revision, "accepted", state.limits)]

    def _claim(self, event: ev.TargetWanted | ev.OrderWanted, kind: str) -> list[Action]:
        """Whether a session may write a symbol in this way; what to answer where it may not."""
        state = self.state
        verdict = state.watermark.note(event.session, event.revision, state.now_ns)
        if verdict == "duplicate":
            return [Answer(event.session, event.revision, "duplicate")]
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

    def _refuse(self, event: ev.TargetWanted | ev.OrderWanted, reason: str) -> list[Action]:
        fields = {"session": event.session, "revision": event.revision, "volume": event.volume, "reason": reason}
        return [Record("refused", fields), Answer(event.session, event.revision, "refused", reason)]

    def _on_order_wanted(self, event: ev.OrderWanted) -> list[Action]:
        refused = self._claim(event, "direct")
        if refused:
            return refused
        state, symbol = self.state, event.symbol
        book, position = state.books.get(symbol), state.position(symbol)
        reason = why_not(event, position, state.live_orders(symbol), self.config.symbols[symbol])
        if state.trading_state is TradingState.HALTED or state.killed:
            reason = state.limits
        elif state.trading_state is TradingState.REDUCING:
            out = sum(o.pending for o in state.live_orders(symbol) if o.side == event.side)
            shrinks = event.offset != "OPEN" and 0 < event.volume <= -event.side * position.net - out
            reason = reason or ("" if shrinks else state.limits)
        place = Place(event.side, event.offset, event.volume, event.price, event.tif, event.price_type)
        reason = reason or ("no tick yet" if book is None else self._forbidden(symbol, place, book))
        if reason or book is None:
            return self._refuse(event, reason)
        sent = self._place(symbol, place, event.session, event.revision, book, "direct")
        return [*sent, Answer(event.session, event.revision, "accepted", "", sent[0].order.order_id)]

    def _on_cancel_wanted(self, event: ev.CancelWanted) -> list[Action]:
        if self.state.watermark.note(event.session, event.revision, self.state.now_ns) != "new":
            return [Answer(event.session, event.revision, "duplicate")]
        actions: list[Action] = []
        for order in self.state.every_live_order():
            mine = order.session == event.session and order.kind == "direct"
            if mine and event.order_id in ("", order.order_id) and not (order.cancel_ns or order.over):
                actions += self._cancel(order)
        status = "accepted" if actions else "refused"
        reason = "" if actions else "no such order at work"
        return [*actions, Answer(event.session, event.revision, status, reason, event.order_id)]
