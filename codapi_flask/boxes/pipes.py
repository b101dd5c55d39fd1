"""The pipes of a program in a box."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from codapi_flask.streams import CHUNK, Output


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
