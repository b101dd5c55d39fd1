"""Removes what dead owners left: containers and directories, ours and other servers'."""

from __future__ import annotations

import os
from pathlib import Path

from codapi_flask.containers import Daemon
from codapi_flask.instance import is_abandoned
from codapi_flask.rootbox import RootBox


def sweep(work_dir: Path, daemon: Daemon, root_box: RootBox) -> int:
    """Remove all that belongs to an abandoned lease, whatever server it was of.

    Returns the number of containers removed. Another server's leftovers are removed when this
    process may see them on disk; else they are nobody's business.

    Raises:
        ServerFault: the daemon is gone or refuses.
    """
    count, roots = 0, {work_dir}
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
            container.remove()
            count += abandoned
    for root in roots:
        _sweep_directories(root, root_box)
    return count


def _sweep_directories(root: Path, root_box: RootBox) -> None:
    for instance in root.glob("i-*"):
        for lease in instance.glob("x-*"):
            if is_abandoned(lease, root):
                root_box.remove_tree(lease)
        if is_abandoned(instance, root) and not any(instance.glob("x-*")):
            root_box.remove_tree(instance)
