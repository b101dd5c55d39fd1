"""A server to attack over HTTP, and the checks at its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.client import Client
from tests.support.configs import BOXES, COMMANDS
from tests.support.server import Server, write_root

LOG_LINE = re.compile(r"(\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[ ,][ -~]*)?")


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with quick boxes, which must work and have a clean log at the end."""
    boxes: dict[str, dict[str, object]]
    boxes = {name: {**box, "uses": 1000, "warm": 2} for name, box in BOXES.items()}
    boxes["files"] = {**BOXES["sh"], "volume": "%s:/sandbox"}
    boxes["python"] = {**BOXES["python"], "volume": "%s:/sandbox"}
    top = {"pool_size": 2, "step": {"timeout": 1}, "queue_timeout": 60}
    run = COMMANDS["sh"]["run"]
    long = {**run, "steps": [{**run["steps"][0], "noutput": 200_000}]}
    files = {**run, "steps": [{**run["steps"][0], "box": "files", "outputs": ["**"]}]}
    python = COMMANDS["python"]["run"]
    python = {**python, "steps": [{**python["steps"][0], "outputs": ["**"]}]}
    more = {"long": long, "files": files, "cached": {**run, "cache": 60}}
    commands = {"sh": {**COMMANDS["sh"], **more}, "python": {"run": python}}
    root = write_root(tmp_path_factory.mktemp("root"), boxes, commands, top)
    with Server(root) as server:
        yield server
        assert server.exec("sh", "run", "echo hello")[1]["stdout"] == "hello\n"
        assert "Traceback" not in server.log
        assert "is lost" not in server.log
        # no client can write lines or terminal escapes into the log
        assert all(LOG_LINE.fullmatch(line) for line in server.log.split("\n"))


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., Client]]:
    """Return a factory of clients that send arbitrary bytes."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Client(server, **options))
