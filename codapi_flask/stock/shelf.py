"""What the keeper holds and what it should hold: only bookkeeping, no calls of the daemon."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping

from codapi_flask.boxes.box import Box
from codapi_flask.config.model import BoxSpec
from codapi_flask.stock.demand import Demand
from codapi_flask.stock.handoff_queue import HandoffQueue
from codapi_flask.stock.room import Room

BACKOFF, MAX_BACKOFF = 1.0, 60.0
"""Seconds before a failed start is retried, doubled each time, and their maximum."""

RECENT = 30.0
"""Seconds for which a box that was needed does not yield to one that is not even started.

Without it, more kinds in turn than there is room for would replace each other all the time.
"""


class Shelf:
    """The waiting boxes by name, and the number of those in use.

    A name's target is its demand, and at least its `warm`. What waits or starts must fit into the
    room. When the room is full, the box yields whose number, of its name, was needed least
    recently; what it costs to have it again is about in proportion to the memory that it frees.
    The `warm` never yield, and are kept even if the room does not hold them.
    """

    def __init__(
        self,
        boxes: Mapping[str, BoxSpec],
        room: Room,
        clock: Callable[[], float] = time.monotonic,
        queue: Callable[[BoxSpec], HandoffQueue] = HandoffQueue,
    ) -> None:
        self._boxes, self._room, self._clock = boxes, room, clock
        self.queues = {name: queue(box) for name, box in boxes.items()}
        self._demand = {name: Demand(box.uses > 1) for name, box in boxes.items()}
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
        box = self._boxes[name]
        # another one is preloaded meanwhile: one that comes back is not ready at once
        spare = int(box.preload is not None and box.uses > 1)
        self._demand[name].saw(self.out[name] + spare, self._clock())

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

    def weigh(self, name: str, kib: int) -> None:
        """Record the memory of a waiting box of a name that the kernel cannot drop, as measured."""
        self._room.weigh(name, kib)

    def admits(self, box: Box) -> bool:
        """Whether a box may wait: it is not outdated, and has room, for which others yield."""
        name = box.spec.name
        age = self._age(name, self._held(name) + 1)
        return not self.is_outdated(box) and self._make_room(name, self._waiting, age)

    def put(self, box: Box) -> None:
        """Add a waiting box; discard it if it may not wait."""
        if not self.admits(box):
            box.discard()
        elif self._have_wait(box):
            self._backoff.pop(box.spec.name, None)

    def failed(self, name: str) -> None:
        """Record a failed start; the next one waits for the backoff."""
        pause = self._backoff.get(name, BACKOFF)
        self._backoff[name] = min(pause * 2, MAX_BACKOFF)
        self._not_before[name] = self._clock() + pause

    def next_to_start(self, may_evict: bool = True) -> str | None:
        """Return the name that lacks the most boxes, `None` if none may be started.

        Makes room for it by evicting others, if it may.
        """
        now = self._clock()
        lacks = {
            name: self._lack(name)
            for name in self._boxes
            if now >= self._not_before.get(name, -math.inf)
        }
        for name in sorted(lacks, key=lambda name: lacks[name], reverse=True):
            if lacks[name] <= 0:
                break
            # boxes in use that come back keep their place
            if self._make_room(name, self._held, RECENT if may_evict else math.inf):
                return name
        return None

    @property
    def is_short(self) -> bool:
        """Whether less than half of several wanted boxes are there, of those that do not return."""
        fresh = (name for name, box in self._boxes.items() if box.uses == 1)
        return any(
            self._lack(name) > max(1, self._wanted(name) / 2)
            for name in fresh
            if name not in self._backoff
        )

    def tidy(self, stays: Callable[[Box], bool]) -> None:
        """Remove the boxes that do not stay, and discard those beyond their name's target."""
        for name in self.queues:
            self._sift(name, stays)
            while self._lack(name) < 0 and len(self.queues[name]):
                self._drop(name)

    def retire(self, images: Mapping[str, str]) -> None:
        """Discard boxes of replaced images, now and when they come back.

        `images` maps names to current ids.
        """
        self._images = images
        for name in self.queues:
            self._sift(name, self._is_current)
        self._not_before.clear()

    def is_outdated(self, box: Box) -> bool:
        """Whether the image of a box has been replaced."""
        return self._images.get(box.spec.image, box.image.id) != box.image.id

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

    def _sift(self, name: str, stays: Callable[[Box], bool]) -> None:
        queue = self.queues[name]
        for _ in range(len(queue)):
            # a worker may have taken it meanwhile
            if (box := queue.take()) and stays(box):
                self._have_wait(box)

    def _is_current(self, box: Box) -> bool:
        """Discard an outdated box."""
        if is_outdated := self.is_outdated(box):
            box.discard()
        return not is_outdated

    def _drop(self, name: str) -> None:
        if box := self.queues[name].take():
            box.discard()

    def _waiting(self, name: str) -> int:
        return len(self.queues[name]) + self.starting[name] + self.preloading[name]

    def _held(self, name: str) -> int:
        """Return how many boxes of a name wait, start, or are in use and come back."""
        return self._waiting(name) + (self.out[name] if self._boxes[name].uses > 1 else 0)

    def _wanted(self, name: str) -> int:
        return max(self._boxes[name].warm, self._demand[name].count(self._clock()))

    def _lack(self, name: str) -> int:
        return self._wanted(name) - self._held(name)

    def _age(self, name: str, count: int) -> float:
        return self._demand[name].age(count, self._clock())

    def _make_room(self, name: str, count: Callable[[str], int], min_age: float) -> bool:
        """Return whether one more box of a name fits beside those that `count` returns by name.

        Evicts others for it that were last needed more than `min_age` seconds ago. The `warm` of
        the name evict any, and always fit.
        """
        counts = {other: count(other) for other in self._boxes}
        counts[name] += 1
        is_floor = counts[name] <= self._boxes[name].warm
        evicted: Counter[str] = Counter()
        while not self._room.holds(counts):
            ages = {
                other: self._age(other, self._held(other) - evicted[other])
                for other, queue in self.queues.items()
                if other != name and len(queue) - evicted[other] > self._boxes[other].warm
            }
            victim = max(ages, key=lambda other: ages[other], default="")
            if not victim or (ages[victim] <= min_age and not is_floor):
                if is_floor:
                    break
                return False
            evicted[victim] += 1
            counts[victim] -= 1
        for victim in evicted.elements():
            self._drop(victim)
        return True
