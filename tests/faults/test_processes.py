"""Server processes killed, stopped or short of descriptors at the worst moment."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.faults import POOL, ask, load, restored
from tests.support.programs import Sleep
from tests.support.server import Server, is_server_fault, wait_for

pytestmark = pytest.mark.docker

MOMENTS = {
    "create": r"POST /v\S+/containers/create",
    "created": r"HTTP/1.1 201 Created",
    "start": r"POST /v\S+/containers/\w+/start",
}
"""The stages of a box's start, by the message to or from the daemon."""


def kill(server: Server, role: str, number: int = signal.SIGKILL) -> list[int]:
    """Send a signal to all processes of a role; return their PIDs."""
    for pid in (pids := server.pids[role]):
        os.kill(pid, number)
    return pids


def wait_for_others(server: Server, role: str, gone: list[int]) -> None:
    """Wait until other processes have replaced all that are gone."""
    wait_for(
        lambda: len(now := server.pids[role]) == len(gone) and not set(now) & set(gone), seconds=60
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "costs"),
    [("worker", {"fault", "busy"}), ("forkserver", {"fault", "busy"}), ("web", {"no answer"})],
)
def test_processes_killed_under_load_fail_only_their_own_jobs(server, role, costs):
    with restored(server), load(server) as seen:
        for _ in range(3):
            wait_for(seen.gave("right"), 60)
            wait_for_others(server, role, kill(server, role))
        wait_for(seen.gave("right"), 60)
    assert seen.verdicts() <= {"right", *costs}


def test_config_reload_under_load_fails_no_job(server):
    with restored(server), load(server) as seen:
        wait_for(seen.gave("right"), 60)
        web = server.pids["web"]
        server.kill(signal.SIGHUP)
        wait_for_others(server, "web", web)
        wait_for(seen.gave("right"), 60)
    assert seen.verdicts() == {"right"}


def remove_boxes(server: Server) -> None:
    # some may be going already
    subprocess.run(["docker", "rm", "--force", *server.containers()], capture_output=True)


def test_workers_killed_while_starting_boxes_leave_none(server, daemon, threads):
    kinds = ("plain", "fresh")
    with restored(server):
        for moment in MOMENTS.values():
            with daemon.hanging(moment) as held:
                # so that none waits; the keeper starts two at once
                remove_boxes(server)
                wait_for(lambda: len(held) >= 2, 30)
                answers = [threads.submit(server.exec, kind, "run", "true") for kind in kinds]
                wait_for(lambda: len(held) >= 4, 30)
                workers = kill(server, "worker")
                assert all(is_server_fault(answer.result(30)) for answer in answers)
            wait_for_others(server, "worker", workers)
            wait_for(lambda: ask(server, "fresh") == "right", 60)


def test_keeper_killed_while_starting_a_box_leaves_none(server, daemon):
    with restored(server):
        for moment in MOMENTS.values():
            with daemon.hanging(moment) as held:
                remove_boxes(server)
                wait_for(lambda: held, 30)
                keeper = kill(server, "keeper")
            wait_for_others(server, "keeper", keeper)
            wait_for(server.containers, 60)


def test_keeper_killed_at_its_start_leaves_no_container(server, daemon):
    with restored(server):
        with daemon.hanging(MOMENTS["created"]) as held:
            kill(server, "keeper")
            wait_for(lambda: held, 30)
            second = kill(server, "keeper")
        wait_for_others(server, "keeper", second)


@pytest.mark.slow
def test_workers_killed_during_cleanup_leave_nothing(server, threads):
    with restored(server):
        for kind in ("fresh", "reused", "fresh", "reused"):
            # files that take long to remove from a reused box and from the disk
            files = {f"{number}": "" for number in range(300)}
            program = Sleep(1)
            code = f"cd /dev/shm; seq 5000 | xargs touch; {program.text}"
            answer = threads.submit(server.exec, kind, "run", {"": code, **files})
            wait_for(program.runs)
            wait_for(lambda: not program.runs())  # noqa: B023
            kill(server, "worker")
            status, body = answer.result(30)
            assert is_server_fault((status, body)) or body["stdout"] == "done\n"
            wait_for(lambda: ask(server, kind) == "right", 60)  # noqa: B023


def test_killed_keeper_fails_no_job_in_its_boxes(server, threads):
    with restored(server):
        for _ in range(2):
            programs = {kind: Sleep(1) for kind in ("fresh", "reused")}
            answers = [
                threads.submit(server.exec, kind, "run", program.text)
                for kind, program in programs.items()
            ]
            wait_for(lambda: all(program.runs() for program in programs.values()))  # noqa: B023
            keeper = kill(server, "keeper")
            assert [answer.result(30)[1]["stdout"] for answer in answers] == ["done\n"] * 2
            wait_for_others(server, "keeper", keeper)


@pytest.mark.slow
def test_hanging_keeper_is_replaced_and_fails_no_job(server):
    with restored(server), load(server) as seen:
        wait_for_others(server, "keeper", kill(server, "keeper", signal.SIGSTOP))
        wait_for(seen.gave("right"), 60)
    assert seen.verdicts() == {"right"}
    assert "the keeper is lost, another takes its place: it hangs" in server.log


@contextmanager
def out_of_descriptors(pids: list[int]) -> Iterator[None]:
    """Keep processes from opening more files."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid, (_, hard) in limits.items():
        used = os.listdir(f"/proc/{pid}/fd")
        # the limit bounds the number of a new descriptor, which is the first free one
        free = next(number for number in itertools.count() if str(number) not in used)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            # it may have died meanwhile
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)


def test_workers_without_descriptors_fail_and_recover(server):
    with restored(server):
        workers = set(server.pids["worker"])
        with out_of_descriptors(server.pids["worker"]):
            assert {ask(server, kind) for kind in ("plain", "fresh", "reused")} == {"fault"}
        assert "Too many open files" in server.log
    assert set(server.pids["worker"]) == workers


def test_keeper_without_descriptors_fails_no_job(server):
    with restored(server), load(server) as seen:
        wait_for(seen.gave("right"), 60)
        with out_of_descriptors(server.pids["keeper"]):
            wait_for(seen.gave("right", count=10), 60)
    assert seen.verdicts() == {"right"}


def test_web_process_without_descriptors_serves_its_connections(server, threads):
    with restored(server):
        with out_of_descriptors(server.pids["web"]):
            waiting = [threads.submit(ask, server, "reused") for _ in range(4)]
            os.kill(server.pids["worker"][0], signal.SIGKILL)
            wait_for(lambda: "cannot accept connections" in server.log)
        assert {answer.result(60) for answer in waiting} <= {"right", "busy", "fault"}
        wait_for(lambda: len(server.pids["worker"]) == POOL, 60)
    # it retries, but logs the error only once
    assert server.log.count("cannot accept connections") == 1
