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
        """Return the directory of what was written, `None` if this process cannot see it."""

    def size(self) -> int:
        """Return the bytes of the files that were written."""


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
        """
        self._measure_as_root = measure_as_root
        self._interval, self._not_before = interval, 0.0
        self._size = max(box.work_size for box, _ in writers)
        watched = [container for box, container in writers if box.has_watched_layer]
        own = [(container, container.layer()) for container in watched]
        self._directory = directory
        self._places = [directory, *(layer for _, layer in own if layer)]
        self._asked = [container for container, layer in own if not layer]
        disks = [os.statvfs(place) for place in self._places]
        # a deleted file that is still open is in no directory, but takes space
        self._floors = [min(disk.f_blocks // 20, disk.f_bavail // 2) for disk in disks]
        self._free = [disk.f_bavail * disk.f_frsize for disk in disks]
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
        for place, floor in zip(self._places, self._floors, strict=True):
            with self._unless_gone(place):
                if os.statvfs(place).f_bavail < floor:
                    self._why = "the disk of the server is nearly full"
                    return True
        return False

    def _is_too_much(self) -> bool:
        limit, used = self._size << 20, 0
        for place, free in zip(self._places, self._free, strict=True):
            try:
                with self._unless_gone(place):
                    used += measure(place, limit)
            except PermissionError:
                larger = self._measure_as_root(place, limit)
                if larger:
                    return True
                self._not_before = time.monotonic() + ROOT_INTERVAL
                used += 0 if larger is False else _lost(place, free)
            except Unsteady as error:
                used += max(error.used, _lost(place, free))
        for container in self._asked:
            # a failure of the daemon must not end a program
            with suppress(ServerFault):
                used += container.size()
        return used > limit

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
    disk = os.statvfs(place)
    return max(free - disk.f_bavail * disk.f_frsize, 0)


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
