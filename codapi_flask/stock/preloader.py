"""Preloads boxes: starts ahead the program that waits in each for its next run."""

from __future__ import annotations

import logging
import math
import selectors
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from codapi_flask.boxes.box import Box

MAX_FAILURES = 3
"""Failures in a row after which no boxes of a name are preloaded for a time."""

WITHOUT_TIME = 300.0
"""Seconds for which they are not."""

SLOW = 2.0
"""Seconds after which a box that is not ready no longer keeps others from their turn."""

log = logging.getLogger("codapi")


class Preloader:
    """The boxes that are to be preloaded, and those that are being preloaded.

    `ready` gets each box whose program waits, or that is not preloaded after too many failures.
    `counts` counts the boxes by name, `failed` the failures.
    """

    def __init__(
        self,
        timeout: float,
        selector: selectors.BaseSelector,
        ready: Callable[[Box], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Give a box `timeout` seconds; the selector's owner calls the data of its keys."""
        self._timeout, self._selector, self._ready, self._clock = timeout, selector, ready, clock
        self._boxes: deque[Box] = deque()
        # with the instants at which they count as hung
        self._begun: dict[Box, float] = {}
        self._failures: Counter[str] = Counter()
        self._without_until: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    @property
    def begun(self) -> int:
        """How many boxes are being preloaded, without those that take long."""
        latest = self._clock() - SLOW + self._timeout
        return sum(deadline > latest for deadline in self._begun.values())

    def wants(self, box: Box) -> bool:
        """Whether a box should be preloaded before its next run."""
        until = self._without_until.get(box.spec.name, -math.inf)
        return box.spec.preload is not None and not box.waits and self._clock() >= until

    def add(self, box: Box) -> None:
        """Take over a box that should be preloaded."""
        self._boxes.append(box)
        self.counts[box.spec.name] += 1

    def begin(self, most: int) -> None:
        """Preload up to `most` boxes, without waiting for them."""
        while self._boxes and most > 0:
            box = self._boxes[0]
            try:
                box.preload()
            except ConnectionError:
                # it died in the queue: that is no failure to preload
                self._let_go(box)
                box.discard()
                continue
            except (OSError, ValueError) as error:
                self._fail(box.spec.name, str(error))
                continue
            self._boxes.popleft()
            self._begun[box] = self._clock() + self._timeout
            self._selector.register(box, selectors.EVENT_READ, partial(self._hear, box))
            most -= 1

    def take(self, name: str) -> Box | None:
        """Return a living box, preloaded or not; `None` if there is none."""
        # the one begun last has lost the least time
        for box in [*self._boxes, *reversed(self._begun)]:
            if box.spec.name == name:
                self._let_go(box)
                if box.is_alive:
                    return box
                box.discard()
        return None

    def stays(self, box: Box) -> bool:
        """Whether a box goes on waiting; otherwise it is dead, or taken over to be preloaded."""
        name, was_waiting = box.spec.name, box.waits
        if not box.is_alive:
            box.discard()
            return False
        if box.waits:
            # not before: it may end at once
            del self._failures[name]
        elif was_waiting:
            self._fail(name, "it ends while it waits")
        if self.wants(box):
            self.add(box)
            return False
        return True

    def tidy(self) -> None:
        """Discard dead boxes, and those whose program is not ready in time."""
        for box in [*self._boxes]:
            if not box.is_alive:
                self._let_go(box)
                box.discard()
        for box, deadline in [*self._begun.items()]:
            # the box may be paused: then its init would not kill the program
            if self._clock() >= deadline:
                self._let_go(box)
                box.discard()
                self._fail(box.spec.name, f"not ready within {self._timeout:g} s")

    def retire(self, is_outdated: Callable[[Box], bool]) -> None:
        """Discard boxes of replaced images."""
        for box in filter(is_outdated, [*self._boxes, *self._begun]):
            self._let_go(box)
            box.discard()

    def _let_go(self, box: Box) -> None:
        self._end(box)
        self._boxes.remove(box)
        self.counts[box.spec.name] -= 1

    def _end(self, box: Box) -> None:
        """Count a box that is being preloaded among the others again."""
        if self._begun.pop(box, None) is not None:
            self._selector.unregister(box)
            self._boxes.appendleft(box)

    def _hear(self, box: Box) -> None:
        if box not in self._begun:
            # another event of the same turn had it taken
            return
        try:
            news = box.hear()
        except ConnectionError as error:
            self._let_go(box)
            box.discard()
            self._fail(box.spec.name, str(error))
            return
        if not news:
            return
        self._end(box)
        if news.waits:
            self._let_go(box)
            self._ready(box)
            return
        self._fail(box.spec.name, box.preload_problem(news))

    def _fail(self, name: str, why: str) -> None:
        """Count a failure; after too many in a row preload no boxes of that name for a time."""
        self.failed[name] += 1
        self._failures[name] += 1
        if self._failures[name] < MAX_FAILURES:
            return
        del self._failures[name]
        self._without_until[name] = self._clock() + WITHOUT_TIME
        if self._told.get(name) != why:
            text = "box %s: cannot preload, its programs start as usual for %d s at a time: %s"
            log.warning(text, name, WITHOUT_TIME, why)
        self._told[name] = why
        for box in [box for box in self._boxes if box.spec.name == name]:
            self._let_go(box)
            self._ready(box)
