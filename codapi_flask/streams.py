"""Carries a program's input and output, cuts the output while it reads, and knows when to end."""

from __future__ import annotations

import codecs
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from codapi_flask.errors import Cancelled

CHUNK = 1 << 16
WATCH_INTERVAL = 0.25
"""Seconds between two looks at what a program has written to a disk."""


class Source(Protocol):
    """Something to read from whenever its descriptor is readable."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def read(self) -> bool:
        """Take what has come, without blocking; return False at the end."""


class Sink(Protocol):
    """A program's stdin."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def write(self, data: memoryview) -> int:
        """Take a part without blocking; return how much, all when nobody reads any more."""

    def end_stdin(self) -> None:
        """Let the program read the end of its stdin."""


class Cancel:
    """The reasons to end a run early, for everything that waits.

    Each reason is a descriptor that becomes readable, and a function that then raises
    `Cancelled` or `Abandoned`; one that returns lets the run go on.
    """

    def __init__(self) -> None:
        self._reasons: dict[int, Callable[[], None]] = {}
        self._is_held = self._is_late = False

    def add(self, descriptor: int, end: Callable[[], None]) -> None:
        """Add a reason."""
        self._reasons[descriptor] = end

    def remove(self, descriptor: int) -> None:
        """Remove a reason, whose descriptor is about to close."""
        del self._reasons[descriptor]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold `Cancelled` back until the end of the block, for what must run in any case.

        Raises:
            Cancelled: the run was cancelled meanwhile.
        """
        self._is_held, self._is_late = True, False
        try:
            yield
        finally:
            self._is_held = False
        if self._is_late:
            raise Cancelled

    def register(self, poll: select.poll) -> None:
        """Let a poll wake for every reason."""
        for descriptor in self._reasons:
            poll.register(descriptor, select.POLLIN)

    def end(self, descriptor: int) -> bool:
        """Raise if a readable descriptor is a reason to end; return whether it is a reason.

        Raises:
            Cancelled, Abandoned: as the reason says.
        """
        reason = self._reasons.get(descriptor)
        try:
            if reason:
                reason()
        except Cancelled:
            if not self._is_held:
                raise
            self._is_late = True
        return reason is not None

    def check(self) -> None:
        """Raise if there is a reason to end now.

        Raises:
            Cancelled, Abandoned: as the reason says.
        """
        poll = select.poll()
        self.register(poll)
        for descriptor, _ in poll.poll(0):
            self.end(descriptor)


def pump(
    cancel: Cancel,
    sources: Iterable[Source],
    sink: Sink | None,
    stdin: bytes,
    deadline: float,
    is_too_much: Callable[[], bool] | None = None,
) -> bool:
    """Carry a program's input and output until the last source ends; False at the deadline.

    The other sources may end earlier, and may hold data then. `is_too_much` is called every
    `WATCH_INTERVAL`; the pump ends with False when it returns true.

    Raises:
        Cancelled, Abandoned: as `cancel` says.
    """
    poll, left = select.poll(), memoryview(stdin)
    reading = {source.fileno(): source for source in sources}
    last = list(reading)[-1]
    cancel.register(poll)
    for descriptor in reading:
        poll.register(descriptor, select.POLLIN)
    if sink and left:
        events = select.POLLIN if sink.fileno() == last else 0
        poll.register(sink, events | select.POLLOUT)
    elif sink:
        sink.end_stdin()
    while last in reading:
        seconds = deadline - time.monotonic()
        if seconds <= 0 or (is_too_much and is_too_much()):
            return False
        if is_too_much:
            seconds = min(seconds, WATCH_INTERVAL)
        for descriptor, event in poll.poll(seconds * 1000):
            if cancel.end(descriptor):
                continue
            if sink and left and descriptor == sink.fileno() and event != select.POLLIN:
                left = _feed(sink, left, poll, descriptor in reading)
                event &= ~select.POLLOUT
            if event and descriptor in reading and not reading[descriptor].read():
                del reading[descriptor]
                poll.unregister(descriptor)
    return True


def _feed(sink: Sink, left: memoryview, poll: select.poll, is_source: bool) -> memoryview:
    """Write a part of a program's stdin; return what is left of it, at the end close it."""
    left = left[sink.write(left) :]
    if left:
        return left
    if is_source:
        poll.modify(sink, select.POLLIN)
    else:
        # once it is closed, it would wake us for ever
        poll.unregister(sink)
    sink.end_stdin()
    return left


class Output:
    """Keeps the first `limit` bytes of a stream and forgets the others."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.truncated = False

    def write(self, data: bytes | memoryview) -> None:
        """Take what came next."""
        room = self._limit - len(self._kept)
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        self._kept += data

    def text(self) -> str:
        """Return the text so far, cut at a character's boundary; invalid UTF-8 is U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(bytes(self._kept), final=not self.truncated)
