"""The resources of an idle server."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from tests.soak.watch import executions
from tests.support.machine import descriptors, resident
from tests.support.server import Server, wait_for

SETTLE = 60
"""Seconds until everything used must be gone; the sweeper runs every ten."""


@dataclass(frozen=True)
class Process:
    """A living process of the server; `memory` is its resident set in MiB."""

    role: str
    memory: float
    descriptors: int


@dataclass(frozen=True)
class State:
    """The resources at one time; each of the `boxes` waits for work, and has one directory."""

    processes: dict[int, Process]
    boxes: int

    def of(self, role: str) -> list[Process]:
        return [process for process in self.processes.values() if process.role == role]


def settled(server: Server) -> State:
    """Wait until nothing of executions is left; return the state then."""
    in_use = []
    with suppress(AssertionError):
        wait_for(lambda: in_use.append(_in_use(server)) or not in_use[-1], SETTLE)
    assert in_use[-1] == {}
    processes = {
        pid: Process(role, resident([pid]), descriptors([pid]))
        for role, pids in server.pids.items()
        for pid in pids
    }
    return State(processes, len(server.containers()))


def _in_use(server: Server) -> dict[str, object]:
    """Return the resources in use or left behind, except the boxes that wait."""
    metrics = server.request("GET", "/metrics").body.decode()
    found = re.findall(r"^codapi_(stock{.*}|workers_busy) (\S+)$", metrics, re.MULTILINE)
    counts = {name: int(float(count)) for name, count in found}
    idle = sum(counts.pop(name) for name in list(counts) if 'state="idle"' in name)
    things = {
        "instances": len([*server.work_dir.glob("i-*")]) - 1,
        "directories": len([*server.work_dir.glob("i-*/x-*")]) - idle,
        "containers": len(server.containers()) - idle,
        "programs": len(executions()),
    }
    return {name: count for name, count in (counts | things).items() if count}
