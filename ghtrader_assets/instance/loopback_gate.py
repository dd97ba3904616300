"""Lets only this machine's own pages and programs through to a web server: the one check in front of all we serve.

A web page that somebody opens can make the browser send requests to 127.0.0.1, and with DNS rebinding read the answers.
So the address asked for (Host) must be a loopback name, the page that asks (Origin) must be the one asked, nothing is
changed by GET, and a POST says that it is JSON, which no form and no image can. Another user of this machine is kept
out, unless a login is asked for. What a server does with a request that passed is not decided here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from ghtrader_assets.instance.connection_owner import is_ours
from ghtrader_assets.instance.login_links import LOGIN_PATH, TICKET

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""With any port: an SSH tunnel ends at a port of its own."""
_READING = ("GET", "HEAD", "OPTIONS")
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_JSON = "application/json"
_GRAPHQL = re.compile(r"/+graphql/*")
_FROM_HERE = ("same-origin", "none")
_ADDED = {"X-Frame-Options": "SAMEORIGIN", "Cross-Origin-Resource-Policy": "same-origin"}
"""Headers of every answer that does not say otherwise: no other page shows or embeds ours."""
_POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Refusal:
    """Why a request does not pass: the status of the answer, and a sentence for people."""

    status: HTTPStatus
    reason: str


def judge(scope: Scope) -> Refusal | None:
    """What is wrong with a request or a websocket's handshake; None: it may pass.

    Parameters
    ----------
    scope : dict
        Of ASGI, type `http` or `websocket`.
    """
    headers = Headers(scope=scope)
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
        return Refusal(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to localhost, 127.0.0.1 and [::1] alone")
    if origins and (len(origins) != 1 or origins[0].lower() != f"http://{hosts[0].lower()}"):
        return Refusal(HTTPStatus.FORBIDDEN, "a page of another origin asked")
    if scope["type"] == "websocket":
        if not origins:
            return Refusal(HTTPStatus.FORBIDDEN, "a websocket says which page opens it")
        return None if _asked_from_here(headers) else Refusal(HTTPStatus.FORBIDDEN, "a page of another site asked")
    return _judge_method(scope, headers)


def _judge_method(scope: Scope, headers: Headers) -> Refusal | None:
    method = scope["method"]
    if method not in _READING + _CHANGING:
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not served")
    if not _asked_from_here(headers) and not _is_link(method, headers):
        return Refusal(HTTPStatus.FORBIDDEN, "a page of another site asked")
    if _GRAPHQL.fullmatch(scope["path"]) and method in _READING and not _wants_page(method, headers):
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "GraphQL is asked by POST")
    if method == "POST":
        # Browsers send other content types from any page without asking; PUT, PATCH and DELETE they ask for first.
        kinds = headers.getlist("content-type")
        if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != _JSON:
            return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a POST carries {_JSON}")
    return None


def _asked_from_here(headers: Headers) -> bool:
    """Whether no browser says that another site asks; programs and old browsers do not say."""
    return all(site.lower() in _FROM_HERE for site in headers.getlist("sec-fetch-site"))


def _is_link(method: str, headers: Headers) -> bool:
    """A person followed a link: a whole page is shown, and whoever wrote the link sees nothing of it."""
    modes, places = headers.getlist("sec-fetch-mode"), headers.getlist("sec-fetch-dest")
    return method in ("GET", "HEAD") and modes == ["navigate"] and places == ["document"]


def _wants_page(method: str, headers: Headers) -> bool:
    """Dagster answers such a GET of /graphql with its playground and executes nothing."""
    return method == "GET" and "text/html" in headers.get("accept", "")


class LoopbackGate:
    """ASGI middleware in front of one server.

    Parameters
    ----------
    app : ASGI application
    login : callable, optional
        Takes the ticket of a login link and says whether it is good, once. Without one nobody has to log in, and
        only this user and root get in, wherever the system says whose a connection is.
    name : str
        Of the server, part of its cookie's name: browsers send cookies to every port of a host.
    """

    def __init__(self, app: ASGIApp, login: Callable[[str], bool] | None = None, name: str = "web") -> None:
        self._app = app
        self._ours_alone = login is None
        if login is not None:
            # A key of this start alone: logins end with the server.
            self._app = SessionMiddleware(
                _LoginRequired(app, login),
                secrets.token_urlsafe(32),
                session_cookie=f"ghtrader-{name}",
                same_site="strict",
                max_age=None,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the reason why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise ValueError(f"no check for {scope['type']}")
        refusal = judge(scope)
        if refusal is None and self._ours_alone and not is_ours(scope.get("client"), scope.get("server")):
            reason = "another user of this machine asked: GHTRADER_WEB_LOGIN=true lets those in who have a link"
            refusal = Refusal(HTTPStatus.FORBIDDEN, reason)
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
            return
        await self._app(scope, receive, _with_headers(send))


class _LoginRequired:
    """Refuses who has not logged in; takes the ticket of a link at `LOGIN_PATH`."""

    def __init__(self, app: ASGIApp, login: Callable[[str], bool]) -> None:
        self._app = app
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == LOGIN_PATH:
            await self._take(scope)(scope, receive, send)
        elif scope["session"].get("in"):
            await self._app(scope, receive, send)
        else:
            reason = "log in with the link that `ghtrader up` prints; each works once"
            await _refuse(Refusal(HTTPStatus.UNAUTHORIZED, reason), scope, receive, send)

    def _take(self, scope: Scope) -> Response:
        if scope["method"] != "GET" or not self._login(HTTPConnection(scope).query_params.get(TICKET, "")):
            reason = "this link was used or replaced: `ghtrader up` prints a new one"
            return PlainTextResponse(reason, HTTPStatus.UNAUTHORIZED)
        scope["session"]["in"] = True
        unseen = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return RedirectResponse("/", HTTPStatus.SEE_OTHER, unseen)


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before the handshake is accepted: the server answers it with 403.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal.reason})
        return
    response = PlainTextResponse(f"ghtrader refuses this request: {refusal.reason}\n", refusal.status, _ADDED)
    await response(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name, value in _ADDED.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
