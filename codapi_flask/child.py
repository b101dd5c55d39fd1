"""A child process of the server, as its parent sees it: the keeper or a worker."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from typing import Any

from codapi_flask import keeper, worker
from codapi_flask.models import Execution, Job

START_TIMEOUT = 60.0
"""Seconds that a process of ours may take to be ready."""

CLEAN_TIMEOUT = 60.0
"""Seconds that a worker may take to clean up after a job until it counts as hung."""


class Child:
    """A process of ours and our end of its pipe. It leaves when the pipe closes.

    The thread that makes it takes no signals from then on.
    """

    def __init__(self, main: Callable[..., None], *args: Any) -> None:
        # a worker is forked from a small process that has the modules, but nothing of ours open
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([worker.__name__, keeper.__name__])
        # a signal to the whole process group is for the server alone: the fork server inherits our
        # mask, which the start of a resource tracker has changed. But it needs SIGCHLD: without,
        # nobody hears of a child's end, and we would wait for it when we end
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGCHLD})
        self.pipe, theirs = context.Pipe()
        name = main.__module__.replace("codapi_flask.", "codapi-")
        process = context.Process(target=main, args=(theirs, *args), name=name)
        process.start()
        theirs.close()
        # a number may be another's by the time we use it, a pidfd is not
        self._pidfd = os.pidfd_open(process.pid or 0)
        self._news = select.poll()
        self._news.register(self.pipe, select.POLLIN)
        self.pid = process.pid
        self.deadline = math.inf
        self.cleans_up, self.sandbox = False, ""

    def ready(self) -> Any:
        """Return the child's first message, or `None` when it does not come."""
        with suppress(EOFError, OSError):
            if self.pipe.poll(START_TIMEOUT):
                return self.pipe.recv()
        return None

    def execute(self, job: Job) -> Execution:
        """Have a worker execute a job; after the answer it may have to clean up.

        Raises:
            EOFError, OSError: it died.
        """
        # the pipe's own pickler takes several times as long, for what no job has
        self.pipe.send_bytes(pickle.dumps(job))
        if self.cleans_up:
            self._hear_that_it_is_clean()
        execution, is_clean = self.pipe.recv()
        if execution.id != job.id:
            raise EOFError
        self.cleans_up = not is_clean
        self.deadline = math.inf if is_clean else time.monotonic() + CLEAN_TIMEOUT
        return execution  # type: ignore[no-any-return]

    def is_lost(self) -> bool:
        """Whether a worker without a job is dead; if not, what it says is heard: it is clean."""
        while self._news.poll(0):
            if not self.cleans_up:
                return True
            try:
                self._hear_that_it_is_clean()
            except OSError:
                return True
            self.deadline = math.inf
        return False

    def _hear_that_it_is_clean(self) -> None:
        try:
            self.pipe.recv()
        except EOFError as error:
            # as if it had been known before it got another job
            raise BrokenPipeError from error
        self.cleans_up = False

    def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def hang_up(self) -> None:
        """Ask the process to leave; whoever reads from the pipe is woken."""
        with socket.socket(fileno=os.dup(self.pipe.fileno())) as end, suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

    def join(self, deadline: float) -> None:
        """Wait for the process's end, which comes by force at the deadline."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            self.kill()
            poll.poll(1000)
        os.close(self._pidfd)
        self.pipe.close()
