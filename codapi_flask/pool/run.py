"""A job that a worker of the pool executes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from codapi_flask.errors import Cancelled
from codapi_flask.jobs.executor import Event
from codapi_flask.models import Execution, Job
from codapi_flask.pool.child import WorkerChild
from codapi_flask.pool.idle import Ticket


class Workers(Protocol):
    """The pool, as a run uses it."""

    def begin(self, job: Job, ticket: Ticket) -> WorkerChild:
        """Give a job to an idle worker, maybe after a wait."""

    def cancel(self, ticket: Ticket) -> None:
        """Cancel a ticket; a run that waits with it gets no worker."""

    def end(self, child: WorkerChild) -> None:
        """Take back a worker that has answered."""

    def lose(self, child: WorkerChild) -> None:
        """Replace a worker that died or hung, or whose answer is lost."""


class PoolRun:
    """A job that a worker executes; the run owns the worker until its answer."""

    def __init__(self, workers: Workers, job: Job, ticket: Ticket) -> None:
        self._workers, self._job, self._ticket = workers, job, ticket
        self._child: WorkerChild | None = None
        self._start = time.monotonic()

    def __iter__(self) -> Iterator[Event]:
        """Wait for a worker, and yield the events; a lost worker yields a failed execution.

        Raises:
            Busy: no worker is idle.
            ServerFault: no worker can start.
        """
        try:
            yield from self._events()
        except Cancelled:
            yield Execution.cancelled(self._job.id, self._start)

    def cancel(self) -> None:
        """Cancel the run; returns at once, safe from any thread."""
        self._workers.cancel(self._ticket)
        self._cancel_job()

    def fileno(self) -> int:
        """Return a descriptor that is readable when an event is there, once there was one."""
        return self._child.fileno() if self._child else -1

    def acknowledge(self, size: int) -> None:
        """Let a live job's program print `size` characters more."""
        if self._child:
            with suppress(OSError):
                self._child.acknowledge(self._job, size)
            self._cancel_job()

    def _events(self) -> Iterator[Event]:
        child = self._begin()
        events, has_begun = child.events(self._job, self._cancel_job), False
        while True:
            try:
                event = next(events)
            except BaseException as error:
                lost = self._lose(child, error, has_begun)
                if lost:
                    yield lost
                    return
                child = self._begin()
                events = child.events(self._job, self._cancel_job)
                continue
            has_begun = True
            if isinstance(event, Execution):
                self._workers.end(child)
                yield event
                return
            yield event

    def _begin(self) -> WorkerChild:
        self._child = child = self._workers.begin(self._job, self._ticket)
        # it may have been cancelled while the worker got the job
        self._cancel_job()
        return child

    def _cancel_job(self) -> None:
        if self._ticket.is_cancelled and self._child:
            with suppress(OSError):
                self._child.cancel(self._job)

    def _lose(self, child: WorkerChild, error: BaseException, has_begun: bool) -> Execution | None:
        """Replace the worker; return the job's execution, `None` if another worker may execute it.

        Raises:
            BaseException: the error is none of the worker's.
        """
        overdue = time.monotonic() >= child.deadline
        self._workers.lose(child)
        if not isinstance(error, EOFError | OSError):
            raise error
        # what a worker had not read when it died: the job, or what followed it
        is_unread = isinstance(error, BrokenPipeError | ConnectionResetError) and not has_begun
        if is_unread and self._ticket.is_cancelled:
            return Execution.cancelled(self._job.id, self._start)
        if is_unread and not overdue:
            return None
        fault = f"worker {child.pid} {'hung' if overdue else 'died'}"
        return Execution.failed(self._job.id, fault, self._start)
