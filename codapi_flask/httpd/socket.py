"""A client's connection, as gunicorn and the event loop use it."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from codapi_flask.httpd.edge import Connection

SEND_BUFFER = 1 << 18
"""Bytes of an answer that the system buffers."""


_lock = threading.Lock()


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
        self._is_gone, self._departed = False, _ignore

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

    def forget(self) -> None:
        """Forget the function of `on_departure`, and whether the client is gone."""
        self._is_gone, self._departed = False, _ignore

    def on_departure(self, call: Callable[[], None]) -> None:
        """Have a function called when the client is gone, at once if it is; it must not block."""
        with _lock:
            self._departed = call
        if self._is_gone:
            call()

    def depart(self) -> None:
        """Call the function of `on_departure`: the client is gone."""
        with _lock:
            self._is_gone = True
            call = self._departed
        call()

    def wait(self, descriptor: int, seconds: float) -> bool:
        """Wait until a descriptor is readable, and return whether it is; send meanwhile.

        Returns False after `seconds`, or when some of `unsent` has been sent.

        Raises:
            OSError: the client is gone.
        """
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if self.unsent:
            poll.register(self, select.POLLOUT)
        found = [each for each, _ in poll.poll(seconds * 1000)]
        if self.fileno() in found:
            self.flush()
        return descriptor in found

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


def _ignore() -> None:
    """Do nothing: no function is registered."""


class Unwatched:
    """A connection that the event loop does not watch, such as one of gunicorn's own TLS."""

    unsent = b""

    def on_departure(self, call: Callable[[], None]) -> None:
        """Do nothing: the departure goes unnoticed."""

    def wait(self, descriptor: int, seconds: float) -> bool:
        """Wait until a descriptor is readable, and return whether it is."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def connection(environ: Mapping[str, Any]) -> Connection:
    """Return the client's connection of a WSGI environment."""
    found = environ.get("gunicorn.socket")
    return found if isinstance(found, BufferedSocket) else Unwatched()
