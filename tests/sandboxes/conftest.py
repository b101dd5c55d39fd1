"""The repository's sandboxes on a real server, and a table of what they answered."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

import pytest

from codapi_flask.client.examples import of_sandbox
from tests.support.server import REPOSITORY, Server

QUICK = (REPOSITORY / "images/quick.txt").read_text().split()
"""Sandboxes whose images `scripts/setup dev` builds: those that take less than a minute."""


class Served(NamedTuple):
    """How an execution was served."""

    box: str
    duration: int


OUTCOMES: dict[str, list[bool]] = defaultdict(list)
TIMES: dict[str, list[Served]] = defaultdict(list)


def chosen() -> list[str]:
    """Return the sandboxes to try: those that CODAPI_SANDBOXES names, `all`, or the quick ones."""
    named = os.environ.get("CODAPI_SANDBOXES", "").split()
    every = sorted(path.parent.name for path in REPOSITORY.glob("images/*/examples"))
    return every if named == ["all"] else named or QUICK


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a test for each example, or for each sandbox."""
    if "example" in metafunc.fixturenames:
        found = [each for name in chosen() for each in of_sandbox(REPOSITORY, name)]
        metafunc.parametrize("example", found, ids=[f"{e.sandbox}-{e.name}" for e in found])
    if "sandbox" in metafunc.fixturenames:
        metafunc.parametrize("sandbox", chosen())


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Server]:
    """Return a server of the repository's own config."""
    with Server(REPOSITORY) as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the table: median milliseconds of hello by box, and the image with all its layers."""
    if not OUTCOMES:
        return
    terminalreporter.section("sandboxes")
    terminalreporter.write_line("| sandbox | examples | cold ms | warm ms | image MB |")
    terminalreporter.write_line("|---|---|---|---|---|")
    for name, outcomes in sorted(OUTCOMES.items()):
        cold, warm = (_median(name, kind) for kind in ("cold", "warm"))
        passed = f"{sum(outcomes)} of {len(outcomes)}"
        terminalreporter.write_line(f"| {name} | {passed} | {cold} | {warm} | {_size(name)} |")


def _median(name: str, box: str) -> str:
    times = [served.duration for served in TIMES[name] if served.box == box]
    return f"{median(times):.0f}" if times else ""


def _size(name: str) -> str:
    command = ["docker", "image", "inspect", "--format", "{{.Size}}", f"codapi/{name}"]
    found = subprocess.run(command, capture_output=True, text=True)
    return f"{int(found.stdout) / 1e6:.0f}" if found.returncode == 0 else ""
