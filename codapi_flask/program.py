"""What a step runs in a box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from codapi_flask.live import Live
from codapi_flask.models import StreamName


@dataclass(frozen=True, slots=True)
class Program:
    """What a step runs in a box: an argv, as a user (name or number, optionally with `:group`).

    `stdin` is its input, `None` if empty. `timeout` is in seconds from its start, `noutput` the
    most that is kept of each of its output streams, in bytes. `live` gets its output as it comes.
    """

    argv: Sequence[str]
    user: str
    stdin: bytes | None = None
    timeout: float = 5
    noutput: int = 4096
    live: Live | None = None

    def listener(self, stream: StreamName) -> Callable[[bytes | memoryview], None] | None:
        """Return what gets a copy of one output stream, `None` if nothing does."""
        return partial(self.live.write, stream) if self.live else None
