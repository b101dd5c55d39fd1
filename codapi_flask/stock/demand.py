"""How many boxes of a name are wanted, and when a refill may start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

MEMORY = 300.0
"""Seconds for which a high-water mark counts."""

GRACE, MAX_GRACE = 0.1, 0.5
"""Seconds by which a run postpones refills, which would compete with it for processors, and the
most that later runs may extend this to."""


class RefillDelay:
    """Postpones refills while runs begin; `end` is an instant of the clock."""

    def __init__(self, processors: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._processors, self._clock = processors, clock
        self._start = self.end = -math.inf

    def give(self, running: int) -> None:
        """Record a run's start or a lost box, and postpone refills.

        With more runs than processors each takes longer: then every new run postpones refills
        again, up to `MAX_GRACE`.
        """
        now = self._clock()
        if now >= self.end:
            self._start = now
        elif running <= self._processors:
            return
        self.end = min(now + GRACE, self._start + MAX_GRACE)

    @property
    def is_over(self) -> bool:
        """Whether a refill may start while something runs."""
        return self._clock() >= self.end


@dataclass(slots=True)
class PeakDemand:
    """The high-water mark of boxes of one name in use at once; two half-windows let it decay."""

    now: int = 0
    before: int = 0
    since: float = -math.inf
    last: float = -math.inf

    def saw(self, count: int, time: float) -> None:
        """Record the number of boxes in use at an instant."""
        self.peak(time)
        self.now, self.last = max(self.now, count), time

    def peak(self, time: float) -> int:
        """Return the high-water mark at an instant."""
        if time - self.since > MEMORY:
            self.now = self.before = 0
            self.since = time
        elif time - self.since > MEMORY / 2:
            self.now, self.before = 0, self.now
            self.since = time
        return max(self.now, self.before)
