"""A worker's client of the keeper: takes warm boxes and gives them back."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

from codapi_flask import unixsocket
from codapi_flask.boxes import handoff
from codapi_flask.boxes.box import Box
from codapi_flask.boxes.instance import Instance
from codapi_flask.config.model import BoxSpec
from codapi_flask.stock import protocol
from codapi_flask.stock.protocol import Put, Take, Took, Used

ANSWER_TIMEOUT = 0.5
"""Timeout of the keeper's answer, in seconds: beyond it a cold start is better."""

PAUSE = 2.0
"""Seconds before the next attempt after the keeper did not answer."""

HOLD_MAX = 1.0
"""Seconds for which a worker may reuse a box before it goes back to the keeper."""


class StockClient:
    """The stock, as a worker uses it; without a keeper it is empty. Not for use by two threads.

    The first box of a name comes from the keeper, with the queue from which the worker takes the
    next ones itself (`protocol`).
    """

    def __init__(self, instance: Instance, hold_max: float = HOLD_MAX) -> None:
        """Use the keeper of an instance; boxes go back to it after `hold_max` seconds."""
        self._instance, self._hold_max = instance, hold_max
        self._keeper: socket.socket | None = None
        self._queues: dict[str, socket.socket] = {}
        self._not_before = 0.0
        self._held: Box | None = None
        self._held_since = 0.0

    def take(self, box: BoxSpec) -> Box | None:
        """Return a started box, `None` if there is none; `give` or `used` must follow."""
        held, self._held = self._held, None
        if held and held.spec.name == box.name and held.is_alive:
            waiting = None if held.waits or not box.preload else self._take_queued(box)
            if not waiting:
                return held
            self._give(held)
            return waiting
        if held:
            self._give(held)
        self._held_since = time.monotonic()
        if self._poll(timeout=0):
            # the keeper died or dropped this worker: its boxes are gone
            self._disconnect(pause=0)
        try:
            return self._take_queued(box) or self._ask(box)
        except (OSError, ValueError):
            # a late answer must not be taken for the next one; a box may have come without its
            # descriptors, when this process has too many
            self._disconnect()
            return None

    def wait(self, pipe: int) -> None:
        """Wait until a pipe is readable; if the keeper dies meanwhile, drop its boxes."""
        if pipe not in self._poll(pipe, timeout=None):
            # no pause: the keeper is replaced at once
            self._disconnect(pause=0)

    def give(self, box: Box) -> None:
        """Give back a box for reuse, with its lease; the next `take` may return it.

        The keeper, which evicts outdated boxes, gets it at `release` or after `hold_max` seconds.
        """
        self._held = box
        if time.monotonic() - self._held_since > self._hold_max:
            self.release()

    def release(self) -> None:
        """Give the keeper the box that was held for the next `take`."""
        held, self._held = self._held, None
        if held:
            self._give(held)

    def _give(self, box: Box) -> None:
        try:
            keeper = self._connected()
        except OSError:
            box.discard()
            return
        try:
            handoff.send(box, keeper)
        except OSError:
            self._disconnect()

    def used(self, box: BoxSpec) -> None:
        """Report the end of a run for which a box was taken or missed."""
        self._tell(Used(box.name))

    def _poll(self, *pipes: int, timeout: int | None) -> list[int]:
        """Return the readable pipes, and the keeper's connection if it is closed."""
        poll = select.poll()
        for pipe in pipes:
            poll.register(pipe, select.POLLIN)
        if self._keeper:
            # POLLHUP needs no request (poll(2))
            poll.register(self._keeper, 0)
        return [descriptor for descriptor, _ in poll.poll(timeout)]

    def _take_queued(self, box: BoxSpec) -> Box | None:
        queue = self._queues.get(box.name)
        while queue and (found := handoff.receive(queue, box)):
            if found.is_alive:
                self._tell(Took(box.name))
                return found
            found.discard()
        return None

    def _ask(self, box: BoxSpec) -> Box | None:
        keeper = self._connected()
        keeper.send(protocol.encode(Take(box.name)))
        message, descriptors, _, _ = socket.recv_fds(
            keeper, handoff.MESSAGE_MAX, 1 + handoff.MAX_DESCRIPTORS
        )
        queue, *descriptors = descriptors
        if earlier := self._queues.pop(box.name, None):
            earlier.close()
        self._queues[box.name] = socket.socket(fileno=queue)
        self._queues[box.name].setblocking(False)
        match protocol.parse(message):
            case Put(dict() as fields):
                return handoff.received(fields, descriptors, box)
        return None

    def _tell(self, message: Took | Used) -> None:
        with suppress(OSError):
            self._connected().send(protocol.encode(message))

    def _connected(self) -> socket.socket:
        if self._keeper is None:
            if time.monotonic() < self._not_before:
                raise ConnectionRefusedError
            keeper = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                keeper.settimeout(ANSWER_TIMEOUT)
                unixsocket.connect(keeper, self._instance.socket)
            except OSError:
                keeper.close()
                raise
            self._keeper = keeper
        return self._keeper

    def _disconnect(self, pause: float = PAUSE) -> None:
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()
        if self._keeper:
            self._keeper.close()
            self._not_before = time.monotonic() + pause
        self._keeper = None
