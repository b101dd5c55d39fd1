"""A server that survives one fault after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

import pytest

from tests.e2e.conftest import threads
from tests.support.daemon import Daemon
from tests.support.faults import TIMEOUTS, write_config
from tests.support.server import Server

__all__ = ["threads"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return the daemon of `server`, which works until a test disturbs it."""
    with closing(Daemon(tmp_path_factory.mktemp("daemon") / "docker.sock")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def server(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with all kinds of boxes, which survives one test after the other."""
    root = write_config(tmp_path_factory.mktemp("root"))
    with Server(root, timeouts=asdict(TIMEOUTS), DOCKER_HOST=daemon.address) as server:
        yield server
