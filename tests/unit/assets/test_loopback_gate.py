"""The gate in front of our web servers: which requests pass, which do not, and the login."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Sequence

import pytest
from starlette.responses import PlainTextResponse

from ghtrader_assets.instance.login_links import LOGIN_PATH, login_link, take_ticket
from ghtrader_assets.instance.loopback_gate import LoopbackGate

HERE = "127.0.0.1:3000"
JSON = ("content-type", "application/json")
FOREIGN_HOSTS = [
    "evil.example", "evil.example:3000", "127.0.0.1.evil.example:3000", "localhost.evil.example", "localhost.",
    "0.0.0.0",
    "127.0.0.1@evil.example", "evil.example@127.0.0.1", "127.1:3000", "[::ffff:127.0.0.1]", "192.168.1.2:3000", "",
    "localhost:3000:3000", "127.0.0.1:300000", "127.0.0.1:3000\n", "127.0.0.1, evil.example",
]  # fmt: skip
FOREIGN_ORIGINS = [
    "http://evil.example", "null", "", "file://", "https://127.0.0.1:3000", "http://127.0.0.1:3001", "http://127.0.0.1",
    "http://localhost:3000", "http://127.0.0.1:3000.evil.example", "http://evil.example#http://127.0.0.1:3000",
]  # fmt: skip
KINDS = [
    None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql",
    "text/plain; application/json", "application/json-patch", "text/plain;charset=application/json",
]  # fmt: skip


class Answered:
    """What came back of one request, and whether the application behind the gate saw it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.seen = False

    async def app(self, scope, receive, send):
        self.seen = True
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await PlainTextResponse("served")(scope, receive, send)

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}


def ask(
    method: str, path: str, headers: Sequence[tuple[str, str]], gate: LoopbackGate | None = None,
    answered: Answered | None = None, user: int | None = None,
) -> Answered:  # fmt: skip
    """One request over a connection of this user's, or of `user`'s."""
    os.seteuid(os.geteuid() if user is None else user)
    try:
        client = socket.socket()
    finally:
        os.seteuid(os.getuid())
    with client, socket.create_server(("127.0.0.1", 0)) as listening:
        client.connect(listening.getsockname())
        taken, peer = listening.accept()
        with taken:
            return _asked(method, path, headers, gate, answered or Answered(), peer, taken.getsockname())


def _asked(method, path, headers, gate, answered, client, server) -> Answered:
    place, _, query = path.partition("?")
    scope = {
        "type": "websocket" if method == "WEBSOCKET" else "http", "method": method, "path": place,
        "query_string": query.encode(), "headers": [(name.encode(), value.encode()) for name, value in headers],
        "scheme": "http", "client": client, "server": server, "root_path": "", "http_version": "1.1",
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run((gate or LoopbackGate(answered.app))(scope, receive, answered.send))
    return answered


@pytest.mark.parametrize("host", [HERE, "localhost:3000", "LocalHost:48123", "[::1]:3000", "127.0.0.1"])
def test_pages_of_this_machine_work(host):
    ours = [("host", host), ("origin", f"http://{host}")]
    site = ("sec-fetch-site", "same-origin")
    assert ask("POST", "/graphql", [*ours, site, JSON]).seen
    assert ask("POST", "/graphql", [*ours, ("content-type", "Application/JSON; charset=utf-8")]).seen
    assert ask("POST", "/graphql", [("host", host), JSON]).seen, "a program says no origin"
    assert ask("WEBSOCKET", "/graphql", ours).seen
    assert ask("PUT", "/artifacts", [*ours, ("content-type", "text/plain")]).seen
    page = ask("GET", "/runs", [("host", host), ("sec-fetch-site", "none")])
    assert page.seen and page.headers["x-frame-options"] == "SAMEORIGIN"
    assert page.headers["cross-origin-resource-policy"] == "same-origin"
    assert ask("GET", "/graphql", [("host", host), ("accept", "text/html,*/*")]).seen, "the playground"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "WEBSOCKET"])
def test_no_foreign_host_or_origin_passes_by_any_method(method):
    for host, kind in itertools.product(FOREIGN_HOSTS, [JSON, ("content-type", "text/plain")]):
        for origin in (f"http://{host}", f"http://{HERE}"):
            assert not ask(method, "/x", [("host", host), ("origin", origin), kind]).seen, (host, origin)
        assert not ask(method, "/x", [("host", host), kind]).seen, host
    for origin in FOREIGN_ORIGINS:
        assert not ask(method, "/x", [("host", HERE), ("origin", origin), JSON]).seen, origin
    ours = ("origin", f"http://{HERE}")
    assert not ask(method, "/x", [ours, JSON]).seen, "no host"
    assert not ask(method, "/x", [("host", HERE), ("host", "evil.example"), ours, JSON]).seen
    assert not ask(method, "/x", [("host", HERE), ours, ("origin", "http://evil.example"), JSON]).seen
    for site in ("cross-site", "same-site", "none, cross-site"):
        assert not ask(method, "/x", [("host", HERE), ("sec-fetch-site", site), ours, JSON]).seen, site


