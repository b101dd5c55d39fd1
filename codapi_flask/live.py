"""Sends a run's output on while its programs run."""

from __future__ import annotations

import codecs
import math
import time
from collections.abc import Callable, Iterable

from codapi_flask.models import Printed, StepBegan, StreamName

SEND_INTERVAL = 0.02
"""Seconds between two events of a live stream, so that each small write is not an event."""

WINDOW = 1 << 15
"""Characters of a live run's output that may be on their way to its client. Beyond it, the output
waits in the program's pipes (32 KiB more at most while they are read), then the program does."""

ACKNOWLEDGE_SIZE = WINDOW // 2
"""Characters that the client has taken before the worker hears of it; the whole window would stop
the program each time."""


class Live:
    """Sends a run's output on while its programs run, in whole characters.

    Beyond `window` characters that are not yet acknowledged it is full: the programs wait.
    """

    def __init__(
        self, send: Callable[[StepBegan | Printed], None], window: float = math.inf
    ) -> None:
        """Call `send` with each event; a window that is not infinite needs `acknowledge`."""
        self._send, self._window = send, window
        self._streams: dict[StreamName, tuple[bytearray, codecs.IncrementalDecoder]] = {}
        self._unacknowledged, self._step, self._due = 0, 0, 0.0
        self._run: int | None = None
        self._has_begun = True

    def reset(self) -> None:
        """Begin with another run."""
        self._unacknowledged = 0

    def begin(self, step: int, run: int | None = None) -> None:
        """Begin with a step, or a run of it; `end` must follow, unless all ends with an error.

        The event follows with the first `flush`, once the program has started: a step that the
        server cannot execute sends nothing, so that its client may still get an error status.
        """
        decoder = codecs.getincrementaldecoder("utf-8")
        self._streams = {"stdout": (bytearray(), decoder("replace"))}
        self._streams["stderr"] = bytearray(), decoder("replace")
        self._step, self._run, self._has_begun = step, run, False

    def end(self, truncated: Iterable[str]) -> None:
        """Send the rest of the step's output; of `truncated` streams no part of a character."""
        self._announce()
        for name, (kept, decoder) in self._streams.items():
            self._print(name, decoder.decode(bytes(kept), final=name not in truncated))
        self._streams = {}

    def write(self, stream: StreamName, data: bytes | memoryview) -> None:
        """Keep output until it is sent."""
        self._streams[stream][0].extend(data)

    def acknowledge(self, size: int) -> None:
        """Count characters that the reader has taken: the window has room for as many more."""
        self._unacknowledged -= size

    @property
    def is_full(self) -> bool:
        """Whether the programs must wait."""
        kept = sum(len(kept) for kept, _ in self._streams.values())
        return self._unacknowledged + kept >= self._window

    def flush(self) -> float:
        """Send what is kept if it is due; return the seconds until it will be."""
        self._announce()
        if not any(kept for kept, _ in self._streams.values()):
            return math.inf
        left = self._due - time.monotonic()
        if left > 0:
            return left
        for name, (kept, decoder) in self._streams.items():
            self._print(name, decoder.decode(bytes(kept)))
            kept.clear()
        self._due = time.monotonic() + SEND_INTERVAL
        return math.inf

    def _announce(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._send(StepBegan(self._step, self._run))

    def _print(self, name: StreamName, text: str) -> None:
        if text:
            self._unacknowledged += len(text)
            self._send(Printed(self._step, name, text, self._run))
