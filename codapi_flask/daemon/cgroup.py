"""Limits the memory of a box's sockets, which cgroup v1 does not charge to the box by itself.

cgroup v2 charges it to the box's memory. Version 1 has a separate limit for it
(`memory.kmem.tcp.limit_in_bytes`), which covers UDP, too, and applies to sockets that are made
later. runc does not set it, so the server does, if it is root on the daemon's host.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from codapi_flask.errors import ServerFault, Vanished

MEMORY = Path("/sys/fs/cgroup/memory")
"""The memory controller of version 1."""

LIMIT = "memory.kmem.tcp.limit_in_bytes"

SHARE = 4
"""Sockets may take the box's memory limit divided by this, on top of it."""

HOST_PIDS = 4026531836
"""The inode of the host's PID namespace (linux/proc_ns.h, PROC_PID_INIT_INO)."""


class Sockets(Enum):
    """What limits the memory of a box's sockets."""

    KERNEL = "cgroup v2"
    SERVER = "this process, with `bound_sockets`"
    NOBODY = "nothing: a box without a network must have no IP sockets"


def sockets() -> Sockets:
    """Return what limits the memory of sockets on this host."""
    with open("/proc/self/cgroup") as file:
        controllers = [line.split(":")[1] for line in file]
    if not any("memory" in names.split(",") for names in controllers):
        return Sockets.KERNEL
    # only a hierarchy's root has a release agent: in a container, MEMORY is not the host's root
    is_root = (MEMORY / "release_agent").exists()
    is_host = os.stat("/proc/self/ns/pid").st_ino == HOST_PIDS
    if is_root and is_host and os.access(MEMORY / LIMIT, os.W_OK, effective_ids=True):
        return Sockets.SERVER
    return Sockets.NOBODY


def freezer(pid: int) -> str:
    """Return the path of the file that tells whether a process's box is paused.

    It is empty if this process does not see the file, as in a container.
    """
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            path = freezer_of(file.read())
    except OSError:
        return ""
    return path if os.path.exists(path) else ""


def freezer_of(cgroups: str) -> str:
    """Return that path for the content of `/proc/PID/cgroup` (cgroups(7))."""
    lines = [line.split(":", 2) for line in cgroups.splitlines()]
    paths = {name: path for _, names, path in lines for name in names.split(",")}
    if "freezer" in paths:
        return f"/sys/fs/cgroup/freezer{paths['freezer']}/freezer.state"
    return f"/sys/fs/cgroup{paths.get('', '')}/cgroup.freeze"


def is_frozen(freezer: str) -> bool:
    """Whether a box is paused, by the file of `freezer`; false for an empty path or a dead box."""
    if not freezer:
        return False
    try:
        with open(freezer, "rb", buffering=0) as file:
            return file.read().rstrip() in (b"1", b"FROZEN", b"FREEZING")
    except OSError:
        return False


def bound_sockets(pid: int, memory: int) -> None:
    """Limit the sockets of the box whose process 1 is `pid` to a share of `memory` MiB.

    Raises:
        Vanished: the process has ended, whether or not the daemon knows.
        ServerFault: the limit cannot be set.
    """
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            lines = [line.rstrip().split(":", 2) for line in file]
        path = next(path for _, names, path in lines if "memory" in names.split(","))
        (MEMORY / path.lstrip("/") / LIMIT).write_text(str((memory << 20) // SHARE))
    except (OSError, StopIteration) as error:
        if not _is_alive(pid):
            raise Vanished("sandbox died") from error
        raise ServerFault(f"cannot limit the sockets of process {pid}: {error}") from error


def _is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie, by its state in `/proc/PID/stat` (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in b"ZX"
    except OSError:
        return False
