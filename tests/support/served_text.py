"""Serves one text over HTTP on loopback, which a test changes as it goes, or bytes that are no HTTP."""

from __future__ import annotations

import contextlib
import socket
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


@contextmanager
def served_bytes(*answers: bytes) -> Iterator[str]:
    """Address of a server that says these bytes on each connection, one after the other, and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                for answer in answers:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/document.json"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)
