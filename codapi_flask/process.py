"""Child processes of the server: their start, signals and end."""

from __future__ import annotations

import ctypes
import importlib
import logging
import math
import multiprocessing
import os
import pickle
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import current_process, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from codapi_flask import stdio, unixsocket
from codapi_flask.libraries import Inside

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
"""linux/prctl.h: the signal sent when the parent dies; the name in ps and top."""


MULTIPROCESSING = Inside(
    "multiprocessing", 3, 4, {"multiprocessing.process:BaseProcess": "_config"}
)
"""What this module uses of multiprocessing's inside; without it, no server starts."""


@contextmanager
def sockets_in(directory: Path) -> Iterator[None]:
    """Let multiprocessing make its sockets in a directory, whatever the length of its path.

    Otherwise it makes them in one below `TMPDIR`, which stays there after a SIGKILL.
    """
    with unixsocket.short(directory) as path:
        current_process()._config["tempdir"] = path  # type: ignore[attr-defined]
        yield


def log_to_stderr(verbose: bool) -> None:
    """Let this process write its log to stderr; `verbose` adds what is for debugging."""
    stdio.install()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("codapi").setLevel(logging.DEBUG if verbose else logging.INFO)


def become_child(verbose: bool) -> None:
    """Make this process die with its parent, and ignore the signals meant for the parent.

    Its log goes to stderr (`log_to_stderr`). Ctrl-C and a service manager's SIGTERM reach the whole
    process group, but only the server ends its children, by closing their pipes.
    """
    log_to_stderr(verbose)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NAME, current_process().name.encode())


class StartError(Exception):
    """A child process that ended before it was ready, or was not ready in time."""


@dataclass(frozen=True)
class Failed:
    """The last message of a child that cannot go on, and why."""

    why: str


@contextmanager
def reported(pipe: Connection) -> Iterator[None]:
    """Turn an exception into the child's last message, `Failed`, and end the process.

    A child that cannot start is started again and again; a traceback each time would fill the log.
    """
    try:
        yield
    except Exception as error:
        with suppress(OSError):
            pipe.send(Failed(describe(error)))
        sys.exit(1)


def describe(error: Exception) -> str:
    """Return an exception in one line, with the place that raised it."""
    [first, *_] = traceback.format_exception_only(error)
    text = f"{type(error).__name__}: {error}" if str(error) else first.strip()
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return " ".join(text.split())[:500] + where


def _begin(pipe: Connection, module: str, name: str, args: bytes) -> None:
    # the module and the arguments are loaded here, where an error is reported in one line
    with reported(pipe):
        main, given = getattr(importlib.import_module(module), name), pickle.loads(args)  # noqa: S301
    try:
        main(pipe, *given)
    finally:
        stdio.drain()


class Child:
    """A child process and the parent's end of its pipe; the child exits when the pipe closes.

    The thread that makes it blocks all signals but SIGCHLD from then on.
    """

    def __init__(self, main: Callable[..., None], args: Sequence[Any], preload: list[str]) -> None:
        """Start `main(pipe, *args)`, forked from a fork server that has imported `preload`."""
        # the fork server has the modules, but none of this process's descriptors
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(preload)
        # The fork server inherits the mask: a signal to the process group must reach the server
        # alone. The resource tracker comes first, since its start unblocks signals. SIGCHLD stays:
        # without it the fork server reports no child's end, and the server's end would hang
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGCHLD})
        self.pipe, child_end = context.Pipe()
        name = f"codapi-{main.__module__.rpartition('.')[2]}"
        given = child_end, main.__module__, main.__name__, pickle.dumps(args)
        self._process = process = context.Process(target=_begin, args=given, name=name)
        process.start()
        child_end.close()
        # a pid may be reused, a pidfd is not
        self._pidfd = os.pidfd_open(process.pid or 0)
        self.pid = process.pid
        self.deadline = math.inf

    def ready(self, deadline: float) -> Any:
        """Return the child's first message.

        Raises:
            StartError: the child died, or has sent none at the deadline.
        """
        try:
            if not self.pipe.poll(max(deadline - time.monotonic(), 0)):
                raise StartError("it is not ready in time")
            said = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise StartError(self.end()) from error
        if isinstance(said, Failed):
            raise StartError(said.why)
        return said

    def end(self) -> str:
        """Return how the process, whose pipe is closed, has ended."""
        self._process.join(1)
        code = self._process.exitcode
        if code is None:
            return "it closed its pipe"
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def kill(self) -> None:
        """Send SIGKILL to the process, unless it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def hang_up(self) -> None:
        """Shut the pipe down: the process exits, and a thread that reads from the pipe wakes."""
        with socket.socket(fileno=os.dup(self.pipe.fileno())) as end, suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

    def join(self, deadline: float) -> None:
        """Wait until the process ends, kill it at the deadline, and close the pipe."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            self.kill()
            poll.poll(1000)
        os.close(self._pidfd)
        self.pipe.close()
