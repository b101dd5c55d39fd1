"""A gunicorn worker that reads a whole request before it gives it a thread.

gunicorn's gthread lends a thread to whoever connects, and waits with it for the request's head
and body for as long as the client likes: a few half-sent requests silence the server. Here the
event loop reads, without blocking; a thread gets requests that are complete. Each has a deadline
for its head and body together.
"""

from __future__ import annotations

import errno
import json
import re
import selectors
import socket
import struct
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from codapi_flask.access import Access
from codapi_flask.models import Execution

HEAD_MAX = 1 << 16
"""Bytes of a head beyond which gunicorn's parser may say what it thinks of it."""

CHUNK = 1 << 16
INCOMING_MAX = 1 << 28
"""Bytes of all requests that are being sent together; beyond, the oldest is refused."""

PAUSE = 0.05
"""Seconds without accepting when there are no descriptors left."""

SEND_TIMEOUT = 10
"""Seconds that a client may take to receive a part of its answer."""

LINGER, LINGER_MAX = 2.0, 1 << 16
"""Seconds that a client may take to leave after its last answer, and bytes it may still send."""

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16})[^\r\n]{0,256}\r\n")


class Incoming:
    """A request of which a part has come."""

    def __init__(self, deadline: float, max_body: int) -> None:
        self.deadline, self.data = deadline, bytearray()
        self._max_body = max_body
        self._head = 0
        self._end: int | None = None
        self._next_chunk = 0
        self.wants_continue = self.is_too_large = False

    def is_complete(self) -> bool:
        """Whether it is all there, or so wrong or large that it need not be."""
        if not self._head and not self._read_head():
            return len(self.data) > HEAD_MAX
        if self._end is None:
            self._read_chunks()
        if self._end is None:
            self.is_too_large = len(self.data) - self._head > self._max_body
            return self.is_too_large
        return len(self.data) >= self._end

    def _read_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._head = self._next_chunk = end + 4
        head = bytes(self.data[: self._head])
        self.wants_continue = bool(CONTINUE.search(head))
        if not CHUNKED.search(head):
            length = LENGTH.search(head)
            size = int(length[1]) if length else 0
            # who announces too much is refused without being heard
            self.is_too_large = size > self._max_body
            self._end = self._head + (0 if self.is_too_large else size)
        return True

    def _read_chunks(self) -> None:
        """Find the end of a chunked body (RFC 9112, section 7.1); what is malformed ends."""
        while chunk := CHUNK_HEAD.match(self.data, self._next_chunk):
            size = int(chunk[1], 16)
            if not size:
                end = self.data.find(b"\r\n\r\n", chunk.end() - 2)
                self._end = end + 4 if end >= 0 else None
                return
            self._next_chunk = chunk.end() + size + 2
            if self._next_chunk > len(self.data):
                return
        if len(self.data) - self._next_chunk > 300:
            self._end = len(self.data)


class ReadingWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker, with the reading done by its event loop."""

    read_timeout = 10.0
    """Seconds that a client may take to send a request."""

    max_body = 1 << 20
    """Bytes of a body beyond which the application refuses it anyway."""

    access = Access()
    """Which pages may read our own answers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # in the order of their deadlines
        self._incoming: dict[Any, Incoming] = {}
        self._leaving: dict[Any, float] = {}
        self._quits = False

    def enqueue_req(self, conn: Any) -> None:
        """Read a connection's next request; then a thread answers it."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        incoming = Incoming(time.monotonic() + self.read_timeout, self.max_body)
        if conn.initialized:
            # what was read beyond the last request
            incoming.data += conn.parser.unreader.take_buffered()
        else:
            _limit_blocking(conn.sock)
        self._incoming[conn] = incoming
        self.poller.register(conn.sock, selectors.EVENT_READ, lambda _: self._read(conn))
        self._read(conn)

    def finish_request(self, conn: Any, answered: Any) -> None:
        """Keep a connection, or end it: not by waiting for the client, as gunicorn would."""
        is_lost = answered.cancelled() or answered.exception()
        if self.cfg.is_ssl or (not is_lost and answered.result()):
            super().finish_request(conn, answered)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        # closed while the client still sends, it would lose its answer
        self._leaving[conn] = time.monotonic() + LINGER
        conn.patience = LINGER_MAX
        self.poller.register(conn.sock, selectors.EVENT_READ, lambda _: self._see_off(conn))

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; out of descriptors, wait for others to end."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            self.log.error("cannot accept a connection: %s", error.strerror)
            time.sleep(PAUSE)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End at once, and once: Ctrl-C comes from the terminal and from gunicorn's master."""
        # the second would wait for a lock that the first holds
        if not self._quits:
            self._quits = True
            super().handle_quit(sig, frame)

    def murder_pending(self) -> None:
        """Close the connections of those who did not send, or did not leave, in time."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn, deadline in self._leaving.items() if deadline <= now]:
            self._drop(conn, self._leaving)
        for conn, incoming in list(self._incoming.items()):
            if incoming.deadline > now:
                break
            if incoming.data:
                with suppress(OSError):
                    conn.sock.send(self._answer(408, "the request did not come in time"))
            self._drop(conn, self._incoming)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Have a request answered; after one that is too large the connection ends."""
        if getattr(conn, "is_too_large", False):
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what gunicorn's parser refuses in the form of all our errors."""
        fault = not type(exc).__module__.startswith("gunicorn.")
        if fault:
            self.log.exception("internal error")
        with suppress(OSError):
            if fault:
                client.sendall(self._answer(500, "internal error"))
            else:
                client.sendall(self._answer(400, f"malformed request: {exc}"[:200]))

    def _read(self, conn: Any) -> None:
        incoming = self._incoming[conn]
        try:
            while not incoming.is_complete():
                data = conn.sock.recv(CHUNK)
                if not data:
                    self._drop(conn, self._incoming)
                    return
                incoming.data += data
                self._make_room(conn)
        except BlockingIOError:
            if incoming.wants_continue:
                incoming.wants_continue = False
                with suppress(OSError):
                    conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        except OSError:
            self._drop(conn, self._incoming)
            return
        self._forget(conn, self._incoming)
        conn.data_ready = True
        conn.is_too_large = incoming.is_too_large
        conn.init()
        conn.parser.unreader.unread(bytes(incoming.data))
        super().enqueue_req(conn)

    def _make_room(self, newest: Any) -> None:
        """Refuse whoever waits for the longest time when all requests together are too large."""
        while sum(len(each.data) for each in self._incoming.values()) > INCOMING_MAX:
            oldest = next(iter(self._incoming))
            if oldest is newest:
                return
            with suppress(OSError):
                oldest.sock.send(self._answer(503, "too many requests are being sent"))
            self._drop(oldest, self._incoming)

    def _see_off(self, conn: Any) -> None:
        with suppress(BlockingIOError):
            try:
                size = len(conn.sock.recv(CHUNK))
            except ConnectionError:
                size = 0
            conn.patience -= size
            if not size or conn.patience < 0:
                self._drop(conn, self._leaving)

    def _answer(self, status: int, text: str) -> bytes:
        body = json.dumps(Execution("-", stderr=text).answer())
        headers = {
            **self.access.cors(""),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
        return "\r\n".join([head, *lines, "", body]).encode()

    def _forget(self, conn: Any, conns: dict[Any, Any]) -> None:
        del conns[conn]
        self.poller.unregister(conn.sock)

    def _drop(self, conn: Any, conns: dict[Any, Any]) -> None:
        self._forget(conn, conns)
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()


def _limit_blocking(connection: socket.socket) -> None:
    """Bound what a thread may wait for one receipt (too large bodies) or sending (answers)."""
    seconds = struct.pack("ll", SEND_TIMEOUT, 0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, seconds)
