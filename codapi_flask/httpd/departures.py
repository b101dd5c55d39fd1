"""Notices that clients close their connections while their requests are answered."""

from __future__ import annotations

import select
import selectors
from contextlib import suppress
from typing import Any

EVENTS = select.EPOLLRDHUP | select.EPOLLONESHOT
"""The client has closed its side, or both (epoll_ctl(2)); once for each request."""


class Departures:
    """The connections of one event loop whose requests are being answered.

    A client that has closed its sending side counts as gone, though it may still read the answer.
    Data that it sends ahead stays unread, and hides nothing.
    """

    def __init__(self, poller: selectors.BaseSelector) -> None:
        """Wait for clients with an event loop's `poller`."""
        # selectors has no EPOLLRDHUP
        self._epoll = select.epoll()
        self._conns: dict[int, Any] = {}
        self._descriptors: dict[Any, int] = {}
        poller.register(self._epoll, selectors.EVENT_READ, lambda _: self._notice())

    def watch(self, conn: Any) -> None:
        """Call the socket's `depart` when its client is gone; `forget` must follow."""
        descriptor = conn.sock.fileno()
        self._conns[descriptor], self._descriptors[conn] = conn, descriptor
        self._epoll.register(descriptor, EVENTS)

    def forget(self, conn: Any) -> None:
        """End the watch of a connection, and release what its request has registered."""
        conn.sock.forget()
        descriptor = self._descriptors.pop(conn)
        # the socket may be closed, and another one have its descriptor
        if self._conns.get(descriptor) is conn:
            del self._conns[descriptor]
            with suppress(OSError):
                self._epoll.unregister(descriptor)

    def _notice(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            if conn := self._conns.get(descriptor):
                conn.sock.depart()
