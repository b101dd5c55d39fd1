"""What the end-to-end tests share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import COMMANDS
from tests.support.programs import Sleep
from tests.support.server import Server, wait_for

BOXES = {
    "attached": {"image": "codapi/sh", "init": False},
    "fresh": {"image": "codapi/sh"},
    "reused": {"image": "codapi/sh", "uses": 1000},
}
"""A box of each kind there is."""


def boxes(instance: Path, state: str = "") -> list[str]:
    """Return the containers of an instance, in that state or in any."""
    filters = [f"--filter=label=codapi.instance={instance}"]
    if state:
        filters.append(f"--filter=status={state}")
    command = ["docker", "ps", "--all", "--quiet", *filters]
    return subprocess.check_output(command, text=True).split()


def serves(server: Server) -> bool:
    """Tell whether a server runs programs."""
    try:
        return server.exec("sh", "run", "echo hello")[1]["stdout"] == "hello\n"
    except OSError:
        return False


def is_our_fault(answer: tuple[int, dict]) -> bool:
    """Tell whether an answer says what it should when the fault is not the program's."""
    status, body = answer
    rest = {"ok": False, "duration": body["duration"], "stdout": "", "stderr": "internal error"}
    return status == 500 and body == {"id": body["id"], **rest} and body["id"].startswith("sh_run_")


@pytest.fixture
def server_with(root, start_server) -> Callable[..., Server]:
    """Return a factory of servers with a box of one kind and the sandbox `sh`.

    Its steps may take 60 seconds.
    """

    def make(kind: str, pool_size: int = 2, **variables: object) -> Server:
        top = {"pool_size": pool_size, "step": {"timeout": 60}}
        config = root({"sh": BOXES[kind]}, {"sh": COMMANDS["sh"]}, **top)
        return start_server(config, **variables)

    return make


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads that can wait for answers."""
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def start(threads) -> Callable[[Server, float], tuple[Sleep, Future]]:
    """Return a function that asks a server to run a program, and returns when that runs."""

    def start(server: Server, seconds: int, wait: bool = True) -> tuple[Sleep, Future]:
        program = Sleep(seconds)
        answer = threads.submit(server.exec, "sh", "run", program.text)
        if wait:
            wait_for(program.runs)
        return program, answer

    return start
