"""One soak for all tests, whose figures are shown at the end."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.soak.load import Load
from tests.soak.mix import BOXES, COMMANDS, cases
from tests.soak.report import Soak
from tests.soak.state import settled
from tests.soak.watch import Watch
from tests.support.server import Server, wait_for, write_root

RUNS = int(os.environ.get("CODAPI_SOAK_RUNS", "600"))
SEED = os.environ.get("CODAPI_SOAK_SEED") or secrets.token_hex(4)
POOL, STOCK = 4, 6

PARTS: dict[str, tuple[int, list[str]]] = {
    "warm-up": (20, []),
    "nothing killed": (40, []),
    "processes killed": (30, ["worker", "worker", "keeper", "forkserver", "resource_tracker"]),
    "the web process killed": (10, ["web", "worker"]),
}
"""The share of the executions of each part, in percent, and which processes are killed in it."""

KILL_INTERVAL = 30
"""Executions from one kill to the next."""

SOAK = pytest.StashKey[Soak]()


@pytest.fixture(scope="package")
def soak(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Soak]:
    """Return the finished soak."""
    print(f"CODAPI_SOAK_SEED={SEED}")
    draw = random.Random(SEED)
    top = {"pool_size": POOL, "stock_size": STOCK}
    root = write_root(tmp_path_factory.mktemp("root"), BOXES, COMMANDS, top)
    with Server(root) as server:
        soak = pytestconfig.stash[SOAK] = Soak(SEED, Load(server, POOL), Watch())
        for name, (share, victims) in PARTS.items():
            drawn = cases(draw, RUNS * share // 100)
            turns = itertools.cycle(draw.sample(victims, len(victims)))
            kills = itertools.islice(turns, len(drawn) // KILL_INTERVAL)
            start = time.monotonic()
            with soak.watch.watching():
                soak.load.run(drawn, list(kills))
            soak.seconds += time.monotonic() - start
            soak.states[name] = settled(server)
        server.stop()
        soak.log = server.log
        with suppress(AssertionError):
            wait_for(lambda: not server.leftovers(), 3)
        soak.left = server.leftovers()
        yield soak


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the figures."""
    if soak := config.stash.get(SOAK, None):
        terminalreporter.section("soak")
        terminalreporter.write_line(soak.report())
