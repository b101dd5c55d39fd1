"""The pauses between starts of processes that die before they are ready."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

FIRST, LONGEST = 0.1, 30.0
"""Seconds before the second start, doubled each time, and their maximum."""

LOG_INTERVAL = 60.0
"""Seconds in which failed starts are logged once."""

log = logging.getLogger("codapi")


class Backoff:
    """The starts of one kind of process.

    `problem` is why they fail again and again, empty if they do not.
    """

    def __init__(self, kind: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._kind, self._clock = kind, clock
        self._pause, self._until, self._log_at = 0.0, clock(), clock()
        self._is_logged = False
        self.problem = ""

    @property
    def has_failed(self) -> bool:
        """Whether the last start failed."""
        return self._pause > 0

    @property
    def left(self) -> float:
        """The seconds until the next start."""
        return max(self._until - self._clock(), 0)

    def failed(self, why: str) -> None:
        """Record a failed start, and log it unless that was done in the last minute."""
        now, text = self._clock(), f"a {self._kind} cannot start: {why}"
        if self.has_failed:
            # once may be an accident, such as the death of the fork server
            self.problem = text
        self._pause = min(self._pause * 2 or FIRST, LONGEST)
        self._until = now + self._pause
        if now >= self._log_at:
            self._log_at, self._is_logged = now + LOG_INTERVAL, True
            log.error("%s; will try again", text)

    def worked(self) -> None:
        """Record that a process is ready."""
        if self._is_logged:
            log.info("a %s can start again", self._kind)
        self._pause, self._until, self._is_logged, self.problem = 0.0, self._clock(), False, ""
