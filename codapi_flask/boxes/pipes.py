"""The pipes of a program in a box."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from codapi_flask.streams import CHUNK, Output


class OutputPipe:
    """The pipe of a program's stdout or stderr; `theirs` is the program's end."""

    def __init__(self, noutput: int) -> None:
        """Keep at most `noutput` bytes of the output."""
        self._ours, self.theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _hand_out(self.theirs)
        self.output = Output(noutput)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._ours

    def read(self) -> bool:
        """Read what is available; return False when no writer is left."""
        try:
            data = os.read(self._ours, CHUNK)
        except BlockingIOError:
            return True
        self.output.write(data)
        return bool(data)

    def drain(self) -> None:
        """Read what a dead program left in the pipe.

        It reads a full pipe at most: more comes from a process of another box that got its end.
        """
        left = fcntl.fcntl(self._ours, fcntl.F_GETPIPE_SZ)
        with suppress(BlockingIOError):
            while left > 0 and (data := os.read(self._ours, CHUNK)):
                self.output.write(data)
                left -= len(data)

    def close(self) -> None:
        """Close this process's end."""
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
        """Write a part; return its size, or that of all data if no reader is left."""
        try:
            return os.write(self._ours, data[:CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)

    def end_stdin(self) -> None:
        """Close this process's end."""
        if self._ours >= 0:
            os.close(self._ours)
        self._ours = -1

    close = end_stdin


def _hand_out(end: int) -> None:
    # a program expects a blocking pipe, and may reopen it by name (/dev/stdout) as any user
    os.set_blocking(end, True)
    os.fchmod(end, 0o666)
