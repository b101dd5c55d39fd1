"""Chores that need root, done by init in a small box, whatever user the server runs as."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from codapi_flask.boxes import trees
from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.quota import TooDeep
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import NotRunning, ServerFault

ATTEMPTS = 100
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
            parent = directory.parent
            self._run(["remove", f"/mount/{directory.name}"], parent, parent)

    def is_larger(self, lease: Path, directory: Path, limit: int) -> bool | None:
        """Whether a tree takes more than `limit` bytes on disk.

        The tree may lie anywhere on the daemon's host; it is measured for the lease. `None` if
        names vanish at every measurement.

        Raises:
            TooDeep: the tree has too many levels of directories.
            ServerFault: the tree cannot be measured.
        """
        argv = ["measure", str(limit), "/mount"]
        code = self._run(argv, lease, directory, EXCEEDED, UNSTEADY, TOO_DEEP)
        if code == TOO_DEEP:
            raise TooDeep
        return None if code == UNSTEADY else code == EXCEEDED

    def kill(self, pid: int, container: str) -> None:
        """Kill a process of the daemon's host, its session and its descendants.

        Processes outside the container with that full id are spared: the pid may have been reused.

        Raises:
            ServerFault: the root box failed, or the process is out of sight.
        """
        if self._daemon.is_rootless:
            # its containers can have the PID namespace of another one, but not the host's
            argv, pids = ["kill", _pid_inside(pid), "-"], f"container:{container}"
        else:
            argv, pids = ["kill", str(pid), container], "host"
        self._run(argv, self._instance.path, None, pids=pids)

    def kill_group(self, group: int, container: str) -> None:
        """Kill the processes of the container with that full id that have that group.

        Raises:
            ServerFault: the root box failed.
        """
        argv = ["kill-group", str(group), container]
        self._run(argv, self._instance.path, None, pids="host")

    def _run(
        self,
        argv: list[str],
        directory: Path,
        mount: Path | None,
        *expected: int,
        pids: str | None = None,
    ) -> int | None:
        """Do a chore, which may be repeated: somebody else may remove the box."""
        for _ in range(ATTEMPTS - 1):
            with suppress(NotRunning):
                return self._attempt(argv, directory, mount, *expected, pids=pids)
        try:
            return self._attempt(argv, directory, mount, *expected, pids=pids)
        except NotRunning as error:
            raise ServerFault(f"a root box to {' '.join(argv)} was removed") from error

    def _attempt(
        self,
        argv: list[str],
        directory: Path,
        mount: Path | None,
        *expected: int,
        pids: str | None,
    ) -> int | None:
        image = next(filter(self._daemon.image, self._images), None)
        if image is None:
            raise ServerFault(f"no image for a root box to {' '.join(argv)}")
        box = self._daemon.create_root_box(
            image, argv, self._instance.init, self._instance.path, directory, mount, pids
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


def _pid_inside(pid: int) -> str:
    """Return the pid that a process has in its container."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError as error:
        raise ServerFault(f"cannot find the process {pid} to kill it: {error}") from error
    inside: list[str] = re.findall(r"^NSpid:.*\s(\d+)$", status, re.MULTILINE)
    return inside[0]
