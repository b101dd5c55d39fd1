"""Bounds what a program may write, where the daemon has no disk quota for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from codapi_flask.config import Box
from codapi_flask.errors import ServerFault
from codapi_flask.models import Outcome

BLOCK = 512
"""Bytes of a unit of `st_blocks` (stat(2))."""

ENTRY = 4096
"""Bytes that any entry of a directory counts for, so that empty files are not free."""


class Quota:
    """Watches what a box keeps: in its work directory, and in its own file system if it may.

    It sees what this process may read. `is_exceeded` stays true once it was.
    """

    def __init__(self, box: Box, directory: Path, container_size: Callable[[], int]) -> None:
        """Allow what the box's config does, in `directory` and in the container together."""
        self._box, self._directory, self._container_size = box, directory, container_size
        self.is_exceeded = False

    def check(self) -> bool:
        """Measure; return whether it is too much."""
        if not self.is_exceeded:
            try:
                limit = self._box.work_size << 20
                used = measure(self._directory, limit)
                if self._box.writable:
                    used += self._container_size()
            except ServerFault:
                return False
            self.is_exceeded = used > limit
        return self.is_exceeded

    def outcome(self) -> Outcome:
        """Return how the step of a program ended that wrote too much."""
        text = f"disk limit exceeded ({self._box.work_size} MiB)"
        return Outcome(stderr=text, exit_code=None, reason="error")


def measure(directory: Path, limit: int) -> int:
    """Return the bytes that a tree takes on disk, or some number above `limit` when it is more.

    Follows no link, but for one that takes the place of a directory at the last moment: nothing
    comes of it but a wrong number. A tree too deep for a path counts as too much: no program
    needs it.
    """
    used, waiting = 0, [os.fspath(directory)]
    while waiting and used <= limit:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    used += max(info.st_blocks * BLOCK, ENTRY)
                    if used > limit:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return limit + 1
    return used
