"""A job that a worker of the pool executes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from codapi_flask.models import Execution, Job
from codapi_flask.pool.child import WorkerChild


class Workers(Protocol):
    """The pool, as a run uses it."""

    def begin(self, job: Job) -> WorkerChild:
        """Give a job to an idle worker."""

    def end(self, child: WorkerChild) -> None:
        """Take back a worker that has answered."""

    def lose(self, child: WorkerChild) -> None:
        """Replace a worker that died or hung, or whose answer is lost."""


class PoolRun:
    """A job that a worker executes; the run owns the worker until its answer."""

    def __init__(self, workers: Workers, job: Job, child: WorkerChild) -> None:
        self._workers, self._job, self._child = workers, job, child
        self._start = time.monotonic()
        self._is_cancelled = False

    def __iter__(self) -> Iterator[Execution]:
        """Wait for the execution and yield it; a lost worker yields a failed one.

        Raises:
            Busy: the worker died before it read the job, and no other is idle.
            ServerFault: it died, and no worker can start.
        """
        yield self._result()

    def cancel(self) -> None:
        """Cancel the run; safe from any thread."""
        self._is_cancelled = True
        with suppress(OSError):
            self._child.cancel(self._job)

    def _result(self) -> Execution:
        workers, job, child = self._workers, self._job, self._child
        try:
            execution = child.result(job)
        except BaseException as error:
            overdue = time.monotonic() >= child.deadline
            workers.lose(child)
            if not isinstance(error, EOFError | OSError):
                raise
            # what a worker had not read when it died: the job, or the cancellation of one it ran
            is_reset = isinstance(error, BrokenPipeError | ConnectionResetError)
            if is_reset and self._is_cancelled:
                return Execution.cancelled(job.id, self._start)
            if is_reset and not overdue:
                # another worker may execute the job
                self._child = workers.begin(job)
                if self._is_cancelled:
                    # it came too late for the first worker
                    self.cancel()
                return self._result()
            fault = f"worker {child.pid} {'hung' if overdue else 'died'}"
            return Execution.failed(job.id, fault, self._start)
        workers.end(child)
        return execution
