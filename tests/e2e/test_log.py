"""The server's log while its reader hangs."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server import Server, serves, wait_for

pytestmark = pytest.mark.docker


@pytest.fixture
def server(root: Callable[..., Path], start_server: Callable[..., Server]) -> Server:
    """Return a server whose log has an access log, and a logger."""
    return start_server(root(pool_size=2), "--access-logfile=-", has_logger=True)


@contextmanager
def hanging_logger(server: Server) -> Iterator[None]:
    """Stop the logger, and fill the pipe to it."""
    os.kill(server.logger.pid, signal.SIGSTOP)
    try:
        assert {server.request("GET", "/v1/health").status for _ in range(60)} == {200}
        yield
    finally:
        os.kill(server.logger.pid, signal.SIGCONT)


def kill(server: Server, role: str) -> None:
    """Kill a process of a role; return once another serves in its place."""
    victim = server.pids[role][0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: server.pids[role] and victim not in server.pids[role])
    wait_for(lambda: serves(server), 30)


def test_hanging_logger_stops_no_run_and_loses_no_line(server):
    ids = []

    def run() -> None:
        status, body = server.exec("sh", "run", "true")
        assert status == 200
        ids.append(body["id"])

    with hanging_logger(server):
        run()
        for role in ("worker", "keeper"):
            kill(server, role)
            run()
        assert server.request("GET", "/v1/health?ready=1").status == 200
    wait_for(lambda: ids[-1] in server.log)
    logged = re.findall(r" id=(\S+)", server.log)
    assert [id for id in logged if id in ids] == ids


def test_hanging_logger_stops_no_replacement_no_reload_and_no_end(server):
    with hanging_logger(server):
        kill(server, "web")
        web = server.pids["web"]
        server.kill(signal.SIGHUP)
        wait_for(lambda: server.pids["web"] not in ([], web), 30)
        wait_for(lambda: serves(server), 30)
    wait_for(lambda: "Handling signal: hup" in server.log)
    with hanging_logger(server):
        assert server.stop() == 0
