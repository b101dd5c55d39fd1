"""The after step of a command that failed: it follows the answer."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from codapi_flask.boxes.instance import Instance
from codapi_flask.config.load import load_config
from codapi_flask.errors import Busy
from codapi_flask.jobs.executor import run
from codapi_flask.models import Job
from codapi_flask.pool.pool import Pool
from tests.support.configs import BOXES
from tests.support.instance import docker
from tests.support.programs import Sleep
from tests.support.server import Server, wait_for, write_root

pytestmark = pytest.mark.docker

GATE = "touch /tmp/$0; until test -e /tmp/$0.open; do sleep 0.02; done; touch /tmp/$0.done"


class After:
    """An after step that waits in a service until it may end."""

    def __init__(self, service: str) -> None:
        self._service, self._name = service, secrets.token_hex(8)
        argv = ["sh", "-c", GATE, self._name]
        step = {"action": "exec", "box": service, "command": argv, "timeout": 60}
        steps = [{"box": "sh", "command": ["sh", "main.sh"], "timeout": 1}]
        self.commands = {"sh": {"run": {"entry": "main.sh", "steps": steps, "after": step}}}

    def is_there(self, suffix: str = "") -> bool:
        """Tell whether it has begun, or is `.done`."""
        return f"{self._name}{suffix}" in docker("exec", self._service, "ls", "/tmp").split()

    def open(self) -> None:
        """Let it end."""
        docker("exec", self._service, "touch", f"/tmp/{self._name}.open")


@pytest.fixture
def after(service: str) -> After:
    """Return an after step; only what it serves opens it."""
    return After(service)


@pytest.fixture
def pool(after: After, tmp_path: Path) -> Iterator[Pool]:
    """Return a pool of one worker with that after step."""
    config = load_config(write_root(tmp_path / "root", BOXES, after.commands, {"pool_size": 1}))
    work_dir = tmp_path / "work"
    work_dir.mkdir(mode=0o700)
    with Instance.created(work_dir) as instance, closing(Pool(config, instance)) as pool:
        pool.wait_until_ready()
        yield pool


def job(text: str) -> Job:
    return Job("sh_run_1", "sh", "run", "", {"": text})


@pytest.mark.parametrize(
    ("program", "reason"), [("exit 3", "exit"), ("sleep 60", "timeout"), ("", "cancelled")]
)
def test_failure_is_answered_before_its_after_step_ends(pool, after, program, reason):
    sleep = Sleep(50)
    started = pool.start(job(program or sleep.text))
    with ThreadPoolExecutor() as threads:
        events = threads.submit(list, started)
        if reason == "cancelled":
            wait_for(sleep.runs)
            started.cancel()
        [execution] = events.result()
    assert execution.reason == reason
    wait_for(after.is_there)
    # the worker counts as busy, whatever is sent to it
    started.cancel()
    assert (pool.busy(), pool.is_full()) == (1, True)
    with pytest.raises(Busy):
        run(pool, job("true"))
    after.open()
    wait_for(lambda: not pool.is_full())
    assert after.is_there(".done")
    # after has nothing to wait for any more
    assert run(pool, job("echo next")).stdout == "next\n"
    assert pool.lost == 0


def test_worker_killed_in_an_after_step_is_replaced(pool, after, caplog):
    assert run(pool, job("exit 3")).stderr == "exit status 3"
    wait_for(after.is_there)
    [worker] = pool._workers
    os.kill(worker.pid, signal.SIGKILL)
    after.open()
    wait_for(lambda: pool.lost == 1 and not pool.is_full())
    assert f"id=sh_run_1 the after step failed: worker {worker.pid} is lost" in caplog.messages
    assert run(pool, job("echo next")).stdout == "next\n"


def refuses(server: Server) -> bool:
    """Tell whether a server, which ends, takes no connections any more."""
    try:
        server.request("HEAD", "/v1/health")
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ending_server_waits_for_an_after_step_unless_interrupted(
    root, start_server, after, number
):
    server = start_server(root(BOXES, after.commands))
    assert server.exec("sh", "run", "exit 3")[1]["stderr"] == "exit status 3"
    wait_for(after.is_there)
    server.kill(number)
    if number == signal.SIGTERM:
        wait_for(lambda: refuses(server))
        after.open()
    wait_for(lambda: not server.leftovers(), 20)
    assert after.is_there(".done") is (number == signal.SIGTERM)
