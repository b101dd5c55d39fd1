"""Cancelled runs: in boxes of each kind, and through the pool."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from codapi_flask.boxes.instance import Instance
from codapi_flask.config.load import load_config
from codapi_flask.jobs.executor import run
from codapi_flask.models import Job
from codapi_flask.pool.pool import Pool
from tests.support.configs import BOXES, COMMANDS
from tests.support.instance import docker
from tests.support.programs import Sleep
from tests.support.server import wait_for, write_root

pytestmark = pytest.mark.docker

SLEEP = {"box": "sh", "command": ["sleep", "60"], "timeout": 60}


def cancel_at_work(instance, execute, *steps, **command):
    """Cancel a command once it uses its work directory; return its execution."""
    future = instance.start(execute, *steps, **command)
    wait_for(lambda: any((lease / "work" / "begun").exists() for lease in instance.leases()))
    instance.cancel()
    return future.result(20)


def test_cancelled_run_ends_as_cancelled(instance, execute):
    boxes = {"sh": {"volume": "%s:/sandbox", "uses": 1}}
    step = {**SLEEP, "command": ["sh", "-c", "touch begun; sleep 60"]}
    execution = cancel_at_work(instance, execute, step, boxes=boxes)
    assert (execution.ok, execution.stderr, execution.reason) == (False, "cancelled", "cancelled")
    assert execution.fault == ""
    assert execution.duration < 20_000


@pytest.mark.parametrize("kind", ["reused"])
def test_box_whose_run_is_cancelled_before_its_start_is_kept(instance, execute, caplog):
    boxes = {"sh": {}, "unused": {"nproc": 62}}
    steps = {"box": "sh", "command": ["true"]}, {**SLEEP, "box": "unused"}
    future = instance.start(execute, *steps, boxes=boxes)
    wait_for(lambda: docker("ps", "--all", "--quiet", "--filter", "name=^unused_"))
    instance.cancel()
    assert future.result(20).reason == "cancelled"
    assert "reset failed" not in caplog.text
    assert [box.name for box, kept in instance.stock.idle.items() if kept and box.nproc == 62]


def test_cancelled_exec_ends_as_cancelled(instance, execute):
    boxes = {"sh": {"volume": "%s:/sandbox", "uses": 1}}
    before = {**SLEEP, "detach": True}
    step = {"box": ":name", "action": "exec", "command": ["sh", "-c", "touch begun; sleep 60"]}
    execution = cancel_at_work(
        instance, execute, {**step, "timeout": 60}, before=before, boxes=boxes
    )
    assert (execution.ok, execution.stderr) == (False, "cancelled")


def test_cancelled_command_still_runs_its_after_step(instance, execute, tmp_path):
    boxes = {"sh": {"volume": "%s:/sandbox", "uses": 1}}
    step = {**SLEEP, "command": ["sh", "-c", "touch begun; sleep 60"]}
    # it counts the programs of the cancelled step; the host reads the count
    after = {"box": "sh", "command": ["sh", "-c", "ps | grep -c '[s]leep 60' > after; sleep 1"]}
    future = instance.start(execute, step, after=after, boxes=boxes)

    def text(name):
        found = (lease / "work" / name for lease in instance.leases())
        return next((file.read_text() for file in found if file.exists()), None)

    wait_for(lambda: text("begun") is not None)
    instance.cancel()
    wait_for(lambda: text("after") == "0\n")
    # a second one does not end the last step
    instance.cancel()
    assert future.result(20).stderr == "cancelled"


def test_box_of_a_cancelled_run_is_reused(pool_of_reused):
    program = Sleep(50)
    with ThreadPoolExecutor() as threads:
        first = run(pool_of_reused, job("echo first"))
        started = pool_of_reused.start(job(program.text))
        events = threads.submit(list, started)
        wait_for(program.runs)
        started.cancel()
        assert events.result()[-1].reason == "cancelled"
        assert not program.runs()
    last = run(pool_of_reused, job("echo last"))
    assert (first.stdout, last.stdout) == ("first\n", "last\n")
    assert last.steps[0].kind == "reused"


def test_run_cancelled_while_its_worker_cleans_up_is_cancelled(pool):
    with ThreadPoolExecutor() as threads:
        assert run(pool, job("echo first")).ok
        [child] = pool._workers
        os.kill(child.pid, signal.SIGSTOP)
        started = pool.start(job(Sleep(50).text))
        events = threads.submit(list, started)
        wait_for(lambda: started.fileno() >= 0)
        assert child.cleans_up
        started.cancel()
        os.kill(child.pid, signal.SIGCONT)
        assert events.result(10)[-1].reason == "cancelled"


@pytest.fixture
def pool_of_reused(tmp_path: Path) -> Iterator[Pool]:
    """Return a pool of one worker and one box, which is reused."""
    boxes = {**BOXES, "sh": {**BOXES["sh"], "uses": 1000}}
    with pool_with(tmp_path, boxes, stock_size=0) as pool:
        yield pool


@contextmanager
def pool_with(tmp_path: Path, boxes, **top) -> Iterator[Pool]:
    config = load_config(write_root(tmp_path / "root", boxes, COMMANDS, {"pool_size": 1, **top}))
    work_dir = tmp_path / "work"
    work_dir.mkdir(mode=0o700)
    with Instance.created(work_dir) as instance, closing(Pool(config, instance)) as pool:
        pool.wait_until_ready()
        yield pool


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """Return a pool of one worker with the sandbox `sh`."""
    with pool_with(tmp_path, BOXES) as pool:
        yield pool


def job(text):
    return Job("sh_run_1", "sh", "run", "", {"": text})


def test_cancelled_pool_run_does_not_affect_the_next(pool):
    with ThreadPoolExecutor() as threads:
        started = pool.start(job("sleep 60"))
        execution = threads.submit(lambda: list(started)[-1])
        time.sleep(1)
        started.cancel()
        assert execution.result(20).reason == "cancelled"
        # a cancel after the end does not affect the next run
        started.cancel()
        following = pool.start(job("sleep 1; echo hello"))
        started.cancel()
        assert list(following)[-1].stdout == "hello\n"
    assert run(pool, job("echo again")).stdout == "again\n"
    assert pool.lost == 0


def test_run_cancelled_before_iteration_ends_as_cancelled(pool):
    started = pool.start(job("sleep 60"))
    started.cancel()
    [execution] = started
    assert execution.reason == "cancelled"
    assert execution.duration < 20_000
