"""What a server holds when nobody asks it for anything."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from benchmarks.machine import descriptors, resident
from tests.server import Server, wait_for
from tests.soak.watch import executions

SETTLE = 60
"""Seconds in which what was used must be gone: the sweeper looks every ten."""


@dataclass(frozen=True)
class Process:
    """A living process of the server; `memory` is its resident set in MiB."""

    role: str
    memory: float
    descriptors: int


@dataclass(frozen=True)
class State:
    """What there is at a time.

    `waiting` are the boxes of the stock; each has a container and a directory, nothing else has.
    """

    processes: dict[int, Process]
    waiting: int
    containers: int
    directories: int

    def of(self, role: str) -> list[Process]:
        return [process for process in self.processes.values() if process.role == role]


def settled(server: Server) -> State:
    """Wait until all that executions have used is gone; return what there is then."""
    return wait_for(lambda: _settled(server), SETTLE)


def _settled(server: Server) -> State | None:
    """Return what there is; `None` while something is in use, or on its way."""
    text = server.request("GET", "/metrics").body.decode()
    stock: Counter[str] = Counter()
    for state, count in re.findall(r'^codapi_stock{.*state="(\w+)"} (\S+)$', text, re.MULTILINE):
        stock[state] += int(float(count))
    busy = re.search(r"^codapi_workers_busy (\S+)$", text, re.MULTILINE)
    waiting, containers = stock.pop("idle", 0), len(server.containers())
    directories = len([*server.work_dir.glob("i-*/x-*")])
    if not busy or float(busy[1]) or stock.total() or executions():
        return None
    if not waiting == containers == directories or len([*server.work_dir.glob("i-*")]) != 1:
        return None
    processes = {
        pid: Process(role, resident([pid]), descriptors([pid]))
        for role, pids in server.pids.items()
        for pid in pids
    }
    return State(processes, waiting, containers, directories)
