"""Shared fixtures of the tests: required programs, configs and real servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import Clock
from tests.support.configs import BOXES, COMMANDS, PLOT
from tests.support.server import Server, write_root

PROGRAMS = {
    "caddy": "caddy",
    "chromium": "chromium",
    "compose": "docker-compose",
    "haproxy": "haproxy",
    "locales": "locale-gen",
    "nginx": "nginx",
    "npm": "npm",
    "redis": "redis-server",
    "userns": "dockerd",
    "systemd": "systemd-analyze",
}


SERIAL = (
    "faults",
    "soak",
    "e2e/test_bound.py",
    "hostile/test_memory.py",
    "hostile/test_server.py",
)
"""Tests that disturb the whole host, or that a busy host disturbs: nothing may run beside them."""


SLOW_FIRST = ("e2e", "hostile", "docker", "test_benchmarks.py")
"""Tests that begin first where several run beside each other: their files take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that must run alone, and let slow files begin first."""
    places = {item: str(item.path.relative_to(Path(__file__).parent)) for item in items}
    for item, place in places.items():
        if place.startswith(SERIAL):
            item.add_marker("serial")
    items.sort(key=lambda item: [not places[item].startswith(slow) for slow in SLOW_FIRST])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that lacks what its marker names; fail it if CODAPI_REQUIRE names that."""
    required = os.environ.get("CODAPI_REQUIRE", "").split(",")
    for marker in item.iter_markers():
        if marker.name in ("docker", *PROGRAMS) and not _has(marker.name):
            (pytest.fail if marker.name in required else pytest.skip)(f"no {marker.name}")


@cache
def _has(name: str) -> bool:
    if name != "docker":
        return bool(shutil.which(PROGRAMS[name]))
    images = [box["image"] for box in BOXES.values()]
    try:
        found = subprocess.run(["docker", "image", "inspect", *images], capture_output=True)
    except FileNotFoundError:
        return False
    return found.returncode == 0


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Callable[..., Path]:
    """Return a factory of config directories: `root(boxes=…, commands=…, **top)`.

    Without boxes, or commands, they have `sh` and `python`, each with its command `run`.
    """

    def make(
        boxes: Mapping[str, Any] = BOXES, commands: Mapping[str, Any] = COMMANDS, **top: Any
    ) -> Path:
        return write_root(tmp_path / f"root-{len(list(tmp_path.iterdir()))}", boxes, commands, top)

    return make


@pytest.fixture
def start_server(root: Callable[..., Path]) -> Iterator[Callable[..., Server]]:
    """Return a factory of servers: `start_server(root(…), …)`, as `Server`.

    At the test's end they are stopped, and nothing of them may be left.
    """
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Server(*args, **kwargs))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return the server for tests that need none of their own: pool of 4.

    Its sandboxes are `sh`, `python`, and the repository's `plot`.
    """
    boxes, commands = BOXES | {"plot": PLOT["box"]}, COMMANDS | {"plot": PLOT["commands"]}
    root = write_root(tmp_path_factory.mktemp("root"), boxes, commands, {"pool_size": 4})
    with Server(root) as server:
        yield server
