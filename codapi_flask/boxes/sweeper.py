"""Removes what dead owners left: containers and directories, of this server and of others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.lease import entered, is_abandoned
from codapi_flask.boxes.rootbox import RootBox
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import ServerFault


def sweep(
    work_dir: Path, daemon: Daemon, root_box: RootBox, patience: float = 0
) -> tuple[int, list[str]]:
    """Remove all that belongs to an abandoned lease, of this or any other server.

    Another server's leftovers are removed if this process can see its directory, and stay if not.
    What cannot be removed is skipped; after `patience` seconds the next such failure ends the
    sweep, since a daemon that hangs may take ten for each. Returns the number of containers
    removed, and the faults.

    Raises:
        ServerFault: the daemon is gone.
    """
    count, faults = 0, list[str]()
    deadline = time.monotonic() + patience
    for remove, is_box in _leftovers(work_dir, daemon, root_box):
        try:
            remove()
            count += is_box
        except ServerFault as error:
            faults.append(str(error))
            if time.monotonic() > deadline:
                break
    return count, faults


def _leftovers(
    work_dir: Path, daemon: Daemon, root_box: RootBox
) -> Iterator[tuple[Callable[[], object], bool]]:
    """Yield a removal for each leftover, and whether it is a dead owner's container."""
    roots = {work_dir}
    for container, owner, directory in daemon.containers():
        root = owner.parent
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            continue
        roots.add(root)
        # a box lives for a directory in a lease, a root box for a lease or an instance
        lease = directory if directory.parent in (root, owner) else directory.parent
        abandoned = is_abandoned(lease, root)
        if abandoned or not directory.exists():
            # without a directory it is dying already, or its owner did not wait for its end
            yield container.remove, abandoned
    for root in roots:
        for instance in Instance.all_in(root):
            for lease in instance.leases():
                if is_abandoned(lease, root):
                    yield partial(_remove, lease, root_box), False
            if is_abandoned(instance.path, root) and not any(instance.leases()):
                yield partial(root_box.remove_tree, instance.path), False


def _remove(lease: Path, root_box: RootBox) -> None:
    for group, container in entered(lease):
        root_box.kill_group(group, container)
    root_box.remove_tree(lease)
