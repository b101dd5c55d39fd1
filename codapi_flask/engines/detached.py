"""A program that runs on after its step, beside the following ones."""

from __future__ import annotations

import time
from dataclasses import replace

from codapi_flask.boxes.outcome import ended
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.attach import Stream
from codapi_flask.daemon.container import Container
from codapi_flask.engines.plain import explained, refusal
from codapi_flask.errors import NotRunning
from codapi_flask.models import Outcome
from codapi_flask.program import Program
from codapi_flask.streams import WATCH_INTERVAL, Cancel, pump


class Detached:
    """A detached program in its container; `remove` must follow.

    Every wait of the run reads its output, of which the end is kept.
    """

    def __init__(
        self, box: BoxSpec, program: Program, container: Container, stream: Stream, cancel: Cancel
    ) -> None:
        """Own a container whose program has been started."""
        self.box, self.container = box, container
        self._program, self._stream, self._cancel = program, stream, cancel
        self.is_stopped = False
        """Whether a step ends it: then it does not end by itself."""
        self._is_open = True
        self._ended: Outcome | None = None
        self.began = True
        """Whether its program could be started, as far as `ended` knows."""
        cancel.add(stream.fileno(), self._read)

    def ended(self, patience: float = 0) -> Outcome | None:
        """Return how the program ended by itself, `None` if it did not.

        Its output ends with it: within `patience` seconds, or it counts as running.

        Raises:
            ServerFault: the daemon failed.
        """
        if self.is_stopped:
            return None
        if self._is_open:
            self._read()
        if self._is_open and pump(Cancel(), [self._stream], None, b"", time.monotonic() + patience):
            self._close()
        if not self._is_open and not self._ended:
            try:
                self._ended = self._outcome()
            except NotRunning:
                # removed, by this server or by others
                return None
        return self._ended

    def remove(self) -> None:
        """Kill the program and remove its container.

        Raises:
            ServerFault: the daemon did not confirm that.
        """
        if self._is_open:
            self._close()
        # the daemon would wait for output that nobody reads
        self._stream.close()
        self.container.remove()

    def _read(self) -> None:
        if not self._stream.read():
            self._close()

    def _close(self) -> None:
        self._is_open = False
        self._cancel.remove(self._stream.fileno())

    def _outcome(self) -> Outcome | None:
        code = self.container.wait(time.monotonic() + WATCH_INTERVAL)
        if code is None:
            # only its streams are closed
            return None
        signal = code - 128 if code > 128 else None
        outcome = ended(code, signal, self._stream.stdout, self._stream.stderr, kind="fresh")
        self.began = not refusal(outcome)
        if code:
            outcome = explained(outcome, self.container, self.box, self._program)
        return replace(outcome, box=self.box.name)
