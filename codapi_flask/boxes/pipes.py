"""The pipes of a program in a box."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress

from codapi_flask.streams import CHUNK, Output


class OutputPipe:
    """The pipe of a program's stdout or stderr; `program_end` is for the program."""

    def __init__(
        self, noutput: int, listener: Callable[[bytes | memoryview], None] | None = None
    ) -> None:
        """Keep at most `noutput` bytes of the output; `listener` gets a copy."""
        self._end, self.program_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _hand_out(self.program_end)
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
        left = fcntl.fcntl(self._end, fcntl.F_GETPIPE_SZ)
        with suppress(BlockingIOError):
            while left > 0 and (data := os.read(self._end, CHUNK)):
                self.output.write(data)
                left -= len(data)

    def close(self) -> None:
        """Close this process's end."""
        os.close(self._end)


class InputPipe:
    """The pipe of a program's stdin; `program_end` is for the program."""

    def __init__(self) -> None:
        self.program_end, self._end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _hand_out(self.program_end)

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


def _hand_out(end: int) -> None:
    # a program expects a blocking pipe, and may reopen it by name (/dev/stdout) as any user
    os.set_blocking(end, True)
    os.fchmod(end, 0o666)
