"""What executes a request: a server, or this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

Hear = Callable[[str, str], None]
"""Gets a live run's output as it comes: the stream (`stdout`, `stderr`) and the text."""


class TargetError(Exception):
    """A request cannot be executed: no server answers, the config has errors, Docker is down."""


class Answer(NamedTuple):
    """An answer of the API; `was_executed` is false for a refusal, and for a fault of the server.

    `body` has the fields of an answer, with `details` if it was executed.
    """

    body: Mapping[str, Any]
    was_executed: bool

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return bool(self.body.get("ok"))


class Target(Protocol):
    """Executes requests. Safe for use by many threads."""

    size: int
    """How many requests it executes at once."""

    def execute(self, request: Mapping[str, Any], hear: Hear | None = None) -> Answer:
        """Execute a request; `hear` gets the output as it is printed.

        Raises:
            TargetError: that is not possible.
        """

    def sandboxes(self) -> list[dict[str, Any]]:
        """Return the sandboxes, in the form of `GET /v1/sandboxes`.

        Raises:
            TargetError: that is not possible.
        """

    def close(self) -> None:
        """End what the target has started."""
