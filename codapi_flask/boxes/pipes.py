"""The pipes of a program in a box."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from codapi_flask.streams import CHUNK, Output

Ends = tuple[int, int, int]
"""The ends of stdin, stdout and stderr on one side: the program's, or this process's."""


def open_pipes() -> tuple[Ends, Ends]:
    """Open the three pipes of a program; return the ends of this process and of the program."""
    ends: list[int] = []
    try:
        for _ in range(3):
            ends += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        # this process has too many descriptors
        close(ends)
        raise
    read, stdin, stdout, write, stderr, write_too = ends
    for end in (read, write, write_too):
        # a program expects a blocking pipe, and may reopen it by name (/dev/stdout) as any user
        os.set_blocking(end, True)
        os.fchmod(end, 0o666)
    return (stdin, stdout, stderr), (read, write, write_too)


def close(ends: Iterable[int]) -> None:
    """Close ends of pipes."""
    for end in ends:
        os.close(end)


class OutputPipe:
    """The reading end of a program's stdout or stderr."""

    def __init__(
        self, end: int, noutput: int, listener: Callable[[bytes | memoryview], None] | None = None
    ) -> None:
        """Keep at most `noutput` bytes of the output; `listener` gets a copy."""
        self._end = end
        self.output = Output(noutput, listener=listener)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._end

    def read(self) -> bool:
        """Read what is available; return False when no writer is left."""
        try:
            data = os.read(self._end, CHUNK)
        except BlockingIOError:
            return True
        self.output.write(data)
        return bool(data)

    def drain(self) -> None:
        """Read what a dead program left in the pipe.

        It reads a full pipe at most: more comes from a process of another box that got its end.
        """
        for data in self._left():
            self.output.write(data)

    def discard(self) -> None:
        """Discard what is in the pipe."""
        for _ in self._left():
            pass

    def _left(self) -> Iterator[bytes]:
        left = fcntl.fcntl(self._end, fcntl.F_GETPIPE_SZ)
        with suppress(BlockingIOError):
            while left > 0 and (data := os.read(self._end, CHUNK)):
                yield data
                left -= len(data)

    def close(self) -> None:
        """Close this process's end."""
        os.close(self._end)


class InputPipe:
    """The writing end of a program's stdin."""

    def __init__(self, end: int) -> None:
        self._end = end

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._end

    def write(self, data: memoryview) -> int:
        """Write a part; return its size, or that of all data if no reader is left."""
        try:
            return os.write(self._end, data[:CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)

    def end_stdin(self) -> None:
        """Close this process's end."""
        if self._end >= 0:
            os.close(self._end)
        self._end = -1

    close = end_stdin
