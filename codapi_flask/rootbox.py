"""Chores that need root: done by our own program in a small box, whoever we run as."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from codapi_flask.config import START_DEADLINE
from codapi_flask.containers import Daemon
from codapi_flask.errors import ServerFault


class RootBox:
    """Does chores in boxes of any of `images`: nothing of the image is used."""

    def __init__(self, daemon: Daemon, instance: Path, images: Iterable[str]) -> None:
        self._daemon, self._instance, self._images = daemon, instance, images

    def remove_tree(self, directory: Path) -> None:
        """Remove a directory in a lease or an instance, whoever made what is in it.

        Raises:
            ServerFault: something is left.
        """
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            return
        except (OSError, RecursionError):
            self._run(["remove", f"/mount/{directory.name}"], directory.parent)

    def kill(self, pid: int) -> None:
        """End a process of the daemon's host, its session and its descendants.

        Raises:
            ServerFault: that did not work.
        """
        self._run(["kill", str(pid)], None)

    def _run(self, argv: list[str], mount: Path | None) -> None:
        image = next(filter(self._daemon.image, self._images), None)
        if image is None:
            raise ServerFault(f"no image for a root box to {' '.join(argv)}")
        box = self._daemon.create_root_box(image, argv, self._instance, mount)
        try:
            deadline = time.monotonic() + START_DEADLINE
            box.start(deadline)
            if code := box.wait(deadline):
                raise ServerFault(f"a root box to {' '.join(argv)} failed with {code}")
        finally:
            box.remove()
