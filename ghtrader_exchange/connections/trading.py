"""Serves the trading socket: login, orders and cancellations of one client, and the updates of its account.

Nothing of a login but user name and whether it was right is kept: `client_system_info` and the like carry hardware
identifiers and are dropped with the message.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ghtrader_exchange.connections.http_api import Credentials
from ghtrader_exchange.connections.socket import DiffSocket
from ghtrader_exchange.protocol.encoding import dumps, with_missing
from ghtrader_exchange.venue.accounts import Account
from ghtrader_exchange.venue.venue import Venue


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
        await self.socket.send(dumps({"aid": "rtn_brokers", "brokers": ["simnow", "快期模拟"], "capabilities": {}}))

    async def receive(self, pack: dict[str, Any]) -> None:
        """One message of the client; an unknown one is ignored."""
        if pack.get("aid") != "peek_message":  # what and which order, and nothing else: logins carry secrets
            user = self.account.user if self.account is not None else ""
            self._venue.hear(user, pack)
        match pack.get("aid"):
            case "peek_message":
                self.socket.peeked = True
            case "req_login":
                self._login(str(pack.get("user_name", "")), str(pack.get("password", "")))
            case "insert_order" if self.account is not None:
                self._venue.insert(self.account, pack)
            case "cancel_order" if self.account is not None:
                self._venue.cancel(self.account, str(pack.get("order_id", "")))
            case "pre_insert_order" if self.account is not None:
                self._tell_margin(self.account, pack)
        await self.step()

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
            self.socket.push(dumps(self._venue.notice("登录失败: CTP:不合法的登录", level="ERROR", code=3)))
            return
        self._stop_listening()
        self.account = self._venue.login(user)
        self._stop_listening = self._venue.listen(user, self._hear)
        answer = self._venue.notice("登录成功", level="INFO", code=1)
        self.socket.push(dumps(answer | {"trade": with_missing(self._venue.snapshot(self.account))}))

    def _hear(self, item: dict[str, Any]) -> None:
        delay = self._venue.faults.ack_delay_s
        due = max(time.monotonic() + delay, self._held[-1][0] if self._held else 0.0)
        text = dumps(with_missing(item))
        self._held += [(due, text)] * (1 + self._venue.faults.takes_repeat())

    def _tell_margin(self, account: Account, pack: dict[str, Any]) -> None:
        """TqSdk's local risk rules ask what one lot would bind."""
        symbol = f"{pack.get('exchange_id', '')}.{pack.get('instrument_id', '')}"
        margin = self._venue.margin_of_lot(symbol)
        if margin is None:
            return
        fields = ("order_id", "exchange_id", "instrument_id", "direction", "offset")
        row = {name: pack.get(name, "") for name in fields} | {"pre_margin": margin}
        item = {"trade": {account.user: {"pre_insert_orders": {str(pack.get("order_id", "")): row}}}}
        self.socket.push(dumps(item))
