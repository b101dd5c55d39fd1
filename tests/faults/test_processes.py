"""Processes of ours that are killed, stopped or short of descriptors at the worst moment."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import contextmanager

import pytest

from benchmarks.machine import descriptors
from tests.faults.conftest import is_fault, is_right, load, restored
from tests.programs import Sleep
from tests.server import wait_for

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("kind", ["attached", "fresh"])
@pytest.mark.parametrize(
    "message",
    ["POST /v1.{}/containers/create", "HTTP/1.1 201 Created", "POST /v1.{}/containers/{}/start"],
)
def test_a_worker_that_is_killed_while_it_starts_a_box_leaves_none(
    serve, daemon, threads, kind, message
):
    server = serve(DOCKER_HOST=daemon.address)


@pytest.mark.parametrize("kind", ["reused", "fresh"])
def test_a_worker_that_is_killed_while_it_cleans_up_leaves_nothing(serve, threads, kind):
    server = serve()
    with restored(server):
        for _ in range(3):
            # what takes long to remove from a box that is to serve again, and from the disk
            files = {f"{number}": "" for number in range(300)}
            program = Sleep(1)
            code = f"cd /dev/shm; seq 5000 | xargs touch; {program.text}"
            answer = threads.submit(server.exec, kind, "run", {"": code, **files})
            wait_for(program.runs)
            wait_for(lambda: not program.runs(), 10)  # noqa: B023
            for pid in server.pids["worker"]:
                os.kill(pid, signal.SIGKILL)
            status, body = answer.result(10)
            assert is_fault((status, body)) or body["stdout"] == "done\n"
            wait_for(lambda: is_right(server, kind))


@pytest.mark.parametrize("kind", ["reused", "fresh"])
def test_a_keeper_that_is_killed_costs_no_job_even_of_its_boxes(serve, threads, kind):
    server = serve()
    with restored(server):
        for _ in range(3):
            program = Sleep(1)
            answer = threads.submit(server.exec, kind, "run", program.text, details=True)
            wait_for(program.runs)
            (keeper,) = server.pids["keeper"]
            os.kill(keeper, signal.SIGKILL)
            _, body = answer.result(10)
            assert body["stdout"] == "done\n"
            assert body["details"]["box"] in ("warm", "reused", "cold")
            wait_for(lambda: server.pids["keeper"] not in ([], [keeper]))  # noqa: B023


@pytest.mark.slow
def test_a_keeper_that_hangs_costs_nothing_and_is_replaced(serve):
    server = serve()
    with restored(server), load(server) as seen:
        (keeper,) = server.pids["keeper"]
        os.kill(keeper, signal.SIGSTOP)
        wait_for(lambda: server.pids["keeper"] not in ([], [keeper]), 30)
        wait_for(seen.served(), 30)
    assert not any(seen.faults.values())
    assert "the keeper hangs" in server.log


@contextmanager
def out_of_descriptors(pids: list[int]):
    """Let processes open no more files than they have."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors([pid]), hard))
    yield
    for pid, limit in limits.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)


def test_workers_without_descriptors_fail_and_recover(serve):
    server = serve()
    with restored(server):
        with out_of_descriptors(server.pids["worker"]):
            for kind in ("attached", "fresh", "reused"):
                assert not is_right(server, kind)
            assert "Too many open files" in server.log
        workers = set(server.pids["worker"])
        wait_for(lambda: is_right(server, "fresh"))
        assert set(server.pids["worker"]) == workers


def test_a_keeper_without_descriptors_costs_time_only(serve):
    server = serve()
    with restored(server), load(server) as seen:
        wait_for(seen.served())
        with out_of_descriptors(server.pids["keeper"]):
            wait_for(seen.served(count=10), 30)
    assert not any(seen.faults.values())


def test_a_web_process_without_descriptors_serves_who_is_connected(serve, threads):
    server = serve()
    with restored(server):
        with out_of_descriptors(server.pids["web"]):
            waiting = [threads.submit(is_right, server, "reused") for _ in range(4)]
            os.kill(server.pids["worker"][0], signal.SIGKILL)
            wait_for(lambda: "cannot accept a connection" in server.log)
        assert all(answer.result(30) for answer in waiting)
        wait_for(lambda: len(server.pids["worker"]) == 3, 30)
