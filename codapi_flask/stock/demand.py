"""How many boxes of a name are wanted, and when a refill may start."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable

MEMORY = 300.0
"""Seconds for which a demand counts."""

REPLACEMENT = 2.0
"""Seconds in which boxes that serve one run are replaced: those taken in that time must be there.

A start takes 0.1 s alone and several times that beside runs, which postpone it besides.
"""

BURST = 16 * len(os.sched_getaffinity(0))
"""The most boxes of a name that are wanted for runs that follow each other.

A client that sends run after run empties any stock faster than boxes start. Without a bound it
would be given more each time, until the host does nothing but start and remove them.
"""

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


class Demand:
    """How many boxes of one name are needed at once, and when each of them last was.

    Reusable boxes are needed while they are in use. Of others, a run needs one, and the runs of
    the next `REPLACEMENT` seconds need more, up to `BURST`.
    """

    def __init__(self, is_reusable: bool) -> None:
        self._is_reusable = is_reusable
        self._taken: deque[float] = deque(maxlen=BURST)
        # the first box was needed no earlier than the second, and so on
        self._needed: list[float] = []

    def saw(self, in_use: int, now: float) -> None:
        """Record that a box was taken at an instant, and how many are in use since."""
        if self._is_reusable:
            count = in_use
        else:
            self._taken.append(now)
            while self._taken[0] <= now - REPLACEMENT:
                self._taken.popleft()
            count = len(self._taken)
        self._needed[:count] = [now] * count

    def count(self, now: float) -> int:
        """Return how many boxes were needed at once in the last `MEMORY` seconds."""
        while self._needed and now - self._needed[-1] > MEMORY:
            self._needed.pop()
        return len(self._needed)

    def age(self, count: int, now: float) -> float:
        """Return the seconds since so many boxes were needed at once."""
        return now - self._needed[count - 1] if count <= len(self._needed) else math.inf
