"""A Docker daemon that is missing, hangs or restarts: a separate one, not the host's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.configs import COMMANDS, KINDS
from tests.support.daemon import Daemon
from tests.support.dockerd import Dockerd
from tests.support.server import PATIENCE, is_server_fault, is_unavailable, serves, wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can start a Docker daemon"),
]


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    """Return a daemon that has the image `codapi/sh` and is stopped."""
    dockerd = Dockerd()
    try:
        dockerd.start()
        dockerd.load("codapi/sh")
        dockerd.stop()
        yield dockerd
    finally:
        dockerd.remove()


@pytest.fixture
def daemon(dockerd) -> Iterator[Dockerd]:
    """Return the daemon, started."""
    dockerd.start()
    yield dockerd
    dockerd.stop()


def test_server_started_without_a_daemon_recovers_with_it(daemon, server_with):
    daemon.stop()
    server = server_with("fresh", DOCKER_HOST=daemon.address)
    assert server.request("GET", "/v1/health").status == 200
    answer = server.exec("sh", "run", "echo hello")
    assert is_unavailable(answer)
    (line,) = [line for line in server.log.splitlines() if f"id={answer[1]['id']}" in line]
    assert "ERROR" in line
    assert "No such file or directory" in line
    daemon.start()
    wait_for(lambda: serves(server))


@pytest.mark.parametrize("kind", ["plain", "fresh"])
def test_server_recovers_after_a_restart_of_the_daemon(daemon, server_with, start, kind):
    server = server_with(kind, DOCKER_HOST=daemon.address)
    program, answer = start(server, 60)
    before = set(daemon.boxes())
    daemon.stop()
    assert not answer.result(30)[1]["ok"]
    # the waiting boxes have ended, too: no answer takes as long as a call may
    for _ in range(3):
        begin = time.monotonic()
        assert is_unavailable(server.exec("sh", "run", "echo hello"))
        assert time.monotonic() - begin < 3 * PATIENCE
    daemon.start()
    wait_for(lambda: serves(server), 30)
    wait_for(lambda: not before & set(daemon.boxes()), 30)
    assert not program.runs()


def test_waiting_box_serves_on_after_a_crash_of_the_daemon(daemon, server_with):
    server = server_with("reused", pool_size=1, DOCKER_HOST=daemon.address)
    assert serves(server)
    daemon.crash()
    assert serves(server)
    # its box ends with it: the daemon's next start would wait for that
    server.stop()
    daemon.start()
    wait_for(lambda: not daemon.boxes())


@pytest.mark.parametrize("kind", ["plain", "fresh"])
def test_box_that_does_not_start_in_the_configured_time_is_a_server_fault(
    start_server, root, tmp_path, kind
):
    daemon = Daemon(tmp_path / "socket")
    top = {"pool_size": 1, "stock_size": 0, "start_timeout": 1}
    config = root({"sh": KINDS[kind]}, {"sh": COMMANDS["sh"]}, **top)
    server = start_server(config, DOCKER_HOST=daemon.address)
    with daemon.hanging(r"POST /v\S+/containers/\w+/start") as held:
        begin = time.monotonic()
        assert is_server_fault(server.exec("sh", "run", "echo hello"))
        assert held
        # less than other calls have
        assert time.monotonic() - begin < 5 * PATIENCE
    wait_for(lambda: serves(server), 30)


@pytest.mark.parametrize("kind", ["plain", "fresh"])
def test_hanging_daemon_is_a_server_fault_in_bounded_time(daemon, server_with, kind):
    timeouts = {"box": 3, "call": 3}
    server = server_with(kind, timeouts=timeouts, DOCKER_HOST=daemon.address)
    assert serves(server)
    daemon.kill(signal.SIGSTOP)
    # a box that waits needs no daemon
    answers = [server.exec("sh", "run", "echo hello") for _ in range(2)]
    assert is_server_fault(answers[1])
    assert server.request("GET", "/v1/health").status == 200
    daemon.kill(signal.SIGCONT)
    wait_for(lambda: serves(server), 30)
