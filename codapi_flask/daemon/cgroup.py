"""Bounds the memory of a box's sockets, which cgroup v1 counts for no box by itself.

cgroup v2 counts it as the box's memory. Version 1 has a separate limit for it
(`memory.kmem.tcp.limit_in_bytes`, which holds for UDP, too, and for all sockets that are made
later); runc does not set it, so the server does, if it is root on the daemon's host.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from codapi_flask.errors import ServerFault

MEMORY = Path("/sys/fs/cgroup/memory")
"""Where version 1 has the memory controller."""

LIMIT = "memory.kmem.tcp.limit_in_bytes"

SHARE = 4
"""Sockets may take one part in so many of a box's memory limit, on top of it."""

HOST_PIDS = 4026531836
"""The inode of the host's PID namespace (linux/proc_ns.h, PROC_PID_INIT_INO)."""


class Sockets(Enum):
    """Who bounds the memory of a box's sockets."""

    KERNEL = "version 2 of cgroups does"
    SERVER = "this process has to, with `bound_sockets`"
    NOBODY = "nobody can: programs must not have sockets that count"


def sockets() -> Sockets:
    """Return who bounds the memory of sockets on this host."""
    with open("/proc/self/cgroup") as file:
        controllers = [line.split(":")[1] for line in file]
    if not any("memory" in names.split(",") for names in controllers):
        return Sockets.KERNEL
    # only the root of a hierarchy has a release agent: in a container, this is not the host's
    is_root = (MEMORY / "release_agent").exists()
    is_host = os.stat("/proc/self/ns/pid").st_ino == HOST_PIDS
    if is_root and is_host and os.access(MEMORY / LIMIT, os.W_OK, effective_ids=True):
        return Sockets.SERVER
    return Sockets.NOBODY


def bound_sockets(pid: int, memory: int) -> None:
    """Limit the sockets of the box whose process 1 is `pid` to a share of `memory` MiB.

    Raises:
        ServerFault: that does not work.
    """
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            lines = [line.rstrip().split(":", 2) for line in file]
        path = next(path for _, names, path in lines if "memory" in names.split(","))
        (MEMORY / path.lstrip("/") / LIMIT).write_text(str((memory << 20) // SHARE))
    except (OSError, StopIteration) as error:
        raise ServerFault(f"cannot limit the sockets of process {pid}: {error}") from error
