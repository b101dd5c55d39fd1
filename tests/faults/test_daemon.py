"""A Docker daemon that is slow, hangs, or goes and comes back, while jobs are executed."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.faults import TIMEOUTS, load, restored
from tests.support.server import wait_for

pytestmark = pytest.mark.docker


def is_ready(server) -> bool:
    answer = server.request("GET", "/v1/health?ready=1")
    assert answer.status == 200 or len(answer.json()["status"]) > 10
    return answer.status == 200


@pytest.mark.slow
@pytest.mark.parametrize("illness", ["hanging", "stopped"])
def test_server_without_its_daemon_uses_its_waiting_boxes(server, daemon, illness):
    with restored(server):
        with load(server) as seen:
            wait_for(seen.gave("right"), 30)
            with getattr(daemon, illness)():
                failed = seen.gave("fault", "plain", "fresh", count=1)
                served = seen.gave("right", "reused", count=20)
                wait_for(lambda: failed() and served() and not is_ready(server), 60)
                assert server.request("GET", "/v1/health").status == 200
            wait_for(seen.gave("right"), 60)
        wait_for(lambda: is_ready(server), 30)
    assert seen.verdicts() == {"right", "fault"}
    assert seen.longest < TIMEOUTS.box + 2 * TIMEOUTS.call


def test_slow_daemon_fails_no_job(server, daemon):
    with restored(server), daemon.slow(0.1), load(server) as seen:
        wait_for(seen.gave("right"), 60)
    assert seen.verdicts() == {"right"}


def test_boxes_removed_from_outside_fail_only_their_own_jobs(server):
    with restored(server), load(server) as seen:
        for _ in range(3):
            wait_for(seen.gave("right"), 60)
            subprocess.run(["docker", "rm", "--force", *server.containers()], capture_output=True)
    # one whose program had not begun is replaced
    assert seen.verdicts() <= {"right", "died"}
