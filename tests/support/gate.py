"""A host for the http engine that answers when a test lets it: its worker is busy until then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Gate(ThreadingHTTPServer):
    """A host that answers `/wait` only while it is open, other paths at once."""

    def __init__(self) -> None:
        self.waiting: set[object] = set()
        self.opened = threading.Event()
        super().__init__(("127.0.0.1", 0), Gatekeeper)

    @property
    def address(self) -> str:
        """Return the host and the port."""
        return f"127.0.0.1:{self.server_port}"


class Gatekeeper(BaseHTTPRequestHandler):
    """Answers one request of a gate."""

    server: Gate

    def do_GET(self) -> None:
        """Answer 200."""
        if self.path == "/wait":
            self.server.waiting.add(self.client_address)
            self.server.opened.wait(20)
        self.send_response_only(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serving() -> Iterator[Gate]:
    """Serve a gate, which opens at the end."""
    with Gate() as gate:
        threading.Thread(target=gate.serve_forever, args=[0.01], daemon=True).start()
        yield gate
        gate.opened.set()
        gate.shutdown()
