"""Bounds what a program may write, where the daemon has no disk quota for it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from codapi_flask.config import Box
from codapi_flask.errors import ServerFault
from codapi_flask.models import Outcome

BLOCK = 512
"""Bytes of a unit of `st_blocks` (stat(2))."""

ENTRY = 4096
"""Bytes that any entry of a directory counts for, so that empty files are not free."""

DEPTH = 200
"""Levels of a tree above which it counts as too much: no program needs them."""

FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Writable(Protocol):
    """What a program may write to, besides its work directory."""

    def layer(self) -> Path | None:
        """Return the directory of what was written, if we may see it."""

    def size(self) -> int:
        """Return the bytes of the files that were written."""


class Quota:
    """Watches what a box keeps: in its work directory, and in its own file system if it may.

    It sees what this process may read. `is_exceeded` stays true once it was.
    """

    def __init__(self, box: Box, directory: Path, container: Writable) -> None:
        """Allow what the box's config does, in `directory` and in the container together."""
        self._box, self._container = box, container
        layer = container.layer() if box.writable else None
        self._places = [directory, layer] if layer else [directory]
        self._asks = box.writable and not layer
        disks = [os.statvfs(place) for place in self._places]
        # a file that is deleted while it is open is in no directory, but takes room
        self._floors = [min(disk.f_blocks // 20, disk.f_bavail // 2) for disk in disks]
        self.is_exceeded = False

    def check(self) -> bool:
        """Measure; return whether it is too much, or hardly anything of the disk is left."""
        if not self.is_exceeded:
            limit, used = self._box.work_size << 20, 0
            try:
                for place, floor in zip(self._places, self._floors, strict=True):
                    used += measure(place, limit)
                    if os.statvfs(place).f_bavail < floor:
                        used += limit + 1
                if self._asks:
                    used += self._container.size()
            except (ServerFault, OSError):
                # it is gone, or the daemon is
                return False
            self.is_exceeded = used > limit
        return self.is_exceeded

    def outcome(self) -> Outcome:
        """Return how the step of a program ended that wrote too much."""
        text = f"disk limit exceeded ({self._box.work_size} MiB)"
        return Outcome(stderr=text, exit_code=None, reason="error")


def measure(directory: Path, limit: int) -> int:
    """Return the bytes that a tree takes on disk, or some number above `limit` when it is more.

    Follows no link, even if one takes the place of a directory meanwhile.
    """
    handle = os.open(directory, FLAGS)
    try:
        return _measure(handle, limit, DEPTH)
    finally:
        os.close(handle)


def _measure(handle: int, limit: int, depth: int) -> int:
    if not depth:
        return limit + 1
    used = 0
    with os.scandir(handle) as entries:
        for entry in entries:
            # it may be gone by now, or not for us to see
            with suppress(OSError):
                info = entry.stat(follow_symlinks=False)
                used += max(info.st_blocks * BLOCK, ENTRY)
                if stat.S_ISDIR(info.st_mode):
                    child = os.open(entry.name, FLAGS, dir_fd=handle)
                    try:
                        used += _measure(child, limit - used, depth - 1)
                    finally:
                        os.close(child)
            if used > limit:
                break
    return used
