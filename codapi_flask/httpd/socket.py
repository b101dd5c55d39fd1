"""A client's connection, as gunicorn and the event loop use it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

SEND_BUFFER = 1 << 18
"""Bytes of an answer that the system buffers."""


class BufferedSocket(socket.socket):
    """A connection that never blocks; `unsent` is what the system does not take at once.

    `origin` is the `Origin` header of the request that is being answered.

    gunicorn turns blocking on and off several times a request, and sends an answer's head apart
    from its body. Each is a system call, in which another thread takes the GIL, and the client
    wakes twice.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connection and its descriptor."""
        kind = connection.family, connection.type, connection.proto
        super().__init__(*kind, fileno=connection.detach())
        super().setblocking(False)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.unsent: bytes | memoryview = b""
        self.origin = ""
        self._joins, self._first = False, b""

    def setblocking(self, flag: bool) -> None:
        """Do nothing: the connection never blocks."""

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Send the first data, an answer's head, together with the next."""
        self._joins, self._first = True, b""
        try:
            yield
            if self._first:
                self._send(self._first)
        finally:
            self._joins, self._first = False, b""

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send data; what the system does not take at once becomes `unsent`.

        Raises:
            OSError: the client is gone.
        """
        if self._joins and not self._first:
            self._first = bytes(data)
            return
        self._joins = False
        self._send(self._first + data)

    def flush(self) -> None:
        """Send as much of `unsent` as the system takes.

        Raises:
            OSError: the client is gone.
        """
        with suppress(BlockingIOError):
            self.unsent = memoryview(self.unsent)[self.send(self.unsent) :]

    def _send(self, data: bytes) -> None:
        self._first = b""
        self.unsent = bytes(self.unsent) + data if self.unsent else data
        self.flush()
