"""What the tests of faults share: a load whose every answer is checked, and what a server holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import descriptors, flat
from tests.conftest import COMMANDS
from tests.e2e.conftest import BOXES
from tests.faults.daemon import Daemon
from tests.server import Server, wait_for

FAULT = {"ok": False, "duration": 0, "stdout": "", "stderr": "internal error"}


def is_fault(answer: tuple[int, dict[str, Any]]) -> bool:
    """Whether an answer says that a job was lost by our fault, as it should be said."""
    status, body = answer
    return status == 500 and body == {"id": body["id"], **FAULT}


def is_right(server: Server, sandbox: str) -> bool:
    """Whether a job is answered with what it prints; else it must be our fault."""
    token = str(time.monotonic_ns())
    answer = server.exec(sandbox, "run", f"echo {token}")
    if is_fault(answer):
        return False
    assert answer[0] == 200
    assert answer[1]["stdout"] == f"{token}\n"
    return True


@dataclass
class Load:
    """What a load got: of each sandbox, how many answers were right, and how many our fault."""

    right: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BOXES, 0))
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BOXES, 0))
    longest: float = 0

    def served(self, *sandboxes: str, count: int = 3) -> Callable[[], bool]:
        """Return a condition: from now on, each sandbox (all) has given so many right answers."""
        before = dict(self.right)
        names = sandboxes or tuple(self.right)
        return lambda: all(self.right[name] >= before[name] + count for name in names)

    def failed(self, *sandboxes: str) -> Callable[[], bool]:
        """Return a condition: from now on, each sandbox has failed."""
        before = dict(self.faults)
        return lambda: all(self.faults[name] > before[name] for name in sandboxes)


@contextmanager
def load(server: Server) -> Iterator[Load]:
    """Have one client for each sandbox send job after job, and check every answer."""
    seen, is_over = Load(), threading.Event()

    def client(sandbox: str) -> None:
        while not is_over.is_set():
            start = time.monotonic()
            counts = seen.right if is_right(server, sandbox) else seen.faults
            counts[sandbox] += 1
            seen.longest = max(seen.longest, time.monotonic() - start)

    with ThreadPoolExecutor(len(BOXES)) as threads:
        clients = [threads.submit(client, sandbox) for sandbox in BOXES]
        try:
            yield seen
        finally:
            is_over.set()
        for each in clients:
            each.result()


@pytest.fixture
def serve(root: Callable[..., Path], start_server: Callable[..., Server]) -> Callable[..., Server]:
    """Return a factory of servers with a sandbox for each kind of box, by that name."""

    def serve(image: str = "codapi/sh", work_dir: Path | None = None, **variables: str) -> Server:
        boxes = {kind: {**box, "image": image, "warm": 1} for kind, box in BOXES.items()}
        # what cannot have init cannot wait
        del boxes["attached"]["warm"]
        commands = {
            kind: {
                "run": {"entry": "main.sh", "steps": [{"box": kind, "command": ["sh", "main.sh"]}]}
            }
            for kind in BOXES
        }
        top = {"pool_size": len(BOXES), "step": {"timeout": 10}}
        return start_server(root(boxes, commands, **top), work_dir=work_dir, **variables)

    return serve


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads that can wait for answers."""
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Return a daemon that is well, until the test says otherwise."""
    with closing(Daemon(tmp_path / "docker.sock")) as daemon:
        yield daemon


@contextmanager
def restored(server: Server) -> Iterator[None]:
    """Check that afterwards a server serves as before, and holds no more than then."""
    with load(server) as seen:
        wait_for(seen.served(count=5), 30)
    # the boxes that wait
    wait_for(lambda: _holdings(server)["boxes"] == _holdings(server)["directories"] == 2, 30)
    before = _holdings(server)
    yield
    with load(server) as seen:
        wait_for(seen.served(count=5), 60)
    wait_for(lambda: _holdings(server) == before, 30)
    # each of a process's clients keeps up to 25 connections to the daemon
    assert max(descriptors([pid]) for pid in flat(server.pids)) < 130


def _holdings(server: Server) -> dict[str, int]:
    processes = {role: len(pids) for role, pids in server.pids.items()}
    directories = len(list(server.work_dir.glob("i-*/x-*")))
    return {
        **processes,
        "boxes": len(server.containers()),
        "directories": directories,
        "files of the web process": descriptors(server.pids["web"]),
    }
