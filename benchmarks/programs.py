"""The programs that are measured, and servers that run them."""

from __future__ import annotations

import io
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Question
from benchmarks.plan import Plan
from tests.support.server import Server, wait_for, write_root

QUIET = 0.15
"""Share of the machine that may be busy when a measurement begins."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the image that it runs in."""

    name: str
    image: str
    file: str
    argv: tuple[str, ...]
    text: str

    def question(self, sandbox: str) -> Question:
        """Return the request that runs it in a sandbox."""
        return Question({"sandbox": sandbox, "command": "run", "files": {"": self.text}})


SH = Program("sh", "codapi/sh", "main.sh", ("sh", "main.sh"), "echo hello")
PYTHON = Program("python", "codapi/python", "main.py", ("python", "main.py"), "print(42)")


@contextmanager
def serving(
    plan: Plan, boxes: Mapping[str, tuple[Program, Mapping[str, Any]]], cache: int = 0, **top: Any
) -> Iterator[Server]:
    """Start a server with a sandbox for each box; `boxes` holds its program and its config.

    Answers are remembered for `cache` seconds.
    """
    configs = {name: {"image": program.image, **box} for name, (program, box) in boxes.items()}
    commands = {
        name: {
            "run": {
                "entry": program.file,
                "steps": [{"box": name, "command": program.argv}],
                "cache": cache,
            }
        }
        for name, (program, _) in boxes.items()
    }
    with tempfile.TemporaryDirectory() as directory, redirect_stdout(io.StringIO()):
        root = write_root(Path(directory, "root"), configs, commands, top)
        with Server(root) as server:
            wait_until_quiet(plan)
            yield server


def stock(server: Server, box: str) -> int:
    """Return how many boxes of a name wait in the stock."""
    text = server.request("GET", "/metrics").body.decode()
    found = re.search(rf'^codapi_stock{{box="{box}",state="idle"}} (\S+)', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def wait_for_stock(plan: Plan, server: Server, box: str, count: int) -> None:
    """Wait until `count` boxes are ready and the machine is quiet."""
    # the server's metrics of its stock may be a second old
    wait_until_quiet(plan)
    wait_for(lambda: stock(server, box) >= count, 60)
    wait_until_quiet(plan)


def wait_until_quiet(plan: Plan) -> None:
    """Wait until refills and removals of an earlier measurement have ended."""
    deadline = time.monotonic() + plan.patience
    while time.monotonic() < deadline:
        busy, total = _jiffies()
        time.sleep(0.2)
        busy_now, total_now = _jiffies()
        if busy_now - busy < QUIET * (total_now - total):
            return


def _jiffies() -> tuple[int, int]:
    """Return the busy and the total time of all processors (proc(5))."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)