@pytest.mark.parametrize("kind", KINDS)
def test_a_post_is_json_or_refused(kind):
    given = [] if kind is None else [("content-type", kind)]
    for origin in ([], [("origin", f"http://{HERE}")]):
        assert ask("POST", "/graphql?query=mutation", [("host", HERE), *origin, *given]).status == 415
        assert not ask("POST", "/x", [("host", HERE), *origin, *given, JSON]).seen or kind is None


def test_graphql_is_not_asked_by_get():
    for path in ("/graphql", "//graphql", "/graphql/"):
        for method in ("GET", "HEAD", "OPTIONS"):
            for accept in ([], [("accept", "*/*")], [("accept", "image/avif,image/*,*/*;q=0.8")]):
                asked = ask(method, f"{path}?query=mutation", [("host", HERE), *accept])
                assert asked.status == 405 and not asked.seen
    for method in ("HEAD", "OPTIONS"):
        assert not ask(method, "/graphql", [("host", HERE), ("accept", "text/html")]).seen, "no page is shown for it"


def test_a_link_from_another_page_opens_ours_and_nothing_embeds_it():
    linked = [("host", HERE), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
    assert ask("GET", "/runs", [*linked, ("sec-fetch-dest", "document")]).seen
    assert not ask("GET", "/runs", [*linked, ("sec-fetch-dest", "iframe")]).seen
    assert not ask("POST", "/graphql", [*linked, ("sec-fetch-dest", "document"), JSON]).seen
    image = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")]
    assert not ask("GET", "/x.png", [("host", HERE), *image]).seen


def test_a_websocket_says_where_it_comes_from():
    assert not ask("WEBSOCKET", "/graphql", [("host", HERE)]).seen


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_of_this_machine_has_to_log_in(settings):
    host, nobody = ("host", HERE), 65_534
    for method, more in (("GET", []), ("POST", [JSON]), ("WEBSOCKET", [("origin", f"http://{HERE}")])):
        assert not ask(method, "/", [host, *more], user=nobody).seen
        assert ask(method, "/", [host, *more]).seen
    answered = Answered()
    gate = LoopbackGate(answered.app, lambda ticket: ticket == "good", "mlflow")
    assert ask("GET", "/", [host], gate, answered, nobody).status == 401
    cookie = ask("GET", f"{LOGIN_PATH}?ticket=good", [host], gate, answered, nobody).headers["set-cookie"]
    assert ask("GET", "/", [host, ("cookie", cookie.partition(";")[0])], gate, answered, nobody).seen


def test_what_is_no_request_is_no_way_in():
    with pytest.raises(ValueError, match="no check"):
        asyncio.run(LoopbackGate(Answered().app)({"type": "other"}, None, None))


def test_a_login_link_works_once_and_its_cookie_from_then_on(settings):
    answered = Answered()
    gate = LoopbackGate(answered.app, lambda ticket: take_ticket(settings, "mlflow", ticket), "mlflow")
    host = ("host", HERE)
    for method, more in (("GET", []), ("POST", [JSON]), ("WEBSOCKET", [("origin", f"http://{HERE}")])):
        assert not ask(method, "/", [host, *more], gate, answered).seen
    replaced, link = (login_link(settings, "mlflow", f"http://{HERE}") for _ in range(2))
    assert link.startswith(f"http://{HERE}{LOGIN_PATH}?")
    secret = link.rpartition("=")[2]
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    assert files and all(secret not in path.read_text() for path in files)
    assert all(path.parent.stat().st_mode & 0o077 == 0 for path in files)

    def take(url, method="GET"):
        return ask(method, url.removeprefix(f"http://{HERE}"), [host], gate, answered)

    assert take(replaced).status == 401
    assert take(f"{link}x").status == 401
    assert ask("GET", LOGIN_PATH, [host], gate, answered).status == 401
    done = take(link)
    assert done.status == 303 and done.headers["location"] == "/"
    cookie = done.headers["set-cookie"]
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    assert take(link).status == 401, "once"
    logged_in = ("cookie", cookie.partition(";")[0])
    assert not answered.seen
    assert ask("GET", "/", [host, logged_in], gate, answered).seen
    answered.seen = False
    assert not ask("POST", "/", [host, logged_in, JSON, ("origin", "http://evil.example")], gate, answered).seen
    assert not ask("GET", "/", [host, (*logged_in[:1], logged_in[1] + "x")], gate, answered).seen
    other = LoopbackGate(answered.app, lambda ticket: False, "mlflow")
    assert not ask("GET", "/", [host, logged_in], other, answered).seen, "a login ends with its server"
