"""The streams of a program: as pipes, or as Docker carries them over one connection."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from codapi_flask.errors import Abandoned
from codapi_flask.output import Output

CHUNK = 1 << 16
HEAD = 8
CALM_TIME = 0.05
"""Seconds for which only the last source is read: by then most programs have ended, and to be
woken for each line costs more than the line."""

WATCH_INTERVAL = 0.25
"""Seconds between two looks at what a program has written to a disk."""

STDOUT, STDERR = 1, 2


class SupportsClose(Protocol):
    """What a connection belongs to."""

    def close(self) -> None:
        """Close the connection."""


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


def carry(
    lifeline: int,
    sources: Iterable[Source],
    sink: Sink | None,
    stdin: bytes,
    deadline: float,
    is_too_much: Callable[[], bool] | None = None,
) -> bool:
    """Carry a program's input and output until the last source ends; False at the deadline.

    The others may end before, and may hold something then. False, too, as soon as `is_too_much`,
    which is asked now and then.

    Raises:
        Abandoned: the lifeline (a descriptor) became readable.
    """
    poll, left = select.poll(), memoryview(stdin)
    reading = {source.fileno(): source for source in sources}
    last = list(reading)[-1]
    for descriptor in (lifeline, last):
        poll.register(descriptor, select.POLLIN)
    if sink and left:
        events = select.POLLIN if sink.fileno() == last else 0
        poll.register(sink, events | select.POLLOUT)
    elif sink:
        sink.end_stdin()
    is_calm = len(reading) > 1
    while last in reading:
        seconds = deadline - time.monotonic()
        if seconds <= 0 or (is_too_much and is_too_much()):
            return False
        if is_too_much:
            seconds = min(seconds, WATCH_INTERVAL)
        ready = poll.poll(min(seconds, CALM_TIME if is_calm else seconds) * 1000)
        if is_calm and not ready:
            is_calm = False
            for descriptor in reading.keys() - {last}:
                poll.register(descriptor, select.POLLIN)
        for descriptor, event in ready:
            if descriptor == lifeline:
                raise Abandoned
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


class OutputPipe:
    """The pipe of a program's stdout or stderr; `theirs` is the program's end."""

    def __init__(self, noutput: int) -> None:
        """Keep at most `noutput` bytes of what comes."""
        self._ours, self.theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _hand_out(self.theirs)
        self.output = Output(noutput)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._ours

    def read(self) -> bool:
        """Take what has come; return False when nobody can write any more."""
        try:
            data = os.read(self._ours, CHUNK)
        except BlockingIOError:
            return True
        self.output.write(data)
        return bool(data)

    def drain(self) -> None:
        """Take all that is left of a program that is dead.

        That is a pipe full at most: more comes from a process of another box that got its end.
        """
        left = fcntl.fcntl(self._ours, fcntl.F_GETPIPE_SZ)
        with suppress(BlockingIOError):
            while left > 0 and (data := os.read(self._ours, CHUNK)):
                self.output.write(data)
                left -= len(data)

    def close(self) -> None:
        """Close our end."""
        os.close(self._ours)


class InputPipe:
    """The pipe of a program's stdin; `theirs` is the program's end."""

    def __init__(self) -> None:
        self.theirs, self._ours = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _hand_out(self.theirs)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._ours

    def write(self, data: memoryview) -> int:
        """Send a part; return how much, all when nobody reads any more."""
        try:
            return os.write(self._ours, data[:CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)

    def end_stdin(self) -> None:
        """Close our end."""
        if self._ours >= 0:
            os.close(self._ours)
        self._ours = -1

    close = end_stdin


def _hand_out(end: int) -> None:
    # a program expects a pipe that blocks, and may open it again by name, whatever its user
    os.set_blocking(end, True)
    os.fchmod(end, 0o666)


class Stream:
    """A program's streams over an upgraded connection to the daemon; no call blocks.

    Docker Engine API v1.41, "Attach to a container": what goes up is stdin, what comes down are
    frames of eight bytes of head (stream, 0, 0, 0, size in big-endian) and the data. A frame may
    be split anywhere.
    """

    def __init__(
        self, connection: socket.socket, leftover: bytes, noutput: int, owner: SupportsClose
    ) -> None:
        """Take over an upgraded connection; `owner` closes it.

        `leftover` is what was read of it with the answer's head: docker-py forgets these bytes
        (docker-py #3332), and with them the output of a quick program. `noutput` is the most
        that is kept of each stream, in bytes.
        """
        self._connection, self._owner = connection, owner
        connection.setblocking(False)
        self.stdout, self.stderr = Output(noutput), Output(noutput)
        self._head = bytearray()
        self._left = 0
        self._take(memoryview(leftover))

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._connection.fileno()

    def read(self) -> bool:
        """Take what has come; return False when both streams are closed."""
        try:
            data = self._connection.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        self._take(memoryview(data))
        return bool(data)

    def write(self, data: memoryview) -> int:
        """Send a part of the program's stdin; return how much, all when it no longer reads."""
        try:
            return self._connection.send(data[:CHUNK])
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0
        except OSError:
            return len(data)

    def end_stdin(self) -> None:
        """Let the program read the end of its stdin."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the connection back."""
        self._owner.close()

    def _take(self, data: memoryview) -> None:
        while data:
            if not self._left:
                wanted = HEAD - len(self._head)
                self._head += data[:wanted]
                data = data[wanted:]
                if len(self._head) < HEAD:
                    return
                self._target = self.stderr if self._head[0] == STDERR else self.stdout
                self._left = int.from_bytes(self._head[4:], "big")
                self._head.clear()
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            self._target.write(part)
