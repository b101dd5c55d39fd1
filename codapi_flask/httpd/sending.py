"""Sends the rest of answers in the event loop: no thread waits for a client to receive."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Any

UNSENT_MAX = 1 << 26
"""Limit on the unsent bytes of several answers together; beyond it the oldest is cut off."""


class SendQueue:
    """The connections of one event loop whose clients are slow to receive."""

    def __init__(
        self, poller: selectors.BaseSelector, timeout: float, close: Callable[[Any], None]
    ) -> None:
        """Wait for clients with an event loop's `poller`; `close` is called with a connection."""
        self._poller, self._timeout, self._close = poller, timeout, close
        # in the order of their deadlines
        self._waiting: dict[Any, tuple[float, Callable[[], None]]] = {}
        self._size = 0

    def finish(self, conn: Any, then: Callable[[], None]) -> None:
        """Call `then` when nothing is left to send, at once if nothing is unsent."""
        if not conn.sock.unsent:
            then()
            return
        if conn.sock.fileno() < 0:
            # gunicorn has closed it
            self._close(conn)
            return
        self._waiting[conn] = time.monotonic() + self._timeout, then
        self._size += len(conn.sock.unsent)
        self._poller.register(conn.sock, selectors.EVENT_WRITE, lambda _: self._go_on(conn))
        while self._size > UNSENT_MAX and len(self._waiting) > 1:
            self._cut(next(iter(self._waiting)))

    def end_overdue(self) -> None:
        """Close the connections whose clients did not receive in time."""
        now = time.monotonic()
        for conn, (deadline, _) in list(self._waiting.items()):
            if deadline > now:
                break
            self._cut(conn)

    def _go_on(self, conn: Any) -> None:
        if conn not in self._waiting:
            # another event of the same poll cut it off
            return
        before = len(conn.sock.unsent)
        try:
            conn.sock.flush()
        except OSError:
            self._cut(conn)
            return
        self._size -= before - len(conn.sock.unsent)
        if not conn.sock.unsent:
            _, then = self._waiting.pop(conn)
            self._poller.unregister(conn.sock)
            then()

    def _cut(self, conn: Any) -> None:
        del self._waiting[conn]
        self._size -= len(conn.sock.unsent)
        self._poller.unregister(conn.sock)
        self._close(conn)
