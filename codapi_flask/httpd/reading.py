"""Reads requests in the event loop: no thread waits for a client to send."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from codapi_flask.httpd.edge import Edge
from codapi_flask.httpd.request import RequestBuffer

CHUNK = 1 << 16
"""Bytes of one read."""

SIZE_MAX = 1 << 28
"""Limit on the bytes of all incomplete requests together; beyond it the oldest is refused."""


class RequestReader:
    """The connections of one event loop whose request is incomplete.

    Each request has one deadline for head and body together.
    """

    def __init__(
        self,
        poller: selectors.BaseSelector,
        edge: Edge,
        close: Callable[[Any], None],
        refuse: Callable[[Any, int, str], None],
        answer: Callable[[Any, RequestBuffer], None],
    ) -> None:
        """Read with an event loop's `poller`; every callback is called with a connection.

        `answer` also gets the complete request, `refuse` the status and the origin of a refused
        one; `close` is for a connection that failed or sent nothing.
        """
        self._poller, self._edge = poller, edge
        self._close, self._refuse, self._answer = close, refuse, answer
        # in the order of their deadlines
        self._buffers: dict[Any, RequestBuffer] = {}

    def start(self, conn: Any, data: bytes = b"") -> None:
        """Read a connection's next request, of which `data` has been read already."""
        buffer = RequestBuffer(time.monotonic() + self._edge.read_timeout, self._edge.max_body)
        buffer.data += data
        self._buffers[conn] = buffer
        # nearly every request is complete by now, and needs no poll
        self._read(conn)

    def end_overdue(self) -> None:
        """Refuse the requests whose deadline has passed; close connections that sent nothing."""
        now = time.monotonic()
        for conn, buffer in list(self._buffers.items()):
            if buffer.deadline > now:
                break
            self._give_up(conn, 408)

    def _read(self, conn: Any) -> None:
        buffer = self._buffers.get(conn)
        if buffer is None:
            # another event of the same poll made room and refused it
            return
        try:
            while not buffer.is_complete():
                data = conn.sock.recv(CHUNK)
                if not data:
                    self._give_up(conn, 400)
                    return
                before = buffer.size // CHUNK
                buffer.data += data
                # up to a chunk per connection always fits: worker_connections bounds their number
                if buffer.size // CHUNK > before:
                    self._make_room(conn)
        except BlockingIOError:
            self._wait(conn, buffer)
            return
        except OSError:
            self._drop(conn)
            return
        if buffer.refusal:
            self._refuse_request(conn, buffer.refusal)
            return
        self._forget(conn)
        self._answer(conn, buffer)

    def _wait(self, conn: Any, buffer: RequestBuffer) -> None:
        if not buffer.is_awaited:
            buffer.is_awaited = True
            self._poller.register(conn.sock, selectors.EVENT_READ, lambda _: self._read(conn))
        if buffer.wants_continue:
            buffer.wants_continue = False
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _make_room(self, newest: Any) -> None:
        """Refuse the oldest requests, never the newest, until the others fit in `SIZE_MAX`."""
        while sum(each.size for each in self._buffers.values()) > SIZE_MAX:
            oldest = next(iter(self._buffers))
            if oldest is newest:
                return
            self._refuse_request(oldest, 503)

    def _give_up(self, conn: Any, status: int) -> None:
        if self._buffers[conn].size:
            self._refuse_request(conn, status)
        else:
            self._drop(conn)

    def _refuse_request(self, conn: Any, status: int) -> None:
        origin = self._buffers[conn].origin
        self._forget(conn)
        self._refuse(conn, status, origin)

    def _forget(self, conn: Any) -> None:
        if self._buffers.pop(conn).is_awaited:
            self._poller.unregister(conn.sock)

    def _drop(self, conn: Any) -> None:
        self._forget(conn)
        self._close(conn)
