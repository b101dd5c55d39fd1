"""The waiting boxes of one name, in a socket: a worker takes one without the keeper."""

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
"""Bytes for waiting boxes: about a thousand boxes, or as many as the system allows."""


class HandoffQueue:
    """Waiting boxes: any process that has `end` takes the first, with `handoff.receive`.

    The kernel gives each box to one taker. The boxes die when no process has an end of the queue.
    """

    def __init__(self, box: BoxSpec) -> None:
        """Make an empty queue for the boxes of one spec."""
        self._box, self._sizes, self._size = box, deque[int](), 0
        self.end, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.end, self._ours):
            end.setblocking(False)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def __len__(self) -> int:
        """Return how many wait, by the bytes left of all that was put: other processes take."""
        # unix(7), SIOCINQ
        left = int.from_bytes(fcntl.ioctl(self.end, termios.FIONREAD, bytes(4)), sys.byteorder)
        while self._size > left:
            self._size -= self._sizes.popleft()
        return len(self._sizes)

    def put(self, box: Box) -> None:
        """Append a box.

        Raises:
            OSError: the queue is full; the box dies.
        """
        self._sizes.append(handoff.send(box, self._ours))
        self._size += self._sizes[-1]

    def take(self) -> Box | None:
        """Return the first box, if there is one and this process has descriptors for it."""
        return handoff.receive(self.end, self._box)

    def close(self) -> None:
        """Close both ends in this process."""
        self.end.close()
        self._ours.close()
