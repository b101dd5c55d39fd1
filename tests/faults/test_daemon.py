"""A Docker daemon that is slow, hangs, or goes and comes back, while jobs are executed."""

from __future__ import annotations

import pytest

from codapi_flask.config import START_DEADLINE
from codapi_flask.containers import CALL_TIMEOUT
from tests.faults.conftest import load, restored
from tests.server import wait_for

pytestmark = pytest.mark.docker


def is_ready(server) -> bool:
    answer = server.request("GET", "/v1/health?ready=1")
    assert answer.status == 200 or len(answer.json()["status"]) > 10
    return answer.status == 200


@pytest.mark.slow
@pytest.mark.parametrize(("begin", "end"), [("hang", "go_on"), ("stop", "start")])
def test_without_its_daemon_a_server_uses_the_boxes_it_has(serve, daemon, begin, end):
    server = serve(DOCKER_HOST=daemon.address)
    with restored(server):
        with load(server) as seen:
            wait_for(seen.served())
            getattr(daemon, begin)()
            failed, served = seen.failed("attached", "fresh"), seen.served("reused", count=20)
            wait_for(lambda: failed() and served() and not is_ready(server), 60)
            assert server.request("GET", "/v1/health").status == 200
            getattr(daemon, end)()
            wait_for(seen.served(), 60)
        wait_for(lambda: is_ready(server), 30)
    assert seen.longest < START_DEADLINE + 2 * CALL_TIMEOUT


def test_a_slow_daemon_costs_time_only(serve, daemon):
    server = serve(DOCKER_HOST=daemon.address)
    with restored(server):
        daemon.delay = 0.1
        with load(server) as seen:
            wait_for(seen.served(), 60)
        daemon.delay = 0
    assert not any(seen.faults.values())
