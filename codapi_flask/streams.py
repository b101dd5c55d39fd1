"""Pumps a program's input and output, caps the output as it reads, and ends at a deadline."""

from __future__ import annotations

import codecs
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from codapi_flask.errors import Cancelled
from codapi_flask.live import Live

CHUNK = 1 << 16
WATCH_INTERVAL = 0.25
"""Seconds between two checks of what a program has written to disk."""


class Source(Protocol):
    """A descriptor to poll, and how to read from it."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def read(self) -> bool:
        """Read what is available, without blocking; return False at the end."""


class Sink(Protocol):
    """A program's stdin."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def write(self, data: memoryview) -> int:
        """Write a part, without blocking; return its size, or that of all data without a reader."""

    def end_stdin(self) -> None:
        """End the program's stdin."""


class Cancel:
    """The reasons to end a run early, watched by every wait of the run.

    Each reason is a descriptor that becomes readable, and a function that then raises
    `Cancelled` or `Abandoned`. If the function returns, the run goes on; so it may also read what
    comes from a program beside the run's own. It may remove its reason.
    """

    def __init__(self) -> None:
        self._reasons: dict[int, Callable[[], None]] = {}
        self._is_held = self._is_late = False

    def add(self, descriptor: int, end: Callable[[], None]) -> None:
        """Add a reason: `end` is called when the descriptor is readable."""
        self._reasons[descriptor] = end

    def __contains__(self, descriptor: int) -> bool:
        """Whether there is a reason with the descriptor."""
        return descriptor in self._reasons

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
        """Register the descriptors of all reasons with a poll."""
        for descriptor in self._reasons:
            poll.register(descriptor, select.POLLIN)

    def end(self, descriptor: int) -> bool:
        """Call the reason of a readable descriptor; return whether it has one.

        Raises:
            Cancelled, Abandoned: the reason's function raised it.
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
        """Call the reasons whose descriptors are readable now.

        Raises:
            Cancelled, Abandoned: a reason's function raised it.
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
    live: Live | None = None,
) -> bool:
    """Pump a program's input and output until the last source ends; return False at the deadline.

    The other sources may end earlier, and may still hold data afterwards. `is_too_much` is called
    at least every `WATCH_INTERVAL`; if it returns true, the pump returns False. While `live` is
    full the other sources are not read, or the only one.

    Raises:
        Cancelled, Abandoned: a reason of `cancel` raised it.
    """
    poll, left = select.poll(), memoryview(stdin)
    reading = {source.fileno(): source for source in sources}
    *outputs, last = reading
    outputs, is_held = outputs or [last], False
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
        if live:
            seconds = min(seconds, live.flush())
            if live.is_full != is_held:
                is_held = live.is_full
                _hold(poll, reading.keys() & outputs, is_held, sink if left else None)
        for descriptor, event in poll.poll(seconds * 1000):
            if cancel.end(descriptor):
                if descriptor not in cancel:
                    poll.unregister(descriptor)
                continue
            if sink and left and descriptor == sink.fileno() and event != select.POLLIN:
                left = _feed(sink, left, poll, descriptor in reading, is_held)
                event &= ~select.POLLOUT
            if event and descriptor in reading and not reading[descriptor].read():
                del reading[descriptor]
                poll.unregister(descriptor)
    return True


def _hold(poll: select.poll, outputs: Iterable[int], is_held: bool, sink: Sink | None) -> None:
    """Wait no longer for a program's output, or again; `sink` is its stdin if that has not ended.

    Its end (POLLHUP) is noticed in any case, and what is left in the pipe then is read.
    """
    for descriptor in outputs:
        events = select.POLLOUT if sink and descriptor == sink.fileno() else 0
        poll.modify(descriptor, events if is_held else events | select.POLLIN)


def _feed(
    sink: Sink, left: memoryview, poll: select.poll, is_source: bool, is_held: bool
) -> memoryview:
    """Write a part of a program's stdin and return the rest; end stdin when nothing is left."""
    left = left[sink.write(left) :]
    if left:
        return left
    if is_source:
        poll.modify(sink, 0 if is_held else select.POLLIN)
    else:
        # once closed, it would wake the poll forever
        poll.unregister(sink)
    sink.end_stdin()
    return left


class Output:
    """Keeps the first `limit` bytes of a stream, or the last, and discards the others.

    `listener` is called with each part that is kept of the first.
    """

    def __init__(
        self,
        limit: int,
        keeps_last: bool = False,
        listener: Callable[[bytes | memoryview], None] | None = None,
    ) -> None:
        self._limit, self._keeps_last, self._listener = limit, keeps_last, listener
        self._kept = bytearray()
        self.truncated = False

    def write(self, data: bytes | memoryview) -> None:
        """Append data, up to the limit."""
        if self._keeps_last:
            self._kept += data
            surplus = max(len(self._kept) - self._limit, 0)
            self.truncated |= surplus > 0
            del self._kept[:surplus]
            return
        room = self._limit - len(self._kept)
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        self._kept += data
        if self._listener:
            self._listener(data)

    def text(self) -> str:
        """Return the text so far; a cut falls between characters, invalid UTF-8 is U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        if self._keeps_last:
            # without the rest of a character whose beginning is gone
            rest = bytes(range(0x80, 0xC0)) if self.truncated else b""
            return decoder.decode(bytes(self._kept).lstrip(rest), final=True)
        return decoder.decode(bytes(self._kept), final=not self.truncated)
