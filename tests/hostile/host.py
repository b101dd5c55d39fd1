"""The host during an attack: the state that must not change, and leftovers."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from tests.support.instance import Instance

SETTINGS = (
    "/proc/sys/fs/file-max",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/vm/overcommit_memory",
)
"""Settings of the kernel that a program might want to change."""

CGROUPS = ("*/docker/{id}", "docker/{id}", "system.slice/docker-{id}.scope")
"""Where a container's cgroups are: by cgroupfs (v1, v2), by systemd."""

STATES = (
    "/var/lib/docker/containers",
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
    "/run/containerd/io.containerd.runtime.v2.task/moby",
    "/run/docker/runtime-runc/moby",
)
"""Where the daemon and its helpers keep a directory for each container."""


class Host:
    """The host as it was before an attack on the boxes of an instance.

    `canary` is a directory with files that anybody could change.
    """

    def __init__(self, instance: Instance) -> None:
        """Record the host's state."""
        self.instance = instance
        self.canary = instance.path.parents[1] / "canary"
        if not self.canary.exists():
            self.canary.mkdir()
            (self.canary / "file").write_text("alive")
            for path in (self.canary, self.canary / "file"):
                path.chmod(0o777)
        self._start = time.time()
        self._state = self._look()

    def changes(self) -> list[str]:
        """Return the changes since the start, and the leftovers of boxes."""
        instance = self.instance
        found = [f"changed: {what}" for what in self._look() ^ self._state]
        found += [*instance.containers(), *map(str, instance.leases())]
        waiting = {box.container: box for boxes in instance.stock.idle.values() for box in boxes}
        for id in self._created():
            if box := waiting.get(id):
                found += [f"in a directory: {name}" for name in os.listdir(box.lease.path / "work")]
                with instance.daemon.calls("list processes") as api:
                    # the first is process 1
                    found += [" ".join(process) for process in api.top(id)["Processes"][1:]]
            else:
                found += _remains(id)
        return found

    def _look(self) -> set[tuple[object, ...]]:
        """Return the state: settings, the canary, and the server's files mounted in boxes."""
        state: set[tuple[object, ...]] = {(name, Path(name).read_text()) for name in SETTINGS}
        own = self.instance.path
        for path in (own / "init", self.canary, *self.canary.iterdir()):
            info, content = path.stat(), b"" if path.is_dir() else path.read_bytes()
            times = info.st_mtime_ns, info.st_ctime_ns
            state.add((path, content, info.st_mode, info.st_uid, info.st_nlink, *times))
        return state

    def _created(self) -> list[str]:
        """Return the ids of the boxes that were created since the start."""
        what = {"event": "create", "label": f"codapi.instance={self.instance.path}"}
        span = {"since": f"{self._start:.9f}", "until": f"{time.time():.9f}"}
        with self.instance.daemon.calls("read the events") as api:
            return [event["id"] for event in api.events(**span, filters=what, decode=True)]


def _remains(id: str) -> list[str]:
    """Return the leftovers of a removed container on the host."""
    cgroups = [path for form in CGROUPS for path in Path("/sys/fs/cgroup").glob(form.format(id=id))]
    states = [Path(state, id) for state in STATES]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if id in line]
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if id in path.read_text(errors="replace"):
                processes.append(path)
    return [*map(str, (*cgroups, *filter(os.path.exists, states), *processes)), *mounts]
