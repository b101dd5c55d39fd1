"""The effects of killing any process of the server, and its leftovers."""

from __future__ import annotations

import http.client
import os
import signal

import pytest

from tests.support.configs import COMMANDS, KINDS
from tests.support.server import Server, boxes, is_server_fault, serves, wait_for

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("kind", KINDS)
def test_killed_worker_fails_only_its_own_job(server_with, start, kind):
    server = server_with(kind)
    jobs = [start(server, 4) for _ in range(2)]
    victim, _ = server.pids["worker"]
    os.kill(victim, signal.SIGKILL)
    programs, answers = zip(*jobs, strict=True)
    wait_for(lambda: any(answer.done() for answer in answers), 3)
    assert sorted(is_server_fault(answer.result()) for answer in answers) == [False, True]
    assert {answer.result()[1]["stdout"] for answer in answers} == {"", "done\n"}
    wait_for(lambda: len(server.pids["worker"]) == 2)
    assert victim not in server.pids["worker"]
    wait_for(lambda: not any(program.runs() for program in programs))


def test_program_of_a_killed_worker_ends_before_the_next_job(server_with, start):
    server = server_with("plain", pool_size=1)
    program, _ = start(server, 60)
    os.kill(server.pids["worker"][0], signal.SIGKILL)
    wait_for(lambda: serves(server))
    assert not program.runs()


def test_killed_idle_worker_fails_no_job(server_with, threads):
    server = server_with("reused")

    def both_serve() -> bool:
        answers = threads.map(lambda _: server.exec("sh", "run", "sleep 0.1"), range(2))
        return [status for status, _ in answers] == [200, 200]

    for _ in range(10):
        wait_for(both_serve)
        os.kill(server.pids["worker"][-1], signal.SIGKILL)
        assert serves(server)


@pytest.mark.parametrize("role", ["keeper", "resource_tracker"])
def test_killed_process_without_a_job_fails_no_job(server_with, start, role):
    server = server_with("fresh")
    _, answer = start(server, 3)
    (victim,) = server.pids[role]
    os.kill(victim, signal.SIGKILL)
    assert serves(server)
    assert answer.result()[1]["stdout"] == "done\n"
    if role == "keeper":
        wait_for(lambda: server.pids[role] and victim not in server.pids[role])
    # a new worker can start again
    os.kill(server.pids["worker"][0], signal.SIGKILL)
    wait_for(lambda: len(server.pids["worker"]) == 2)
    assert serves(server)


def ran_warm(server: Server) -> bool:
    _, answer = server.exec("sh", "run", "true", details=True)
    return answer["details"]["box"] == "warm"


def has_waiting(server: Server) -> bool:
    return server.metric('codapi_stock{box="sh",state="idle"}') >= 1


def test_waiting_boxes_die_with_their_keeper(server_with):
    server = server_with("fresh")
    (instance,) = server.work_dir.glob("i-*")
    for _ in range(2):
        # the second box comes from the queue received with the first
        wait_for(lambda: ran_warm(server))
    # with a used one, if that is still being removed
    waiting = wait_for(lambda: has_waiting(server) and set(boxes(instance, "running")))
    os.kill(server.pids["keeper"][0], signal.SIGKILL)
    wait_for(lambda: waiting.isdisjoint(boxes(instance)), 2)
    assert serves(server)


@pytest.mark.parametrize("kind", ["plain", "fresh"])
def test_killed_forkserver_fails_the_running_jobs(server_with, start, kind):
    server = server_with(kind)
    program, answer = start(server, 60)
    os.kill(server.pids["forkserver"][0], signal.SIGKILL)
    assert is_server_fault(answer.result())
    wait_for(lambda: serves(server))
    wait_for(lambda: not program.runs() and len(server.pids["worker"]) == 2, 30)


@pytest.mark.parametrize("kind", ["plain", "fresh"])
def test_killed_web_process_is_replaced_and_cleaned_up(server_with, start, kind):
    server = server_with(kind)
    program, answer = start(server, 60)
    (instance,) = server.work_dir.glob("i-*")
    os.kill(server.pids["web"][0], signal.SIGKILL)
    with pytest.raises(http.client.RemoteDisconnected):
        answer.result()
    wait_for(lambda: serves(server))
    wait_for(lambda: not program.runs() and not boxes(instance) and not instance.exists(), 30)
    assert {role: len(pids) for role, pids in server.pids.items()} == {
        "master": 1,
        "web": 1,
        "resource_tracker": 1,
        "forkserver": 1,
        "keeper": 1,
        "worker": 2,
    }


@pytest.mark.parametrize("kind", ["plain", "fresh"])
def test_server_without_its_master_finishes_jobs_and_cleans_up(server_with, start, kind):
    server = server_with(kind)
    _, answer = start(server, 3)
    server.kill(signal.SIGKILL)
    assert answer.result()[1]["stdout"] == "done\n"
    wait_for(lambda: not server.leftovers())


def test_box_with_init_dies_with_its_server(server_with, start):
    server = server_with("fresh")
    program, _ = start(server, 60)
    (instance,) = server.work_dir.glob("i-*")
    # a container that is created, but not yet started, would stay until the next start
    wait_for(lambda: len(boxes(instance, "running")) == 2)
    os.killpg(server.pid, signal.SIGKILL)
    wait_for(lambda: not program.runs() and not boxes(instance), 2)
    # another server removes its directories
    server_with("fresh", work_dir=server.work_dir)
    wait_for(lambda: not instance.exists())


@pytest.mark.parametrize("kind", KINDS)
def test_startup_cleans_up_after_a_killed_server(server_with, start, kind):
    server = server_with(kind)
    program, _ = start(server, 60)
    (instance,) = server.work_dir.glob("i-*")
    os.killpg(server.pid, signal.SIGKILL)
    server_with(kind, work_dir=server.work_dir)
    wait_for(lambda: not program.runs() and not boxes(instance) and not instance.exists())


def test_killed_server_leaves_no_temporary_file(server_with, tmp_path):
    # longer than a socket's address may be
    directory = tmp_path / ("t" * 140)
    directory.mkdir()
    server = server_with("fresh", TMPDIR=str(directory))
    assert serves(server)
    os.kill(server.pids["forkserver"][0], signal.SIGKILL)
    wait_for(lambda: serves(server))
    os.killpg(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.pids)
    assert not list(directory.iterdir())
    (instance,) = server.work_dir.glob("i-*")
    assert list(instance.glob("forkserver/*"))
    server_with("fresh", work_dir=server.work_dir)
    wait_for(lambda: not instance.exists(), 30)


@pytest.mark.slow
def test_hanging_worker_fails_its_job_and_is_replaced(root, start_server, start):
    commands = {"sh": COMMANDS["sh"]}
    config = root({"sh": KINDS["fresh"]}, commands, pool_size=2, step={"timeout": 1})
    server = start_server(config, timeouts={"box": 2, "margin": 2})
    program, running = start(server, 60)
    for worker in (workers := server.pids["worker"]):
        os.kill(worker, signal.SIGSTOP)
    _, waiting = start(server, 60, wait=False)
    # a second for the step, two for each of the box's start and end, two on top
    assert is_server_fault(running.result(15))
    assert is_server_fault(waiting.result(3))
    wait_for(lambda: serves(server))
    wait_for(lambda: not program.runs())
    assert not set(server.pids["worker"]) & set(workers)
