"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.configs import COMMANDS, KINDS
from tests.support.programs import Sleep
from tests.support.server import Server, wait_for


@pytest.fixture
def server_with(root, start_server) -> Callable[..., Server]:
    """Return a factory of servers with a box of one kind and the sandbox `sh`.

    Its steps may take 60 seconds.
    """

    def make(kind: str, pool_size: int = 2, **variables: object) -> Server:
        top = {"pool_size": pool_size, "step": {"timeout": 60}}
        config = root({"sh": KINDS[kind]}, {"sh": COMMANDS["sh"]}, **top)
        return start_server(config, **variables)

    return make


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads that can wait for answers."""
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def start(threads) -> Callable[[Server, float], tuple[Sleep, Future]]:
    """Return a function that requests a program's run, and returns once the program runs."""

    def start(server: Server, seconds: int, wait: bool = True) -> tuple[Sleep, Future]:
        program = Sleep(seconds)
        answer = threads.submit(server.exec, "sh", "run", program.text)
        if wait:
            wait_for(program.runs)
        return program, answer

    return start
