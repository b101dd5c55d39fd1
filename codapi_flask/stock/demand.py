"""How many boxes of a name are wanted, and when a refill may begin."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

MEMORY = 300.0
"""Seconds for which it counts how many boxes of a name were in use at once."""

GRACE, MAX_GRACE = 0.1, 0.5
"""Seconds that those who run get before the start of a box takes part of the machine."""


class RefillDelay:
    """Until when refills wait for those who run; `end` is an instant of the clock."""

    def __init__(self, processors: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._processors, self._clock = processors, clock
        self._start = self.end = -math.inf

    def give(self, running: int) -> None:
        """Take note that a run begins, or a box is gone that the next run may miss.

        More runs than processors get more time, for then each takes longer; but not for ever.
        """
        now = self._clock()
        if now >= self.end:
            self._start = now
        elif running <= self._processors:
            return
        self.end = min(now + GRACE, self._start + MAX_GRACE)

    @property
    def is_over(self) -> bool:
        """Whether a refill may begin although something runs."""
        return self._clock() >= self.end


@dataclass(slots=True)
class PeakDemand:
    """How many boxes of one name were in use at once lately; two half-windows make it forget."""

    now: int = 0
    before: int = 0
    since: float = -math.inf
    last: float = -math.inf

    def saw(self, count: int, time: float) -> None:
        """Take note of the boxes in use at a time."""
        self.peak(time)
        self.now, self.last = max(self.now, count), time

    def peak(self, time: float) -> int:
        """Return the most boxes that were in use at once."""
        if time - self.since > MEMORY:
            self.now = self.before = 0
            self.since = time
        elif time - self.since > MEMORY / 2:
            self.now, self.before = 0, self.now
            self.since = time
        return max(self.now, self.before)
