"""Answers what TqSdk asks over plain HTTP: the token, the grants, the holidays, the continuous table.

And what ghTrader asks: `/origin`, which says that this is a simulated exchange, its world and its seed.

The token is a JWT as the real service makes it, signed with a key of this process; TqSdk does not check it. A wrong
user or password is answered the way the real service answers.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

import jwt
from aiohttp import web

from ghtrader_exchange.faults.data_faults import DataFaults
from ghtrader_exchange.venue.market_view import MarketView

REALM = "/auth/realms/shinnytech"
FEATURES = ("futr", "tq_dl", "tq_ma", "tq_lc_rk", "tq_trading_status", "tq_bt")
HISTORY = "tq_dl"
"""The right to history, among them."""
USER_ID = "5b0c0f0e-6d1f-4c5e-9a54-67687472616f"
"""The JWT's `sub`: user name and password of TqKq's account."""


@dataclass(frozen=True)
class Credentials:
    """Who may enter. `user` and `password` are the TqSdk account's; `account_password` is that of every TqAccount."""

    user: str = "ghtrader"
    password: str = "simulated"
    account_id: str = "600001"
    account_password: str = "simulated"

    def may_enter(self, user: str, password: str) -> bool:
        """Whether the TqSdk account's credentials are right."""
        return _same(user, self.user) and _same(password, self.password)

    def may_trade(self, user: str, password: str) -> bool:
        """Whether a trading login is right: TqKq's own (by number too), or any account id with the account password."""
        if user.startswith(USER_ID):
            number = user[len(USER_ID) :]
            return _same(password, f"shinnytech{number}" if number else USER_ID)
        return bool(user) and _same(password, self.account_password)


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


@dataclass
class HttpDesk:
    """Handlers of the plain HTTP part."""

    market: MarketView
    credentials: Credentials
    faults: DataFaults
    _key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    _refresh: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def routes(self) -> list[web.RouteDef]:
        """Routes to add to the application."""
        return [
            web.post(REALM + "/protocol/openid-connect/token", self.token),
            web.get(REALM + "/rest/get-grant/tq", self.grants),
            web.put(REALM + "/rest/update-grant-accounts/{account}", self.add_account),
            web.get("/holidays.json", self.holidays),
            web.get("/continuous.json", self.continuous),
            web.get("/origin", self.origin),
        ]

    async def token(self, request: web.Request) -> web.Response:
        """Password or refresh grant; 401 where it does not fit, 503 while nobody may enter."""
        if self.faults.refuses_login():
            return web.json_response({"error": "temporarily_unavailable"}, status=503)
        form = await request.post()
        if form.get("grant_type") == "refresh_token":
            good = _same(str(form.get("refresh_token", "")), self._refresh)
        else:
            good = self.credentials.may_enter(str(form.get("username", "")), str(form.get("password", "")))
        if not good:
            return web.json_response(
                {"error": "invalid_grant", "error_description": "用户名或密码错误"}, status=401
            )
        features = [name for name in FEATURES if name != HISTORY or not self.faults.history_withheld]
        grants = {"features": features, "accounts": ["*"]}
        access = jwt.encode({"sub": USER_ID, "grants": grants}, self._key, algorithm="HS256")
        answer = {"access_token": access, "refresh_token": self._refresh, "expires_in": 36_000, "token_type": "Bearer"}
        return web.json_response(answer)

    async def grants(self, request: web.Request) -> web.Response:
        """Until when the TqSdk account is good: for ever."""
        return web.json_response({"exp": 4_102_415_999, "daysleft": 9_999, "account_type": "pro"})

    async def add_account(self, request: web.Request) -> web.Response:
        """Any trading account may be bound to the TqSdk account."""
        return web.json_response({})

    async def holidays(self, request: web.Request) -> web.Response:
        """Weekdays that do not trade, as the vendor's list has them."""
        return web.json_response([str(day) for day in self.market.calendar.holidays])

    async def origin(self, request: web.Request) -> web.Response:
        """That these ticks are simulated, and of what world and seed; TqSdk does not ask."""
        return web.json_response(self.market.history.scenario.origin.to_dict())

    async def continuous(self, request: web.Request) -> web.Response:
        """`{"SHFE.cu": [["20250106", "SHFE.cu2502"], ...]}`: first day of each main contract up to today."""
        table: dict[str, list[list[str]]] = {}
        for variety in self.market.varieties:
            changes: list[list[str]] = []
            for day, contract in self.market.main_contracts(variety.key):
                if not changes or changes[-1][1] != contract:
                    changes.append([f"{day:%Y%m%d}", contract])
            table[f"{variety.exchange}.{variety.product}"] = changes
        return web.json_response(table)
