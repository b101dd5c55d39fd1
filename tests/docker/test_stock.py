"""The stock of a server with many sandboxes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from codapi_flask.stock.room import OVERHEAD
from tests.support.server import Server, boxes, wait_for

pytestmark = pytest.mark.docker

NAMES = [f"sh{number}" for number in range(20)]


@pytest.fixture
def serve(root: Callable[..., Path], start_server: Callable[..., Server]) -> Callable[..., Server]:
    """Return a function that starts a server of `NAMES`; it takes keys of the boxes and the top."""

    def serve(box: dict[str, object], **top: object) -> Server:
        steps = {name: [{"box": name, "command": ["sh", "main.sh"]}] for name in NAMES}
        commands = {name: {"run": {"entry": "main.sh", "steps": steps[name]}} for name in NAMES}
        configs = {name: {"image": "codapi/sh", **box} for name in NAMES}
        return start_server(root(configs, commands, **top))

    return serve


def kinds(server: Server) -> Counter[str]:
    """Run a program in each sandbox, in turn; return the kinds of the boxes."""
    answers = [server.exec(name, "run", "echo hello", details=True)[1] for name in NAMES]
    assert {answer["stdout"] for answer in answers} == {"hello\n"}
    return Counter(answer["details"]["box"] for answer in answers)


def idle(server: Server) -> int:
    text = server.request("GET", "/metrics").body.decode()
    return sum(map(int, map(float, re.findall(r'^codapi_stock{.*"idle"} (\S+)', text, re.M))))


def test_box_of_each_of_many_sandboxes_is_kept(serve):
    server = serve({"uses": 1000})
    assert kinds(server) == {"cold": len(NAMES)}
    assert kinds(server) == {"reused": len(NAMES)}


def test_boxes_beyond_the_stock_memory_do_not_wait(serve):
    server = serve({}, stock_memory=3 * OVERHEAD + 1)
    kinds(server)
    [instance] = server.work_dir.glob("i-*")
    wait_for(lambda: idle(server) == len(boxes(instance)) == 3, 30)
