"""Serves the control API over HTTP, for the demo and for tests: clock, fills, orders, positions, faults.

Everything is JSON. It says nothing about the future of the tape and nothing about what drives it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ghtrader_exchange.faults.data_faults import DATA_FAULTS, DataFaults
from ghtrader_exchange.faults.order_faults import CONNECTION_FAULTS
from ghtrader_exchange.protocol.encoding import beijing_text, with_missing
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_exchange.venue.venue import Venue

CutLines = Callable[[str], Awaitable[int]]


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
        """Change `speed`, `frozen`, `at_ns`, `skip_closed`; time cannot be set back."""
        body = await _body(request, {"speed", "frozen", "at_ns", "skip_closed"})
        at_ns = body.get("at_ns")
        if at_ns is not None and (type(at_ns) is not int or at_ns < self._market.now()):
            raise _refused(f"at_ns must be a whole number, not before the clock's now ({self._market.now()})")
        try:
            self._market.clock.set(**body)
        except (TypeError, ValueError) as error:
            raise _refused(str(error)) from None
        self._venue.step()
        return self._clock_answer()

    async def fills(self, request: web.Request) -> web.Response:
        """Every fill the exchange recorded, oldest first; `?account=` for one account."""
        self._venue.step()
        rows = [
            trade.row(account.user)
            | {"symbol": trade.symbol, "trading_day": str(trade.trading_day), "maker": trade.maker}
            for account in self._chosen(request)
            for trade in account.trades.values()
        ]
        return web.json_response(sorted(rows, key=lambda row: row["seqno"]))

    async def orders(self, request: web.Request) -> web.Response:
        """Every order, refused ones too, oldest first; `?account=` for one account."""
        self._venue.step()
        rows = [
            order.row(account.user) | {"symbol": order.request.symbol, "trading_day": str(order.trading_day)}
            for account in self._chosen(request)
            for order in account.every_order()
        ]
        return web.json_response(sorted(rows, key=lambda row: row["seqno"]))

    async def positions(self, request: web.Request) -> web.Response:
        """Account to its money and positions, as the trading socket tells them; `?account=` for one."""
        self._venue.step()
        answer = {}
        for account in self._chosen(request):
            told = with_missing(self._venue.snapshot(account)[account.user])
            answer[account.user] = {"account": told["accounts"]["CNY"], "positions": told["positions"]}
        return web.json_response(answer)

    async def received(self, request: web.Request) -> web.Response:
        """Every message that came over a trading socket, obeyed or not, oldest first: what it was, which order."""
        return web.json_response(self._venue.received)

    async def record(self, request: web.Request) -> web.Response:
        """What became of orders, oldest first, each step with the machine's monotonic time."""
        self._venue.step()
        return web.json_response(self._venue.record)

    async def fault(self, request: web.Request) -> web.Response:
        """Let something go wrong: `kind`, and `seconds`, `count`, `reason`, `symbol`, `day` where it takes them."""
        body = await _body(request, {"kind", "seconds", "count", "reason", "symbol", "day"})
        kind = str(body.pop("kind", ""))
        if kind in CONNECTION_FAULTS:
            return web.json_response({"kind": kind, "connections": await self._cut_lines(kind)})
        data = self._data_faults
        try:
            if kind in DATA_FAULTS:
                data.set(kind, **body)
            else:
                self._venue.faults.set(kind, **body)
        except (TypeError, ValueError) as error:
            raise _refused(str(error)) from None
        if kind == "clear":
            data.clear()
        return web.json_response({"kind": kind, "in_force": asdict(self._venue.faults) | {"data": data.told()}})

    def _chosen(self, request: web.Request) -> list[Any]:
        wanted = request.query.get("account")
        return [account for user, account in self._venue.accounts.items() if wanted in (None, user)]

    def _clock_answer(self) -> web.Response:
        state = asdict(self._market.clock.state())
        now = state["now_ns"]
        day = self._market.calendar.trading_day_of(now)
        return web.json_response(state | {"beijing": beijing_text(now), "trading_day": str(day)})


def _refused(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


async def _body(request: web.Request, known: set[str]) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise _refused("the body is no JSON") from None
    if not isinstance(body, dict) or not set(body) <= known:
        raise _refused(f"known fields: {', '.join(sorted(known))}")
    return body
