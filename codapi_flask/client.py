"""A client's connection, as gunicorn and our reader of requests use it."""

from __future__ import annotations

import errno
import fcntl
import socket
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

SEND_BUFFER = 1 << 18
"""Bytes of an answer that no thread waits for a client to receive."""

SEND_TIMEOUT = 10.0
"""Seconds that a client may take to receive its answer, beyond what the system buffers."""


class Client(socket.socket):
    """A connection that does not block; only to send it more than the buffer holds takes time.

    gunicorn turns blocking on and off several times a request, and sends an answer's head apart
    from its body: each is a system call in which another thread takes the interpreter, and the
    client is woken twice.
    """

    def __init__(self, connection: socket.socket, timeout: float = SEND_TIMEOUT) -> None:
        """Take a connection over; `timeout` is in seconds, for all of what is sent at once."""
        kind = connection.family, connection.type, connection.proto
        super().__init__(*kind, fileno=connection.detach())
        super().setblocking(False)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._timeout = timeout
        self._joins, self._first = False, b""
        self._sent = 0

    def setblocking(self, flag: bool) -> None:
        """Do nothing."""

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Send what is sent first, an answer's head, together with what comes next."""
        self._joins, self._first = True, b""
        try:
            yield
            if self._first:
                self._send(self._first)
        finally:
            self._joins, self._first = False, b""

    def leaves_unread(self, most: int) -> bool:
        """Tell whether the client has not received more than `most` bytes of what was sent."""
        if self._sent > most:
            # tcp(7), SIOCOUTQ
            size = fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4))
            self._sent = int.from_bytes(size, sys.byteorder)
        return self._sent > most

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as much as the system takes; return how much that was."""
        sent = super().send(data, flags)
        self._sent += sent
        return sent

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it.

        Raises:
            BrokenPipeError: the client is gone, or does not receive it in time.
        """
        if self._joins and not self._first:
            self._first = bytes(data)
            return
        self._joins = False
        self._send(self._first + data)

    def _send(self, data: bytes) -> None:
        self._first, sent = b"", 0
        with suppress(BlockingIOError):
            sent = self.send(data)
        if sent == len(data):
            return
        # bounds the sending as a whole, which SO_SNDTIMEO does not
        self.settimeout(self._timeout)
        try:
            super().sendall(memoryview(data)[sent:])
            self._sent += len(data) - sent
        except TimeoutError as error:
            raise BrokenPipeError(errno.EPIPE, "the client does not receive") from error
        finally:
            self.settimeout(0)
