"""Chores that need root, done by init in a small box, whatever user the server runs as."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from codapi_flask.boxes import trees
from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.quota import TooDeep
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import NotRunning, ServerFault

ATTEMPTS = 20
"""Boxes that a chore may get, if others remove them."""

EXCEEDED, UNSTEADY, TOO_DEEP = 3, 4, 5
"""Exit statuses of `init measure`: a tree takes too much, names vanish at every measurement, or the
tree has too many levels."""


class RootBox:
    """Does chores in boxes of any of `images`: nothing of the image is used."""

    def __init__(self, daemon: Daemon, instance: Instance, images: Iterable[str]) -> None:
        self._daemon, self._instance, self._images = daemon, instance, images

    def remove_tree(self, directory: Path) -> None:
        """Remove a directory in a lease or an instance, whatever users own its contents.

        Raises:
            ServerFault: something is left.
        """
        try:
            trees.remove(directory)
        except FileNotFoundError:
            return
        except OSError:
            self._run(["remove", f"/mount/{directory.name}"], directory.parent)

    def is_larger(self, directory: Path, limit: int) -> bool | None:
        """Whether a tree takes more than `limit` bytes on disk.

        `None` if names vanish at every measurement.

        Raises:
            TooDeep: the tree has too many levels of directories.
            ServerFault: the tree cannot be measured.
        """
        argv = ["measure", str(limit), f"/mount/{directory.name}"]
        code = self._run(argv, directory.parent, EXCEEDED, UNSTEADY, TOO_DEEP)
        if code == TOO_DEEP:
            raise TooDeep
        return None if code == UNSTEADY else code == EXCEEDED

    def kill(self, pid: int, container: str) -> None:
        """Kill a process of the daemon's host, its session and its descendants.

        Processes outside the container with that full id are spared: the pid may have been reused.

        Raises:
            ServerFault: the root box failed.
        """
        self._run(["kill", str(pid), container], None)

    def _run(self, argv: list[str], mount: Path | None, *expected: int) -> int | None:
        """Do a chore, which may be repeated: somebody else may remove the box."""
        for _ in range(ATTEMPTS - 1):
            with suppress(NotRunning):
                return self._attempt(argv, mount, *expected)
        try:
            return self._attempt(argv, mount, *expected)
        except NotRunning as error:
            raise ServerFault(f"a root box to {' '.join(argv)} was removed") from error

    def _attempt(self, argv: list[str], mount: Path | None, *expected: int) -> int | None:
        image = next(filter(self._daemon.image, self._images), None)
        if image is None:
            raise ServerFault(f"no image for a root box to {' '.join(argv)}")
        box = self._daemon.create_root_box(
            image, argv, self._instance.init, self._instance.path, mount
        )
        try:
            deadline = time.monotonic() + self._daemon.timeouts.box
            box.start(deadline)
            code = box.wait(deadline)
            if code not in (0, *expected):
                raise ServerFault(f"a root box to {' '.join(argv)} failed with {code}")
            return code
        finally:
            box.remove()
