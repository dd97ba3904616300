"""A service is asked where it stands; the vendor's is known by its address and not asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ghtrader_base.errors import UnreachableError
from ghtrader_base.settings import load_settings
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.tick_origin import OriginKind
from ghtrader_market.sources.tqsdk.service_origin import VENDOR, origin_of_service

ORIGIN = Scenario(seed=5).origin


class Pages(BaseHTTPRequestHandler):
    """Serves `/origin`, and nothing where `tells` is off."""

    tells = True

    def do_GET(self) -> None:
        body = json.dumps(ORIGIN.to_dict()).encode() if self.tells and self.path == "/origin" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_address_that_serves_market_data_is_asked(
    home: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody there: loopback is asked past it
    monkeypatch.setenv("TQ_AUTH_URL", "https://auth.shinnytech.com")
    monkeypatch.setenv("TQ_MD_URL", f"ws://127.0.0.1:{port}/md")
    assert origin_of_service(load_settings(home)) == ORIGIN
    monkeypatch.setattr(Pages, "tells", False)  # a simulated exchange of an older version, or somebody else's service
    found = origin_of_service(load_settings(home))
    assert found.kind == OriginKind.UNKNOWN and found.words == f"source unknown (127.0.0.1:{port})"
    monkeypatch.setenv("TQ_MD_URL", "ws://127.0.0.1:9/md")
    with pytest.raises(UnreachableError, match="127.0.0.1:9/origin"):
        origin_of_service(load_settings(home))


def test_the_vendor_is_known_by_its_address(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TQ_AUTH_URL", "TQ_MD_URL"):
        monkeypatch.delenv(name, raising=False)
    assert origin_of_service(load_settings(home)) == VENDOR
    monkeypatch.setenv("TQ_MD_URL", "wss://free-api.shinnytech.com/t/nfmd/front/mobile")
    assert origin_of_service(load_settings(home)) == VENDOR
    monkeypatch.setenv("TQ_MD_URL", "ws://127.0.0.1:9/shinnytech.com")  # an address that only looks like it
    with pytest.raises(UnreachableError):
        origin_of_service(load_settings(home))
