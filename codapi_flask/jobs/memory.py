"""What answers to jobs depend on, and the memory of successful executions."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

from cachetools import TLRUCache

from codapi_flask.config.model import Config
from codapi_flask.models import Execution, Job

ENTRY_SIZE = 450
"""Bytes that an entry takes beyond its execution: keys, links and objects, as measured."""


class Key(NamedTuple):
    """What equal jobs have in common, the ids of their images, and the seconds of their memory."""

    digest: bytes
    images: frozenset[str]
    lifetime: float


class Keys:
    """The keys of jobs; `find_images` returns ids by name, of none while they are unknown."""

    def __init__(self, config: Config, find_images: Callable[[], Mapping[str, str]]) -> None:
        self._config, self._find_images = config, find_images

    def lifetime(self, job: Job) -> float:
        """Return the seconds for which an answer is remembered; 0: it is not."""
        config = self._config
        return config.cache_size and config.commands[job.sandbox][job.command].cache

    def of(self, job: Job) -> Key | None:
        """Return a job's key, `None` if no answer is remembered, or an image is unknown."""
        if not (lifetime := self.lifetime(job)):
            return None
        images, boxes = self._find_images(), self._config.boxes
        steps = self._config.commands[job.sandbox][job.command].all_steps()
        ids = [images.get(boxes[step.box_name(job.version)].image, "") for step in steps]
        if not all(ids):
            return None
        # all fields of a job but these two: one that is added later may matter, too
        text = repr((replace(job, id="", is_live=False), ids))
        return Key(sha256(text.encode()).digest(), frozenset(ids), lifetime)


class _Entry(NamedTuple):
    """A pickled execution, whose size is exact, and the seconds of its life."""

    execution: bytes
    lifetime: float


class Memory:
    """Executions by key, of `size` bytes at most. Not for use by two threads."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: TLRUCache[bytes, _Entry] = TLRUCache(
            size,
            lambda _, entry, now: now + entry.lifetime,
            clock,
            getsizeof=lambda entry: ENTRY_SIZE + len(entry.execution),
        )

    def __contains__(self, key: Key) -> bool:
        """Whether an execution is remembered."""
        return key.digest in self._entries

    def find(self, key: Key) -> Execution | None:
        """Return the execution that is remembered, `None` without one."""
        entry = self._entries.get(key.digest)
        # pickled below
        return pickle.loads(entry.execution) if entry else None  # noqa: S301

    def remember(self, key: Key, execution: Execution) -> None:
        """Remember an execution if it is worth it; the least recently used ones make room.

        It is if it is successful and complete, and ran in the key's images, which may have been
        replaced since.
        """
        outcomes = execution.programs()
        is_cut = bool(execution.left_out) or any(outcome.truncated for outcome in outcomes)
        is_current = {outcome.image for outcome in outcomes} <= key.images
        if not execution.ok or execution.fault or is_cut or not is_current:
            return
        entry = _Entry(pickle.dumps(execution), key.lifetime)
        if self._entries.getsizeof(entry) <= self._entries.maxsize:
            self._entries[key.digest] = entry

    def usage(self) -> tuple[int, int]:
        """Return the number of executions, and their size in bytes."""
        self._entries.expire()
        return len(self._entries), int(self._entries.currsize)
