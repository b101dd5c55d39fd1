"""What the transport asks of the application."""

from __future__ import annotations

from typing import Protocol


class Edge(Protocol):
    """The application as the event loop sees it; no call blocks."""

    max_body: int
    """Bytes of a body beyond which the application refuses it anyway."""

    read_timeout: float
    """Seconds that a client may take to send a request."""

    send_timeout: float
    """Seconds that a client may take to receive an answer, beyond what the system buffers."""

    def is_full(self) -> bool:
        """Whether the application has no capacity for the next request."""

    def shed(self, head: bytes, body: bytes) -> tuple[bytes, bool] | None:
        """Return the answer to a request that needs no thread, and whether to close after it.

        `None` leaves the request to the application.
        """

    def error(self, status: int, origin: str = "", text: str = "") -> bytes:
        """Return a whole answer for a request that the transport refuses; the connection closes.

        `origin` is the page that asks. `text` replaces the status's usual text.
        """
