"""Limits what programs write to disk, where the daemon has no quota for it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from codapi_flask.boxes.trees import FLAGS
from codapi_flask.config.model import BoxSpec
from codapi_flask.errors import ServerFault
from codapi_flask.models import Outcome

BLOCK = 512
"""Bytes of a unit of `st_blocks` (stat(2))."""

ENTRY = 4096
"""Bytes that a directory entry counts for at least, so that empty files are not free."""

DEPTH = 200
"""Levels of directories that are measured: no program needs more."""

LOOKS = 8
"""Attempts to measure a tree in which names vanish: a directory may be renamed all the time."""

INTERVAL = 0.25
"""Seconds between two measurements."""

ROOT_INTERVAL = 0.5
"""Seconds until the next measurement after one that had to start a container."""

FAILURES = 3
"""Failed measurements in a row after which a box's own file system counts as too large."""


class Unsteady(Exception):
    """Names vanish at every measurement of a tree: it takes at least `used` bytes."""

    def __init__(self, used: int) -> None:
        self.used = used
        super().__init__(f"at least {used} bytes")


class TooDeep(Exception):
    """A tree has more than `DEPTH` levels of directories."""


class Writable(Protocol):
    """What a program may write to, besides its work directory."""

    def layer(self) -> Path | None:
        """Return the directory of what was written, `None` if nothing writes to it any more."""


class Quota:
    """Watches what boxes write: to their work directory, and to their own file systems.

    A directory that cannot be measured counts as too large. `is_exceeded` stays true once it was.
    """

    def __init__(
        self,
        directory: Path,
        writers: Sequence[tuple[BoxSpec, Writable]],
        measure_as_root: Callable[[Path, int], bool | None],
        interval: float = INTERVAL,
    ) -> None:
        """Allow what the boxes' config allows, in `directory` and in the containers together.

        `measure_as_root(directory, limit)` returns whether a tree takes more than `limit` bytes
        when a part of it is closed to this process, `None` if names vanish at every measurement.
        It may raise `TooDeep` and `ServerFault`. `interval` is the time between two measurements,
        in seconds.

        Raises:
            ServerFault: what a box writes to cannot be found.
        """
        self._measure_as_root = measure_as_root
        self._size = max(box.work_size for box, _ in writers)
        watched = [container for box, container in writers if box.has_watched_layer]
        layers = [layer for container in watched if (layer := container.layer())]
        self._directory = directory
        self._places = [directory, *layers]
        self._closed = {layer for layer in layers if not os.access(layer, os.R_OK | os.X_OK)}
        disks = [_disk(place) for place in self._places]
        # a deleted file that is still open is in no directory, but takes space
        self._floors = [min(disk.f_blocks // 20, disk.f_bavail // 2) for disk in disks]
        self._free = [disk.f_bavail * disk.f_frsize for disk in disks]
        self._interval, self._failures = interval, 0
        # a quick program ends before the first root box
        self._not_before = time.monotonic() + interval if self._closed else 0.0
        self.is_exceeded = False
        self._why = f"disk limit exceeded ({self._size} MiB)"

    def check(self) -> bool:
        """Whether the boxes wrote too much, or the disk is nearly full.

        It measures at most once per interval.
        """
        if not self.is_exceeded and time.monotonic() >= self._not_before:
            try:
                self.is_exceeded = self._is_disk_full() or self._is_too_much()
            except TooDeep:
                self._why = f"directories are nested too deeply (limit: {DEPTH} levels)"
                self.is_exceeded = True
            except (ServerFault, OSError):
                self.is_exceeded = True
            self._not_before = max(self._not_before, time.monotonic() + self._interval)
        return self.is_exceeded

    def outcome(self) -> Outcome:
        """Return the outcome of a step whose program wrote too much."""
        return Outcome(stderr=self._why, exit_code=None, reason="error")

    def _is_disk_full(self) -> bool:
        places = zip(self._places, self._floors, strict=True)
        is_full = any(_disk(place).f_bavail < floor for place, floor in places)
        if is_full:
            self._why = "the disk of the server is nearly full"
        return is_full

    def _is_too_much(self) -> bool:
        limit, used = self._size << 20, 0
        for place, free in zip(self._places, self._free, strict=True):
            try:
                if place in self._closed:
                    used += self._measured_layer(place, free, limit)
                    continue
                with self._unless_gone(place):
                    used += measure(place, limit)
            except PermissionError:
                used += self._measured_as_root(place, free, limit)
            except Unsteady as error:
                used += max(error.used, _lost(place, free))
        return used > limit

    def _measured_layer(self, layer: Path, free: int, limit: int) -> int:
        try:
            used = self._measured_as_root(layer, free, limit)
        except ServerFault:
            # a failure of the daemon must not end a program, unless it lasts
            self._failures += 1
            if self._failures == FAILURES:
                raise
            return 0
        self._failures = 0
        return used

    def _measured_as_root(self, place: Path, free: int, limit: int) -> int:
        """Return a number above `limit` if the tree takes more, 0 if it takes less."""
        larger = self._measure_as_root(place, limit)
        self._not_before = time.monotonic() + ROOT_INTERVAL
        if larger is None:
            return _lost(place, free)
        return limit + 1 if larger else 0

    @contextmanager
    def _unless_gone(self, place: Path) -> Iterator[None]:
        """Ignore that a box's own file system is gone: the box has died."""
        try:
            yield
        except FileNotFoundError:
            if place == self._directory:
                raise


def _lost(place: Path, free: int) -> int:
    """Return by how many bytes a disk has fallen below `free`, whatever took them."""
    disk = _disk(place)
    return max(free - disk.f_bavail * disk.f_frsize, 0)


def _disk(place: Path) -> os.statvfs_result:
    """Return the state of a place's disk, seen from the nearest directory open to this process.

    In a container, where Docker's directory is missing, that is the container's own root, which
    lies on Docker's disk, too.
    """
    for directory in (place, *place.parents):
        with suppress(PermissionError, FileNotFoundError):
            return os.statvfs(directory)
    raise AssertionError("a process sees its root")


def measure(directory: Path, limit: int) -> int:
    """Return the bytes that a tree takes on disk, or some number above `limit` if it is more.

    It follows no link, even if one replaces a directory meanwhile.

    Raises:
        PermissionError: a directory is closed to this process.
        TooDeep: a directory lies more than `DEPTH` levels deep.
        Unsteady: names vanish at every measurement.
    """
    most = 0
    for _ in range(LOOKS):
        used, is_whole = _look(directory, limit)
        if is_whole or used > limit:
            return used
        most = max(most, used)
    raise Unsteady(most)


def _look(directory: Path, limit: int) -> tuple[int, bool]:
    """Measure a tree once; also return whether no name vanished meanwhile."""
    used, is_whole = 0, True
    handles = [os.open(directory, FLAGS)]
    walks = [os.scandir(handles[0])]
    try:
        while walks and used <= limit:
            entry = next(walks[-1], None)
            if entry is None:
                walks.pop().close()
                os.close(handles.pop())
                continue
            try:
                info = entry.stat(follow_symlinks=False)
                used += max(info.st_blocks * BLOCK, ENTRY)
                if stat.S_ISDIR(info.st_mode):
                    if len(handles) == DEPTH:
                        raise TooDeep
                    handles.append(os.open(entry.name, FLAGS, dir_fd=handles[-1]))
                    walks.append(os.scandir(handles[-1]))
            except (FileNotFoundError, NotADirectoryError):
                is_whole = False
        return used, is_whole
    finally:
        for walk in walks:
            walk.close()
        for handle in handles:
            os.close(handle)
