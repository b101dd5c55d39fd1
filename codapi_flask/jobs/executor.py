"""What executes jobs: the pool, this process, or another place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from codapi_flask.errors import ServerFault
from codapi_flask.models import Execution, Job, Printed, StepBegan

Event = Execution | Printed | StepBegan
"""What a run yields; its execution is the last, and the only event unless the job is live."""


class Run(Protocol):
    """A job that is being executed."""

    def __iter__(self) -> Iterator[Event]:
        """Execute the job: yield what happens, the execution last; iterate once, to the end.

        A run that nobody iterates to the end holds its place until its time budget is over.

        Raises:
            Busy: not now.
            ServerFault: nothing can execute jobs at the moment.
        """

    def cancel(self) -> None:
        """Cancel the run: its program is killed, and its execution has the reason `cancelled`.

        The run ends at its next wait for a program, an answer or its turn. Any thread may call it,
        at any time; it does not block. A run that has ended ignores it.
        """

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is another event, -1 without one.

        Valid between the first event and the execution.
        """

    def acknowledge(self, size: int) -> None:
        """Let a live job's program go on, once `size` characters of its output have been taken.

        A program whose output nobody takes waits as at a full pipe, until its timeout.
        """


class Executor(Protocol):
    """Executes jobs. Safe for use by many threads, unless a class says otherwise."""

    def start(self, job: Job) -> Run:
        """Return a run of a job; iterating it executes the job."""

    def busy(self) -> int:
        """Return how many jobs are executed, until the end of their `after` steps."""

    def is_full(self) -> bool:
        """Whether a job that came now would be refused; may be wrong a moment later."""

    def needs_worker(self, job: Job) -> bool:
        """Whether a job that came now would be refused if `is_full`; does not wait."""

    def problem(self) -> str:
        """Return why executions cannot work at the moment, empty when they can."""


def run(executor: Executor, job: Job) -> Execution:
    """Execute a job and return its execution.

    Raises:
        Busy: not now.
    """
    [execution] = [each for each in events(executor.start(job), job) if isinstance(each, Execution)]
    return execution


def events(run: Run, job: Job) -> Iterator[Event]:
    """Yield the events of a run of a job; a fault of the executor becomes a failed execution.

    Raises:
        Busy: not now.
    """
    start = time.monotonic()
    try:
        yield from run
    except ServerFault as fault:
        yield Execution.failed(job.id, str(fault), start)
