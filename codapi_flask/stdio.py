"""The server's own stdout and stderr: whatever their reader does, no write waits for it.

A logger that hangs or a terminal on hold fills the pipe; a plain write then waits, and with it the
run that it reports. `O_NONBLOCK` on the descriptor itself would reach every process that shares it.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

BACKLOG_MAX = 1 << 18
"""Limit on what waits for the reader, in bytes for each stream of a process."""

DRAIN_TIMEOUT = 1.0
"""Seconds that the reader has for the backlog of a process that ends."""


def install() -> None:
    """Let `sys.stdout` and `sys.stderr` of this process never wait; a second call does nothing."""
    _reserve()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            raw, encoding = Unblocked(stream.fileno()), stream.encoding
            text = io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)  # type: ignore[type-var]
            setattr(sys, name, text)


def _reserve() -> None:
    """Open /dev/null in place of a closed descriptor 0, 1 or 2.

    Else the next socket gets its number, and what a library in C reports goes to a client.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def drain() -> None:
    """Wait until the reader has all, at most `DRAIN_TIMEOUT` seconds: a forked child's last act."""
    for stream in (sys.stdout, sys.stderr):
        raw = getattr(stream, "buffer", None)
        if isinstance(raw, Unblocked):
            raw.drain()


class Unblocked(io.RawIOBase):
    """A descriptor whose writers never wait.

    What its reader does not take at once waits in a backlog, which a thread writes. After the
    backlog was full, lines are dropped until it is empty; their number takes their place. Safe for
    use by many threads, in signal handlers, and after a fork.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        # in a forked child of multiprocessing it does not run
        atexit.register(self.drain)

    def _begin(self) -> None:
        # after a fork, the backlog and its thread are the parent's
        self._changed = threading.Condition()
        self._backlog, self._dropped = bytearray(), 0
        self._thread: threading.Thread | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal: gunicorn's `--daemon` leaves one."""
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        """Write what the reader takes at once, and leave the rest to the thread."""
        with self._changed:
            left = bytes(data)
            if not self._backlog:
                left = left[self._write_at_once(left) :]
            if self._dropped or len(self._backlog) + len(left) > BACKLOG_MAX:
                self._dropped += left.count(b"\n")
            else:
                self._backlog += left
            if self._backlog and not self._thread:
                # without a thread (too many, or Python ends) the next write tries again
                with suppress(RuntimeError):
                    thread = threading.Thread(target=self._write_backlog, daemon=True)
                    thread.start()
                    self._thread = thread
        return len(data)

    def drain(self) -> None:
        """Wait until the reader has all, at most `DRAIN_TIMEOUT` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._thread, DRAIN_TIMEOUT)

    def _write_at_once(self, data: bytes) -> int:
        try:
            return self._unblocked_write(data)
        except BlockingIOError:
            return 0
        except OSError:
            # the reader is gone, or the disk is full: no other place is left for it
            return len(data)

    @cached_property
    def _unblocked_write(self) -> Callable[[bytes], int]:
        """A function that writes what is possible at once, and returns its size.

        It is made at the first write: before, gunicorn may redirect the descriptor.
        """
        mode = os.fstat(self._descriptor).st_mode
        if stat.S_ISREG(mode):
            return partial(os.write, self._descriptor)
        if stat.S_ISSOCK(mode):
            sock = socket.socket(fileno=os.dup(self._descriptor))
            return lambda data: sock.send(data, socket.MSG_DONTWAIT)
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            # opened again, a pipe or a terminal has flags of its own
            return partial(os.write, os.open(f"/proc/self/fd/{self._descriptor}", flags))
        except OSError:
            # another user's: the thread writes all
            return lambda data: 0

    def _write_backlog(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while part := self._next_part():
            poll.poll()
            try:
                size = os.write(self._descriptor, part)
            except BlockingIOError:
                # another process has set O_NONBLOCK
                continue
            except OSError:
                size = len(part)
            with self._changed:
                del self._backlog[:size]

    def _next_part(self) -> bytes:
        """Return whole lines that a pipe takes in one piece, nothing at the backlog's end."""
        with self._changed:
            if not self._backlog and self._dropped:
                self._backlog += b"%d lines were dropped: nobody read them\n" % self._dropped
                self._dropped = 0
            if not self._backlog:
                self._thread = None
                self._changed.notify_all()
            end = self._backlog.rfind(b"\n", 0, select.PIPE_BUF) + 1
            return bytes(self._backlog[: end or select.PIPE_BUF])
