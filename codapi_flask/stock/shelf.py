"""What the keeper holds and what it should hold: only bookkeeping, no calls of the daemon."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping

from codapi_flask.boxes.box import Box
from codapi_flask.config.model import BoxSpec
from codapi_flask.stock.demand import PeakDemand
from codapi_flask.stock.handoff_queue import HandoffQueue

BACKOFF, MAX_BACKOFF = 1.0, 60.0
"""Seconds before a failed start is retried, doubled each time, and their maximum."""


class Shelf:
    """The waiting boxes by name, and the number of those in use.

    A name's target is the high-water mark of its boxes in use, and at least its `warm`. All
    waiting and starting boxes together are at most `size`; the least recently used are evicted
    first.
    """

    def __init__(
        self,
        boxes: Mapping[str, BoxSpec],
        size: int,
        clock: Callable[[], float] = time.monotonic,
        queue: Callable[[BoxSpec], HandoffQueue] = HandoffQueue,
    ) -> None:
        """Keep at most `size` boxes of these specs waiting."""
        self._boxes, self._size, self._clock = boxes, size, clock
        self.queues = {name: queue(box) for name, box in boxes.items()}
        self._demand = {name: PeakDemand() for name in boxes}
        for name, box in boxes.items():
            if box.preload:
                # the first run should find it
                self._demand[name].saw(1, clock())
        self._images: Mapping[str, str] = {}
        self._not_before: dict[str, float] = {}
        self._backoff: dict[str, float] = {}
        self.out: Counter[str] = Counter()
        self.starting: Counter[str] = Counter()
        self.preloading: Counter[str] = Counter()

    def took(self, name: str) -> None:
        """Record that a box is in use: taken, or missed and started by the worker."""
        self.out[name] += 1
        self._demand[name].saw(self.out[name], self._clock())

    def take(self, name: str) -> Box | None:
        """Return the living box that has waited longest, `None` if there is none."""
        while box := self.queues[name].take():
            if box.is_alive:
                return box
            box.discard()
        return None

    def used(self, name: str, count: int = 1) -> None:
        """Record that boxes are no longer in use."""
        self.out[name] -= count

    def put(self, box: Box) -> None:
        """Add a waiting box; discard it if it is outdated or one too many."""
        name = box.spec.name
        if self._is_outdated(box) or (self._total() >= self._size and not self._evict(name)):
            box.discard()
            return
        if self._have_wait(box):
            self._backoff.pop(name, None)

    def failed(self, name: str) -> None:
        """Record a failed start; the next one waits for the backoff."""
        pause = self._backoff.get(name, BACKOFF)
        self._backoff[name] = min(pause * 2, MAX_BACKOFF)
        self._not_before[name] = self._clock() + pause

    def next_to_start(self) -> str | None:
        """Return the name that lacks the most boxes, `None` if none may be started.

        Makes room for it by evicting another box, if necessary.
        """
        now = self._clock()
        lacks = {
            name: self._lack(name)
            for name in self._boxes
            if now >= self._not_before.get(name, -math.inf)
        }
        name = max(lacks, key=lambda name: lacks[name], default="")
        if not name or lacks[name] <= 0:
            return None
        if self._total() >= self._size and not self._evict(name):
            return None
        return name

    def tidy(self) -> None:
        """Discard dead boxes, and those beyond their name's target."""
        for name in self.queues:
            self._sift(name, lambda box: box.is_alive)
            while self._lack(name) < 0 and len(self.queues[name]):
                self._drop(name)

    def retire(self, images: Mapping[str, str]) -> None:
        """Discard boxes of replaced images, now and when they come back.

        `images` maps names to current ids.
        """
        self._images = images
        for name in self.queues:
            self._sift(name, lambda box: not self._is_outdated(box))
        self._not_before.clear()

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of boxes by name and state (`idle`, `used`, …)."""
        return {
            (name, state): count
            for name in self._boxes
            for state, count in (
                ("idle", len(self.queues[name])),
                ("starting", self.starting[name]),
                ("preloading", self.preloading[name]),
                ("used", self.out[name]),
            )
        }

    def _have_wait(self, box: Box) -> bool:
        name = box.spec.name
        try:
            self.queues[name].put(box)
        except OSError:
            # the queue is full
            self.failed(name)
            return False
        return True

    def _sift(self, name: str, is_good: Callable[[Box], bool]) -> None:
        queue = self.queues[name]
        for _ in range(len(queue)):
            # a worker may have taken it meanwhile
            if box := queue.take():
                if is_good(box):
                    self._have_wait(box)
                else:
                    box.discard()

    def _drop(self, name: str) -> None:
        if box := self.queues[name].take():
            box.discard()

    def _is_outdated(self, box: Box) -> bool:
        return self._images.get(box.spec.image, box.image.id) != box.image.id

    def _lack(self, name: str) -> int:
        box, have = self._boxes[name], len(self.queues[name])
        have += self.starting[name] + self.preloading[name]
        if box.uses > 1:
            # reusable boxes come back
            have += self.out[name]
        return max(box.warm, self._demand[name].peak(self._clock())) - have

    def _total(self) -> int:
        waiting = sum(map(len, self.queues.values()))
        return waiting + self.starting.total() + self.preloading.total()

    def _evict(self, name: str) -> bool:
        """Evict a box of the least recently used name, if it was used before `name`."""
        own = self._demand[name].last
        others = (
            (demand.last, other)
            for other, demand in self._demand.items()
            if demand.last < own and len(self.queues[other]) > self._boxes[other].warm
        )
        _, victim = min(others, default=(0, None))
        if victim is None:
            return False
        self._drop(victim)
        return True
