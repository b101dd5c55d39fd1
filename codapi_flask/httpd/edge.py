"""The interfaces between the transport and the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Edge(Protocol):
    """The application, as the event loop sees it; no method blocks."""

    max_body: int
    """Limit on a body, in bytes; the application refuses larger ones."""

    read_timeout: float
    """Seconds that a client may take to send a request."""

    send_timeout: float
    """Seconds that a client may take to receive an answer, beyond what the system buffers."""

    def shed(self, head: bytes, body: bytes) -> tuple[bytes, bool] | None:
        """Return the answer to a request that is shed, and whether to close after it.

        `None` leaves the request to the application.
        """

    def is_busy(self) -> bool:
        """Whether the application works on, although all requests may have been answered."""

    def error(self, status: int, origin: str = "", text: str = "") -> bytes:
        """Return the complete answer to a request that the transport refuses.

        The connection closes after it. `origin` is the request's `Origin` header. `text` replaces
        the status's usual text.
        """


class Connection(Protocol):
    """The client's connection, as the application sees it while it answers."""

    @property
    def unsent(self) -> bytes | memoryview:
        """What the system has not yet taken of the answer."""

    def on_departure(self, call: Callable[[], None]) -> None:
        """Have a function called when the client is gone, at once if it is; it must not block."""

    def wait(self, descriptor: int, seconds: float) -> bool:
        """Wait until a descriptor is readable, and return whether it is; send meanwhile.

        Returns False after `seconds`, or when some of `unsent` has been sent.

        Raises:
            OSError: the client is gone.
        """
