"""Serves one text over HTTP on loopback, which a test changes as it goes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


@contextmanager
def served_text() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Address, and a dict whose `it` is answered to every GET; its `url` is the address again."""
    body = {"it": b"[]"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body["it"])

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/holidays.json"
    body["url"] = url.encode()
    try:
        yield url, body
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
