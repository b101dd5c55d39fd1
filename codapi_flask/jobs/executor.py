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
        """Yield what happens, the execution last; iterate once, to the end.

        A run that nobody iterates holds its place until its time budget is over.
        """

    def cancel(self) -> None:
        """Cancel the run: its program is killed, and its execution has the reason `cancelled`.

        The run ends at its next wait for a program; a command of the http engine runs to its end.
        Any thread may call it, at any time; a run that has ended ignores it.
        """


class Executor(Protocol):
    """Executes jobs. Safe for use by many threads, unless a class says otherwise."""

    def start(self, job: Job) -> Run:
        """Begin to execute a job.

        Raises:
            Busy: not now.
            ServerFault: nothing can execute jobs at the moment.
        """

    def busy(self) -> int:
        """Return how many jobs are executed, until the end of their `after` steps."""

    def is_full(self) -> bool:
        """Whether a job that came now would be refused; may be wrong a moment later."""

    def problem(self) -> str:
        """Return why executions cannot work at the moment, empty when they can."""


def run(executor: Executor, job: Job) -> Execution:
    """Execute a job and return its execution.

    Raises:
        Busy: not now.
    """
    start = time.monotonic()
    try:
        [execution] = [event for event in executor.start(job) if isinstance(event, Execution)]
    except ServerFault as fault:
        return Execution.failed(job.id, str(fault), start)
    return execution
