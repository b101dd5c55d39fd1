"""The engines: each executes one kind of command.

Comes in: a `Job` and its `Command`. Goes out: a `Report`.
"""

from __future__ import annotations

from typing import Protocol

from codapi_flask.config.model import Command
from codapi_flask.models import Job, Outcome, Report


class Engine(Protocol):
    """Executes commands, one after another."""

    def execute(self, job: Job, command: Command) -> Report:
        """Execute the command on the job's files.

        Whether it returns or raises, its `after` step may still be due: see `is_over`.

        Raises:
            FileError: a file of the request cannot be used.
            ServerFault: the server failed.
            Cancelled, Abandoned: the execution was cancelled, or the web process is gone.
        """

    def is_over(self) -> bool:
        """Whether no step of the last execution is due; if one is, `finish` must follow."""

    def finish(self) -> Outcome:
        """Execute the `after` step that a failure left due, and return its outcome.

        Raises:
            ServerFault: the server failed.
            Abandoned: the web process is gone.
        """

    def is_clean(self) -> bool:
        """Whether nothing is left of the last execution; if not, `clean_up` must follow."""

    def clean_up(self) -> None:
        """Remove what the last execution left, if anything, before the next one.

        Raises:
            ServerFault: something is left.
        """
