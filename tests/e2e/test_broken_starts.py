"""Processes that die before they are ready, again and again, until the cause is gone."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.server import REPOSITORY, Server, is_server_fault, serves, wait_for

pytestmark = pytest.mark.docker

CAUSES = {
    "broken package": "raise ImportError('broken')",
    "half-written file": "broken =",
    "memory limit": "raise MemoryError",
    "killed process": "import os; os.kill(os.getpid(), 9)",
}
"""Modules whose import ends a process."""


def why_not_ready(server: Server) -> str:
    answer = server.request("GET", "/v1/health?ready=1")
    return "" if answer.status == 200 else answer.json()["status"]


def kill(server: Server, role: str) -> None:
    for pid in server.pids[role]:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("source", CAUSES.values(), ids=CAUSES)
def test_workers_that_cannot_start_are_a_server_fault(start_server, root, tmp_path, source):
    server = start_server(root(pool_size=2), PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    wait_for(lambda: not why_not_ready(server))
    (tmp_path / "docker.py").write_text(source)
    kill(server, "forkserver")
    wait_for(lambda: "a worker cannot start: " in why_not_ready(server), 30)
    lost = server.log.count("is lost")
    # with a cold start's time between them
    for _ in range(3):
        assert is_server_fault(server.exec("sh", "run", "echo hello"))
        wait_for(lambda: why_not_ready(server))
    assert server.request("GET", "/v1/health").status == 200
    for role in ("worker", "keeper"):
        assert server.log.count(f"a {role} cannot start") - server.log.count("cause=") <= 1
    assert server.log.count("is lost") == lost
    assert "Traceback" not in server.log
    (tmp_path / "docker.py").unlink()
    wait_for(lambda: serves(server) and not why_not_ready(server), 40)
    wait_for(lambda: len(server.pids["worker"]) == 2)


def test_keeper_that_cannot_start_costs_readiness_but_no_run(start_server, root):
    server = start_server(root(pool_size=1))
    (instance,) = server.work_dir.glob("i-*")
    # where it makes its socket
    (instance / "stock").unlink()
    (instance / "stock").mkdir()
    kill(server, "keeper")
    wait_for(lambda: "a keeper cannot start: IsADirectoryError" in why_not_ready(server), 30)
    assert serves(server)
    assert server.log.count("a keeper cannot start") == 1
    assert "Traceback" not in server.log
    (instance / "stock").rmdir()
    wait_for(lambda: not why_not_ready(server), 40)
