"""Serves the control API over HTTP, for the demo and for tests: clock, fills, orders, positions, faults.

Requests and replies are `control_messages`. It says nothing about the future of the tape and nothing about what drives
it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from ghtrader_exchange.connections.account_items import money_row, order_row, position_row, trade_row
from ghtrader_exchange.control_messages import (
    AccountRecord,
    ClockReply,
    DataFaultsState,
    DayFaultState,
    FaultReply,
    FaultsState,
    FillRecord,
    InjectFault,
    LineFaultState,
    OrderRecord,
    Refusal,
    SetClock,
)
from ghtrader_exchange.faults.data_faults import DataFaults
from ghtrader_exchange.faults.fault_kinds import CONNECTION_FAULTS, DATA_FAULTS, FaultKind
from ghtrader_exchange.faults.order_faults import OrderFaults
from ghtrader_exchange.protocol.encoding import beijing_text
from ghtrader_exchange.venue.accounts import Account
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_exchange.venue.orders import Order, Trade
from ghtrader_exchange.venue.venue import Venue

CutLines = Callable[[FaultKind], Awaitable[int]]
_Request = TypeVar("_Request", bound=msgspec.Struct)


class ControlDesk:
    """Handlers of `/control`.

    Parameters
    ----------
    cut_lines : callable
        Carries out one of `CONNECTION_FAULTS` and returns how many connections it hit.
    """

    def __init__(self, market: MarketView, venue: Venue, data_faults: DataFaults, cut_lines: CutLines) -> None:
        self._market = market
        self._venue = venue
        self._data_faults = data_faults
        self._cut_lines = cut_lines

    def routes(self) -> list[web.RouteDef]:
        """Routes to add to the application."""
        return [
            web.get("/control/clock", self.clock),
            web.post("/control/clock", self.set_clock),
            web.get("/control/fills", self.fills),
            web.get("/control/orders", self.orders),
            web.get("/control/positions", self.positions),
            web.get("/control/received", self.received),
            web.get("/control/record", self.record),
            web.post("/control/fault", self.fault),
        ]

    async def clock(self, request: web.Request) -> web.Response:
        """Market time and trading day, speed, whether it stands."""
        return self._clock_answer()

    async def set_clock(self, request: web.Request) -> web.Response:
        """Change the clock; time cannot be set back."""
        change = await _body(request, SetClock)
        if change.at_ns is not None and change.at_ns < self._market.now():
            raise _refused(f"at_ns must not lie before the clock's now ({self._market.now()})")
        try:
            self._market.clock.set(change.speed, change.frozen, change.at_ns, change.skip_closed)
        except ValueError as error:
            raise _refused(str(error)) from None
        self._venue.step()
        return self._clock_answer()

    async def fills(self, request: web.Request) -> web.Response:
        """Every fill the exchange recorded, oldest first; `?account=` for one account."""
        self._venue.step()
        fills = [_fill_record(one.user, trade) for one in self._chosen(request) for trade in one.trades.values()]
        return _answer(sorted(fills, key=lambda fill: fill.seqno))

    async def orders(self, request: web.Request) -> web.Response:
        """Every order, refused ones too, oldest first; `?account=` for one account."""
        self._venue.step()
        orders = [_order_record(one.user, order) for one in self._chosen(request) for order in one.every_order()]
        return _answer(sorted(orders, key=lambda order: order.seqno))

    async def positions(self, request: web.Request) -> web.Response:
        """Account to its money and positions; `?account=` for one."""
        self._venue.step()
        return _answer({account.user: self._account_record(account) for account in self._chosen(request)})

    async def received(self, request: web.Request) -> web.Response:
        """Every message that came over a trading socket, obeyed or not, oldest first: what it was, which order."""
        return _answer(self._venue.received)

    async def record(self, request: web.Request) -> web.Response:
        """What became of orders, oldest first, each step with the machine's monotonic time."""
        self._venue.step()
        return _answer(self._venue.record)

    async def fault(self, request: web.Request) -> web.Response:
        """Let something go wrong."""
        wanted = await _body(request, InjectFault)
        kind, data = wanted.kind, self._data_faults
        if kind in CONNECTION_FAULTS:
            return _answer(FaultReply(kind=kind, connections=await self._cut_lines(kind)))
        try:
            if kind in DATA_FAULTS:
                data.set(kind, wanted.seconds, wanted.count, wanted.symbol, wanted.day)
            else:
                self._venue.faults.set(kind, wanted.seconds, wanted.count, wanted.reason)
        except ValueError as error:
            raise _refused(str(error)) from None
        if kind == FaultKind.CLEAR:
            data.clear()
        return _answer(FaultReply(kind=kind, in_force=_in_force(self._venue.faults, data)))

    def _chosen(self, request: web.Request) -> list[Account]:
        wanted = request.query.get("account")
        return [account for user, account in self._venue.accounts.items() if wanted in (None, user)]

    def _account_record(self, account: Account) -> AccountRecord:
        now = self._venue.snapshot(account)
        positions = {position.symbol: position_row(account.user, position) for position in now.positions}
        return AccountRecord(money_row(account.user, now.money), positions)

    def _clock_answer(self) -> web.Response:
        state = self._market.clock.state()
        reply = ClockReply(
            now_ns=state.now_ns,
            speed=state.speed,
            frozen=state.frozen,
            skip_closed=state.skip_closed,
            beijing=beijing_text(state.now_ns),
            trading_day=self._market.calendar.trading_day_of(state.now_ns),
        )
        return _answer(reply)


def _fill_record(user: str, trade: Trade) -> FillRecord:
    row = msgspec.structs.asdict(trade_row(user, trade))
    return FillRecord(**row, symbol=trade.symbol, trading_day=trade.trading_day, maker=trade.maker)


def _order_record(user: str, order: Order) -> OrderRecord:
    row = msgspec.structs.asdict(order_row(user, order))
    return OrderRecord(**row, symbol=order.request.symbol, trading_day=order.trading_day)


def _in_force(orders: OrderFaults, data: DataFaults) -> FaultsState:
    return FaultsState(
        ack_delay_s=orders.ack_delay_s,
        repeat_next=orders.repeat_next,
        reject_next=orders.reject_next,
        reject_reason=orders.reject_reason,
        lose_next=orders.lose_next,
        data=DataFaultsState(
            [LineFaultState(one.kind, one.symbol, one.day, one.count, one.seconds) for one in data.lines if one.count],
            [DayFaultState(symbol, day, kind) for (symbol, day), kind in data.days.items()],
            data.refuses_for(),
            data.history_withheld,
        ),
    )


def _answer(reply: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(reply), content_type="application/json")


def _refused(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(body=msgspec.json.encode(Refusal(message)), content_type="application/json")


async def _body(request: web.Request, of: type[_Request]) -> _Request:
    """The request's body; refused with what is wrong where it is none."""
    try:
        return msgspec.json.decode(await request.read(), type=of)
    except msgspec.ValidationError as error:
        known = f"fields: {', '.join(of.__struct_fields__)}"
        if of is InjectFault and "`$.kind`" in str(error):
            raise _refused(f"unknown fault ({error}); known: {', '.join(FaultKind)}") from None
        raise _refused(f"{error}; {known}") from None
    except msgspec.DecodeError:
        raise _refused("the body is no JSON") from None
