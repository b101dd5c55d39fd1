"""What executes jobs."""

from __future__ import annotations

from typing import Protocol

from codapi_flask.models import Execution, Job


class Executor(Protocol):
    """Executes jobs: the pool, or another place for them."""

    def run(self, job: Job) -> Execution:
        """Execute a job.

        Raises:
            Busy: not now.
        """

    def is_full(self) -> bool:
        """Whether a job that came now would be refused; may be wrong a moment later."""

    def problem(self) -> str:
        """Return why executions cannot work at the moment, empty when they can."""
