"""The machine's properties, and the resources that its processes use."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.server import Server

TICK = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, object]:
    """Return the machine's properties, for readers of the figures."""
    docker = ["docker", "version", "--format", "{{.Server.Version}}"]
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    return {
        "cores": os.cpu_count(),
        "processor": model[1] if model else platform.machine(),
        "kernel": platform.release(),
        "docker": subprocess.check_output(docker, text=True).strip(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def by_role(server: Server) -> dict[str, list[int]]:
    """Return the processes of a server by role, those of its boxes, and the daemon's."""
    inits = []
    if containers := server.containers():
        command = ["docker", "inspect", "--format", "{{.State.Pid}}", *containers]
        # one may be gone by now
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.split()
        inits = [int(pid) for pid in found if pid != "0"]
    shims = [int(_stat(pid)[1]) for pid in inits]
    return {**server.pids, "init": inits, "shim": shims, "daemon": daemon()}


def daemon() -> list[int]:
    """Return the processes of Docker itself, as far as they are visible."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _read(pid, "comm").strip() in ("dockerd", "containerd")]


def cpu(pids: Iterable[int]) -> float:
    """Return the seconds of processor time of processes and of their children that ended."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in pids) / TICK


def resident(pids: Iterable[int]) -> float:
    """Return the resident sets of processes in MiB; shared memory counts for each."""
    return _memory(pids, "Rss")


def proportional(pids: Iterable[int]) -> float:
    """Return the resident sets of processes in MiB; shared memory counts once."""
    return _memory(pids, "Pss")


def descriptors(pids: Iterable[int]) -> int:
    """Return how many descriptors processes have open."""
    count = 0
    for pid in pids:
        with suppress(FileNotFoundError):
            count += len(os.listdir(f"/proc/{pid}/fd"))
    return count


def flat(roles: Mapping[str, Iterable[int]]) -> list[int]:
    """Return the processes of all roles."""
    return [pid for pids in roles.values() for pid in pids]


def _memory(pids: Iterable[int], name: str) -> float:
    rollups = (_read(pid, "smaps_rollup") for pid in pids)
    found = (re.search(rf"^{name}: +(\d+) kB", rollup, re.MULTILINE) for rollup in rollups)
    return sum(int(size[1]) for size in found if size) / 1024


def _stat(pid: int) -> list[str]:
    """Return state, parent ... of a process (proc(5)), zeros when it is gone."""
    return _read(pid, "stat").rpartition(")")[2].split() or ["0"] * 50


def _read(pid: int, name: str) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""
