"""Support for the tests of faults: a load with checked answers, and a server's resources."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from codapi_flask.config.timeouts import Timeouts
from tests.support.configs import KINDS
from tests.support.machine import descriptors, flat
from tests.support.server import Server, is_server_fault, is_unavailable, wait_for, write_root

POOL = len(KINDS) + 1
TIMEOUTS = Timeouts(box=5, call=5, keeper=5, reset=5)
ROLES = {
    "master": 1,
    "web": 1,
    "resource_tracker": 1,
    "forkserver": 1,
    "keeper": 1,
    "worker": POOL,
}
NONE = dict.fromkeys([*ROLES, "boxes at work", "containers", "directories"], 0)


def write_config(directory: Path, image: str = "codapi/sh") -> Path:
    """Write a config with a sandbox for each kind of box; boxes that may be warm are."""
    step = {"command": ["sh", "main.sh"]}
    boxes = {
        kind: {**box, "image": image, "warm": int(box.get("init", True))}
        for kind, box in KINDS.items()
    }
    commands = {
        kind: {"run": {"entry": "main.sh", "steps": [{"box": kind, **step}]}} for kind in KINDS
    }
    return write_root(directory, boxes, commands, {"pool_size": POOL, "step": {"timeout": 10}})


def ask(server: Server, kind: str) -> str:
    """Have a program executed and return the verdict on its answer.

    `right` (its output), `fault`, `busy`, `not installed`, `died` (its box), `no answer`, or the
    answer itself.
    """
    token = secrets.token_hex()
    try:
        status, body = server.exec(kind, "run", f"echo {token}")
    except OSError:
        return "no answer"
    verdicts = {
        "right": (status, body["ok"], body["stdout"]) == (200, True, f"{token}\n"),
        "fault": is_server_fault((status, body)) or is_unavailable((status, body)),
        "busy": status == 429,
        "not installed": status == 200 and " is not installed: " in body["stderr"],
        "died": (status, body["ok"], body["stderr"]) == (200, False, "sandbox died"),
        f"{status} {body}": True,
    }
    return next(verdict for verdict, holds in verdicts.items() if holds)


@dataclass
class Load:
    """The answers to a load, by kind of box and verdict, and the longest time for one."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    longest: float = 0

    def gave(self, verdict: str, *kinds: str, count: int = 3) -> Callable[[], bool]:
        """Return a condition: each kind (all by default) has `count` more answers of a verdict."""
        least = {key: self.answers[key] + count for key in ((k, verdict) for k in kinds or KINDS)}
        return lambda: all(self.answers[key] >= number for key, number in least.items())

    def verdicts(self) -> set[str]:
        return {verdict for _, verdict in self.answers}


@contextmanager
def load(server: Server) -> Iterator[Load]:
    """Run one client for each kind of box that sends request after request."""
    seen, is_over = Load(), threading.Event()

    def client(kind: str) -> None:
        while not is_over.is_set():
            start = time.monotonic()
            seen.answers[kind, ask(server, kind)] += 1
            seen.longest = max(seen.longest, time.monotonic() - start)

    with ThreadPoolExecutor() as threads:
        clients = [threads.submit(client, kind) for kind in KINDS]
        try:
            yield seen
        finally:
            is_over.set()
    for each in clients:
        each.result()


@contextmanager
def restored(server: Server) -> Iterator[None]:
    """Check that a server serves afterwards, and holds no more resources than before."""
    wait_for(lambda: _surplus(server) == NONE, 60)
    before = descriptors(server.pids["web"])
    yield
    wait_for(lambda: {ask(server, kind) for kind in KINDS} == {"right"}, 60)
    with load(server) as seen:
        wait_for(seen.gave("right", count=5), 60)
    assert seen.verdicts() == {"right"}
    # the keeper's counts are a second old: one match is enough
    surplus = []
    with suppress(AssertionError):
        wait_for(lambda: surplus.append(_surplus(server)) or surplus[-1] == NONE, 60)
    assert surplus[-1] == NONE
    # multiprocessing may keep two for each dead child until it starts the next one
    wait_for(lambda: descriptors(server.pids["web"]) <= before + 2 * (POOL + 1))
    assert max(descriptors([pid]) for pid in flat(server.pids)) < 60


def _surplus(server: Server) -> dict[str, int]:
    """Return a server's resources beyond its processes and the boxes that wait."""
    metrics = server.request("GET", "/metrics").body.decode()
    stock = re.findall(r'^codapi_stock{.*state="(\w+)"} (\d+)', metrics, re.MULTILINE)
    waiting = sum(int(count) for state, count in stock if state == "idle")
    processes = {role: len(pids) - ROLES[role] for role, pids in server.pids.items()}
    return {
        **processes,
        "boxes at work": sum(int(count) for _, count in stock) - waiting,
        "containers": len(server.containers()) - waiting,
        "directories": len(list(server.work_dir.glob("i-*/x-*"))) - waiting,
    }
