"""The boxes of one name that wait, in a socket: a worker takes one without asking the keeper."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from collections import deque

from codapi_flask.boxes import handoff
from codapi_flask.boxes.box import Box
from codapi_flask.config.model import BoxSpec

SEND_BUFFER = 1 << 20
"""Bytes of boxes that may wait: about a thousand, or as many as the system allows."""


class HandoffQueue:
    """Boxes that wait: whoever has `end` takes the first, by `handoff.receive`.

    The kernel gives each box to one taker. It dies when nobody has an end of the row any more.
    """

    def __init__(self, box: BoxSpec) -> None:
        """Make an empty row for boxes made from one config."""
        self._box, self._sizes, self._size = box, deque[int](), 0
        self.end, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.end, self._ours):
            end.setblocking(False)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def __len__(self) -> int:
        """Return how many wait: by what is left of all that was put, for others take."""
        # unix(7), SIOCINQ
        left = int.from_bytes(fcntl.ioctl(self.end, termios.FIONREAD, bytes(4)), sys.byteorder)
        while self._size > left:
            self._size -= self._sizes.popleft()
        return len(self._sizes)

    def put(self, box: Box) -> None:
        """Have a box wait behind the others.

        Raises:
            OSError: it cannot, the row is too long; the box dies.
        """
        self._sizes.append(handoff.send(box, self._ours))
        self._size += self._sizes[-1]

    def take(self) -> Box | None:
        """Return the first, if there is one that we have descriptors for."""
        try:
            return handoff.receive(self.end, self._box)
        except ValueError:
            return None

    def close(self) -> None:
        """Close our ends."""
        self.end.close()
        self._ours.close()
