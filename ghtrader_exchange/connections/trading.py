"""Serves the trading socket: login, orders and cancellations of one client, and the updates of its account.

Nothing of a login but user name and whether it was right is kept: `client_system_info` and the like carry hardware
identifiers and are dropped with the message.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ghtrader_exchange.connections.account_items import login_item, notice_item, update_item
from ghtrader_exchange.connections.http_api import Credentials
from ghtrader_exchange.connections.socket import DiffSocket
from ghtrader_exchange.enums import NoticeLevel
from ghtrader_exchange.protocol.client_messages import (
    CancelOrder,
    InsertOrder,
    Login,
    MalformedOrder,
    OtherMessage,
    PeekMessage,
    PreInsertOrder,
    parse_trading_message,
)
from ghtrader_exchange.protocol.trading_rows import BROKERS_TEXT, MarginRow, margin_text
from ghtrader_exchange.venue.account_updates import AccountUpdate, Notice
from ghtrader_exchange.venue.accounts import Account
from ghtrader_exchange.venue.event_log import ReceivedMessage
from ghtrader_exchange.venue.orders import OrderRequest
from ghtrader_exchange.venue.venue import Venue

Received = Login | InsertOrder | CancelOrder | PreInsertOrder | MalformedOrder | OtherMessage


class TdSession:
    """One trading connection.

    Orders that come before the login are dropped without an answer: TqSdk sends what it had queued while the line was
    down before it logs in again, and the real service does not answer them either. Such an order stays ALIVE with the
    client for ever.
    """

    def __init__(self, socket: DiffSocket, venue: Venue, credentials: Credentials) -> None:
        self.socket = socket
        self.account: Account | None = None
        self._venue = venue
        self._credentials = credentials
        self._held: deque[tuple[float, str]] = deque()
        self._stop_listening: Callable[[], None] = lambda: None

    async def greet(self) -> None:
        """First words of the server, outside the peek rule."""
        await self.socket.send(BROKERS_TEXT)

    async def receive(self, text: str) -> None:
        """One message of the client; what is no JSON object is ignored and never logged."""
        message = parse_trading_message(text)
        match message:
            case None:
                return
            case PeekMessage():
                self.socket.peeked = True
            case _:
                self._treat(message)
        await self.step()

    def _treat(self, message: Received) -> None:
        """Note a message and obey it, if it is one that can be obeyed now."""
        account = self.account
        self._venue.note_received(_as_received(message, account.user if account is not None else ""))
        if isinstance(message, Login):
            self._login(message.user_name, message.password)
        if account is None:
            return
        match message:
            case InsertOrder():
                self._venue.insert(account, request_of(message))
            case MalformedOrder():
                self._venue.refuse_malformed(account, message.reason)
            case CancelOrder():
                self._venue.cancel(account, message.order_id)
            case PreInsertOrder():
                self._tell_margin(account, message)

    async def step(self) -> None:
        """Send what is due."""
        now = time.monotonic()
        while self._held and self._held[0][0] <= now:
            self.socket.push(self._held.popleft()[1])
        await self.socket.flush()

    def close(self) -> None:
        """The connection is gone."""
        self._stop_listening()

    def _login(self, user: str, password: str) -> None:
        if not self._credentials.may_trade(user, password):
            refused = self._venue.notice("登录失败: CTP:不合法的登录", level=NoticeLevel.ERROR, code=3)
            self.socket.push(notice_item(refused))
            return
        self._stop_listening()
        self.account = self._venue.login(user)
        self._stop_listening = self._venue.listen(user, self._on_update)
        notice = self._venue.notice("登录成功", level=NoticeLevel.INFO, code=1)
        self.socket.push(login_item(notice, self._venue.snapshot(self.account)))

    def _on_update(self, told: AccountUpdate | Notice) -> None:
        delay = self._venue.faults.ack_delay_s
        due = max(time.monotonic() + delay, self._held[-1][0] if self._held else 0.0)
        text = notice_item(told) if isinstance(told, Notice) else update_item(told)
        self._held += [(due, text)] * (1 + self._venue.faults.takes_repeat())

    def _tell_margin(self, account: Account, asked: PreInsertOrder) -> None:
        """TqSdk's local risk rules ask what one lot would bind."""
        margin = self._venue.margin_of_lot(asked.symbol)
        if margin is None:
            return
        row = MarginRow(
            order_id=asked.order_id,
            exchange_id=asked.exchange_id,
            instrument_id=asked.instrument_id,
            direction=asked.direction,
            offset=asked.offset,
            pre_margin=margin,
        )
        self.socket.push(margin_text(account.user, row))


def request_of(message: InsertOrder) -> OrderRequest:
    """A client's message as the venue takes it."""
    return OrderRequest(
        order_id=message.order_id,
        symbol=message.symbol,
        side=message.direction,
        offset=message.offset,
        volume=message.volume,
        price=message.limit_price,
        lifetime=message.lifetime,
        price_type=message.price_type,
    )


def _as_received(message: Received, user: str) -> ReceivedMessage:
    """What is recorded of a message: which order, and nothing else of it, since logins carry secrets."""
    at_ns = time.monotonic_ns()
    match message:
        case InsertOrder():
            return ReceivedMessage(
                aid="insert_order",
                order_id=message.order_id,
                user=user,
                symbol=message.symbol,
                direction=message.direction,
                offset=message.offset,
                volume=message.volume,
                limit_price=message.limit_price,
                at_ns=at_ns,
            )
        case MalformedOrder():
            return ReceivedMessage(aid="insert_order", order_id=message.order_id, user=user, at_ns=at_ns)
        case CancelOrder():
            return ReceivedMessage(aid="cancel_order", order_id=message.order_id, user=user, at_ns=at_ns)
        case PreInsertOrder():
            return ReceivedMessage(aid="pre_insert_order", order_id=message.order_id, user=user, at_ns=at_ns)
        case Login():
            return ReceivedMessage(aid="req_login", order_id="", user=user, at_ns=at_ns)
        case OtherMessage():
            return ReceivedMessage(aid=message.name, order_id=message.order_id, user=user, at_ns=at_ns)
