"""A worker process, as the pool sees it."""

from __future__ import annotations

import math
import pickle
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from codapi_flask.jobs.executor import Event
from codapi_flask.models import Job
from codapi_flask.process import Child


class WorkerChild(Child):
    """A worker: executes one job after another, and may clean up between two."""

    def __init__(self, clean_timeout: float, *args: Any) -> None:
        """Start a worker; it may clean up for `clean_timeout` seconds until it counts as hung."""
        super().__init__(*args)
        self._clean_timeout = clean_timeout
        self._news = select.poll()
        self._news.register(self.pipe, select.POLLIN)
        self.is_over, self.cleans_up, self.sandbox, self.job_id = True, False, "", ""
        # guards the pipe's sending side: `cancel` comes from other threads
        self._sending = threading.Lock()
        self._job: Job | None = None

    def fileno(self) -> int:
        """Return a descriptor that is readable when the worker has sent something."""
        return self.pipe.fileno()

    def begin(self, job: Job) -> None:
        """Send the worker a job; `events` must follow.

        Raises:
            OSError: the worker died.
        """
        # the pipe's own pickler takes several times as long, for features that no job needs
        message = pickle.dumps(job)
        with self._sending:
            self._job, self.job_id = job, job.id
            self.pipe.send_bytes(message)

    def cancel(self, job: Job) -> None:
        """Cancel a job, once, if the worker still executes it; does not block.

        Nothing happens while another thread sends, or while the worker cleans up and reads nothing:
        the thread of the job's run calls `cancel` afterwards, if it must.

        Raises:
            OSError: the worker died.
        """
        if self.cleans_up:
            return
        if not self._sending.acquire(blocking=False):
            return
        try:
            if self._job is job:
                self._job = None
                self.pipe.send("cancel")
        finally:
            self._sending.release()

    def acknowledge(self, job: Job, size: int) -> None:
        """Let a live job's program print `size` characters more.

        Raises:
            OSError: the worker died.
        """
        with self._sending:
            if self._job is job:
                self.pipe.send(size)

    def forget(self) -> None:
        """Send nothing more: the worker is lost, and its pipe is about to close."""
        with self._sending:
            self._job = None

    def events(self, job: Job, is_read: Callable[[], None]) -> Iterator[Event]:
        """Yield the events of the job, its execution last; first call `is_read` after a cleanup.

        `is_over` is then whether the worker is done with its steps; if not, `finish` must follow.
        `cleans_up` is whether it still cleans up.

        Raises:
            EOFError, OSError: the worker died.
        """
        if self.cleans_up:
            self._receive_clean()
            is_read()
        while not isinstance(message := self.pipe.recv(), tuple):
            yield message
        execution, self.is_over, is_clean = message
        if execution.id != job.id:
            raise EOFError
        with self._sending:
            self._job = None
        if self.is_over:
            self._settle(is_clean)
        yield execution

    def finish(self) -> None:
        """Wait for the end of an `after` step, which the job's deadline still bounds.

        Raises:
            EOFError, OSError: the worker died.
        """
        self.pipe.recv()
        self.is_over = True
        self._settle(is_clean=False)

    def _settle(self, is_clean: bool) -> None:
        self.cleans_up = not is_clean
        self.deadline = math.inf if is_clean else time.monotonic() + self._clean_timeout

    def is_lost(self) -> bool:
        """Whether a worker without a job is dead; also note the end of its cleanup."""
        while self._news.poll(0):
            if not self.cleans_up:
                return True
            try:
                self._receive_clean()
            except OSError:
                return True
            self.deadline = math.inf
        return False

    def _receive_clean(self) -> None:
        try:
            self.pipe.recv()
        except EOFError as error:
            # the caller then treats the worker as one that died before it read the next job
            raise BrokenPipeError from error
        self.cleans_up = False
