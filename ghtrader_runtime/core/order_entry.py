"""Places and cancels the core's orders: the one place where either is decided to be done."""

from __future__ import annotations

from collections.abc import Callable

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Cancel, SendOrder, WriteIntent
from ghtrader_runtime.core.order_planning import Place
from ghtrader_runtime.core.orders import Order, OrderKind, OrderStatus
from ghtrader_runtime.core.state import AT_WORK, CoreConfig, CoreState, order_number


class OrderEntry:
    """Gives orders their numbers, remembers them, and says what is to be done to send or cancel them.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    order_id : callable
        Number of an intent to its client order id.
    """

    def __init__(self, config: CoreConfig, state: CoreState, order_id: Callable[[int], str]) -> None:
        self.config, self.state, self._order_id = config, state, order_id

    def place(
        self, symbol: str, place: Place, session: str, revision: int, book: ev.Book, kind: OrderKind
    ) -> list[WriteIntent | SendOrder]:
        """Send an order: its intent first. `kind` is TARGET or DIRECT; nothing is checked here."""
        state = self.state
        number = order_number(state.next_number, place.side)
        order = Order(
            order_id=self._order_id(number),
            symbol=symbol,
            side=place.side,
            offset=place.offset,
            volume=place.volume,
            price=place.price,
            tif=place.tif,
            left=place.volume,
            price_type=place.price_type,
            kind=kind,
            session=session,
            sent_ns=state.now_ns,
            sent_market_ns=book.market_ns,
        )
        state.next_number = number + 1
        state.track(order)
        state.sent_ns.append(state.market_ns)
        return [WriteIntent(order, session, revision, state.market_ns), SendOrder(order)]

    def cancel(self, order: Order) -> list[Action]:
        """Cancel an order; monitor-only sends nothing at all."""
        if self.config.monitor_only:
            return []
        order.cancel_ns = self.state.now_ns
        if order.status in AT_WORK:
            order.status = OrderStatus.CANCELLING
        return [Cancel(order.order_id)]
