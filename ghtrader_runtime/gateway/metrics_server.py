"""Serves the metrics on 127.0.0.1 to whoever shows the token of the home.

They show positions and PnL, and every user of a machine reaches its loopback address: a request needs the bearer token
of a file that this user alone can read, and a Host that names this machine. What the metrics are is `prometheus`'
business.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from ghtrader_base.errors import PortInUseError
from ghtrader_base.files import atomic_write_text, open_file
from ghtrader_base.settings import Settings

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
_TOKEN_BYTES = 32
_MOST_BYTES = 4096
_AT_ONCE = 8
"""Requests that are answered side by side; one more is cut off, so that nobody fills the gateway with threads."""
_PATIENCE_S = 5.0
"""For a client to say what it wants."""

_Answer = Callable[..., Any]


def make_token(settings: Settings) -> Path:
    """The file of the token, made (0600) where there is none yet; one for all gateways of a home.

    Raises
    ------
    ConfigError
        It cannot be written.
    """
    path = settings.metrics_token
    if not _read(path):
        atomic_write_text(path, secrets.token_urlsafe(_TOKEN_BYTES) + "\n")
    return path


def _read(path: Path) -> str:
    try:
        with open_file(path) as file:  # a pipe would be waited for, at the start of a gateway too
            found = file.read(_MOST_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        return ""
    return found if len(found) >= _TOKEN_BYTES else ""


class MetricsServer:
    """Serves a collector at `http://127.0.0.1:<port>/metrics` until closed.

    Parameters
    ----------
    collector : Collector
        Asked for each request that may see it.
    token : Path
        File of the token, read for each request: a new one counts at once, and without one nobody is answered.
    port : int
        0 for any that is free; `port` says which it is.

    Raises
    ------
    PortInUseError
        Somebody else has it.
    """

    def __init__(self, collector: Collector, token: Path, port: int = 0) -> None:
        from prometheus_client import CollectorRegistry, make_wsgi_app

        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as exc:
            raise PortInUseError(
                f"port {port} for metrics is in use", "choose another in GHTRADER_METRICS_PORT, or 0 for any"
            ) from exc
        self._server.set_app(_gate(make_wsgi_app(registry), token))
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where Prometheus finds it."""
        return f"http://{HOST}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def _gate(app: _Answer, token: Path) -> _Answer:
    """`app` for those who may: the right Host, path, method and token, asked in this order."""

    def answer(environ: dict[str, Any], start_response: _Answer) -> Iterable[bytes]:
        def refuse(status: str, *headers: tuple[str, str]) -> list[bytes]:
            text = f"{status}\n".encode()
            start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), *headers])
            return [text]

        name, _, port = environ.get("HTTP_HOST", "").partition(":")
        if name.lower() not in _NAMES or not (port.isdecimal() or port == ""):
            return refuse("403 Forbidden")  # a web page whose name was made to lead here
        if environ.get("PATH_INFO") != "/metrics":
            return refuse("404 Not Found")
        if environ["REQUEST_METHOD"] != "GET":
            return refuse("405 Method Not Allowed", ("Allow", "GET"))
        wanted = _read(token)
        scheme, _, shown = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode("latin-1", "replace"), wanted.encode())
        if not (wanted and right and scheme.lower() == "bearer"):
            return refuse("401 Unauthorized", ("WWW-Authenticate", 'Bearer realm="ghtrader"'))
        found: Iterable[bytes] = app(environ, start_response)
        return found

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, `_AT_ONCE` of them at most."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no fault of the gateway."""


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asks is not told to stderr."""
