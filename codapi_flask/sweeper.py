"""Removes what dead owners left: containers and directories, ours and other servers'."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codapi_flask.containers import Daemon
from codapi_flask.errors import ServerFault
from codapi_flask.instance import is_abandoned
from codapi_flask.rootbox import RootBox


def sweep(work_dir: Path, daemon: Daemon, root_box: RootBox) -> tuple[int, list[str]]:
    """Remove all that belongs to an abandoned lease, whatever server it was of.

    Another server's leftovers are removed when this process may see them on disk; else they are
    nobody's business. Returns the number of containers removed, and what could not be removed.

    Raises:
        ServerFault: the daemon is gone.
    """
    count, roots, faults = 0, {work_dir}, list[str]()
    for container, instance, directory in daemon.containers():
        root = instance.parent
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            continue
        roots.add(root)
        # a box lives for a directory in a lease, a root box for a lease or an instance
        lease = directory if directory.parent in (root, instance) else directory.parent
        abandoned = is_abandoned(lease, root)
        if abandoned or not directory.exists():
            # without a directory it is dying already, or its owner could not wait for that
            with _noted(faults):
                container.remove()
                count += abandoned
    for root in roots:
        for instance in root.glob("i-*"):
            for lease in instance.glob("x-*"):
                if is_abandoned(lease, root):
                    with _noted(faults):
                        root_box.remove_tree(lease)
            if is_abandoned(instance, root) and not any(instance.glob("x-*")):
                with _noted(faults):
                    root_box.remove_tree(instance)
    return count, faults


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """Go on after what the daemon cannot do: the others are to be swept all the same."""
    try:
        yield
    except ServerFault as error:
        faults.append(str(error))
