"""Lingering close: lets the client read its last answer before the connection closes.

Closing a connection whose client still sends resets it, and the client loses what it has not yet
read, the answer included. So the server shuts down its own side, then reads and discards until the
client closes.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

CHUNK = 1 << 16


class LingeringClose:
    """The connections of one event loop that are closing."""

    def __init__(self, poller: selectors.BaseSelector, close: Callable[[Any], None]) -> None:
        """Wait for clients with an event loop's `poller`; `close` is called with a connection."""
        self._poller, self._close = poller, close
        self._deadlines: dict[Any, float] = {}
        self._left: dict[Any, int] = {}

    def begin(self, conn: Any, seconds: float, size: int) -> None:
        """Shut the connection down for sending, and close it when the client has closed it.

        It is also closed after `seconds`, or when more than `size` further bytes have come.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._deadlines[conn], self._left[conn] = time.monotonic() + seconds, size
        self._poller.register(conn.sock, selectors.EVENT_READ, lambda _: self._drain(conn))

    def end_overdue(self) -> None:
        """Close the connections whose deadline has passed."""
        now = time.monotonic()
        for conn in [conn for conn, deadline in self._deadlines.items() if deadline <= now]:
            self._end(conn)

    def _drain(self, conn: Any) -> None:
        try:
            size = len(conn.sock.recv(CHUNK))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self._left[conn] -= size
        if not size or self._left[conn] < 0:
            self._end(conn)

    def _end(self, conn: Any) -> None:
        del self._deadlines[conn], self._left[conn]
        self._poller.unregister(conn.sock)
        self._close(conn)
