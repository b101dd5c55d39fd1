"""Remembered and shared answers, over real HTTP and in real boxes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from codapi_flask.jobs.caching import MAX_WAITING
from tests.support.configs import COMMANDS, KINDS
from tests.support.events import post
from tests.support.programs import Sleep
from tests.support.server import Server, wait_for, write_root

pytestmark = pytest.mark.docker

RUN = COMMANDS["sh"]["run"]


def step(**more):
    return {**RUN, "steps": [{**RUN["steps"][0], **more}]}


def docker(*words):
    subprocess.run(["docker", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """Return the name of an image that is another one's as well."""
    name = f"codapi/test-cache-{os.getpid()}"
    docker("tag", "codapi/sh", name)
    yield name
    docker("rmi", name)


@pytest.fixture(scope="module")
def server(tmp_path_factory, image) -> Iterator[Server]:
    """Return a server with one worker, whose sandbox `sh` remembers answers."""
    boxes = {
        "sh": {"image": "codapi/sh"},
        "sh:2": {"image": "codapi/sh"},
        "own": {"image": image, "uses": 1000},
        "writer": {"image": "codapi/sh", "volume": "%s:/sandbox"},
        **KINDS,
    }
    commands = {
        "run": {**RUN, "cache": 3600},
        "short": {**RUN, "cache": 0.5},
        "quick": {**step(timeout=0.3), "cache": 60},
        "cut": {**step(noutput=10), "cache": 60},
        "own": {**step(box="own"), "cache": 60},
        "never": RUN,
        "long": {**step(noutput=1 << 20), "cache": 60},
        "files": {**step(box="writer", outputs=["*.txt"]), "cache": 60},
        **{kind: {**step(box=kind), "cache": 60} for kind in KINDS},
    }
    top = {"pool_size": 1, "step": {"timeout": 60}}
    with Server(
        write_root(tmp_path_factory.mktemp("root"), boxes, {"sh": commands}, top)
    ) as server:
        wait_for(lambda: remembers(server))
        yield server


def remembers(server: Server) -> bool:
    """Tell whether the server knows its images."""
    return is_cached(server, "run", "true")


def run(server: Server, command: str, files, **more: object) -> dict:
    status, body = server.exec("sh", command, files, details=True, **more)
    assert status == 200
    return body


def is_cached(server: Server, command: str, files, **more: object) -> bool:
    cached = run(server, command, files, **more)["details"]["cached"]
    assert type(cached) is bool
    return cached


def count(server: Server, result: str) -> float:
    return server.metric(f'codapi_cache_requests_total{{result="{result}"}}')


def executions(server: Server, command: str) -> float:
    return server.metric(f'codapi_executions_total{{command="{command}",reason="ok",sandbox="sh"}}')


RANDOM = "cat /proc/sys/kernel/random/uuid"


def test_equal_request_gets_the_remembered_answer(server):
    hits, ran = count(server, "hit"), executions(server, "run")
    first, second = (run(server, "run", RANDOM) for _ in range(2))
    assert first["details"]["cached"] is False
    assert second["id"] != first["id"]
    details = {**first["details"], "cached": True}
    assert second == {
        **first,
        "id": second["id"],
        "duration": second["duration"],
        "details": details,
    }
    assert count(server, "hit") == hits + 1
    assert executions(server, "run") == ran + 1
    lines = [line for line in server.log.splitlines() if second["id"] in line]
    assert [line.endswith(" box=sh cached=true") for line in lines] == [True]
    assert f"id={first['id']} " in server.log
    assert server.metric("codapi_cache_entries") >= 1
    assert server.metric("codapi_cache_bytes") >= 36


@pytest.mark.parametrize("kind", KINDS)
def test_answer_of_each_kind_of_box_is_remembered(server, kind):
    assert [is_cached(server, kind, RANDOM) for _ in range(2)] == [False, True]


def test_answer_without_details_has_the_five_fields_only(server):
    for _ in range(2):
        _, body = server.exec("sh", "run", "echo five")
        assert list(body) == ["id", "ok", "duration", "stdout", "stderr"]


@pytest.mark.parametrize(
    "other",
    [
        {"files": {"": RANDOM, "a": "2"}},
        {"files": {"a": "1", "": RANDOM}},
        {"files": {"": f"{RANDOM} ", "a": "1"}},
        {"version": "2"},
        {"command": "short"},
    ],
    ids=str,
)
def test_request_that_differs_is_executed(server, other):
    request = {"command": "run", "files": {"": RANDOM, "a": "1"}}
    first = run(server, **request)
    assert run(server, **{**request, **other})["stdout"] != first["stdout"]


def test_command_without_a_cache_is_executed_each_time(server):
    assert [is_cached(server, "never", "echo never") for _ in range(2)] == [False, False]


def test_answer_is_forgotten_after_its_time(server):
    assert not is_cached(server, "short", RANDOM)
    start = time.monotonic()
    wait_for(lambda: not is_cached(server, "short", RANDOM))
    assert time.monotonic() - start > 0.4


@pytest.mark.parametrize(
    ("command", "code"),
    [("run", "exit 3"), ("run", "kill -9 $$"), ("quick", "sleep 9"), ("cut", "echo 0123456789a")],
)
def test_failed_or_cut_answer_is_not_remembered(server, command, code):
    assert [is_cached(server, command, code) for _ in range(2)] == [False, False]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"stdin": "1"}, {"stdin": "2"}),
        ({"runs": [{"stdin": "1"}, {}]}, {"runs": [{"stdin": "1"}]}),
        ({"runs": [{"stdin": "1"}]}, {"stdin": "1"}),
    ],
)
def test_input_is_part_of_what_is_equal(server, first, second):
    code = f"cat; {RANDOM} # {first}"
    bodies = [run(server, "run", code, **more) for more in (first, second, first, second)]
    assert [body["details"]["cached"] for body in bodies] == [False, False, True, True]
    for early, late in zip(bodies[:2], bodies[2:], strict=True):
        assert (late["stdout"], late.get("results")) == (early["stdout"], early.get("results"))


def test_failed_run_is_not_remembered(server):
    runs = [{"stdin": "exit 3"}, {"stdin": "exit 0"}]
    assert [is_cached(server, "run", "sh -s", runs=runs) for _ in range(2)] == [False, False]


def test_files_are_remembered(server):
    code = f"{RANDOM} > a.txt"
    first, second = (run(server, "files", code, outputs=True) for _ in range(2))
    assert second["details"]["cached"]
    assert list(second["files"]) == ["a.txt"]
    assert second["files"] == first["files"]
    assert not is_cached(server, "files", code)


# images


def test_rebuilt_image_forgets_and_the_old_one_is_remembered(server, image):
    first = run(server, "own", RANDOM)
    assert is_cached(server, "own", RANDOM)
    docker("tag", "codapi/python", image)
    try:
        wait_for(lambda: not is_cached(server, "own", RANDOM))
        # the worker's box of the old image is discarded, and its answers are not stored
        wait_for(lambda: is_cached(server, "own", "command -v python"))
        assert run(server, "own", "command -v python")["ok"]
    finally:
        docker("tag", "codapi/sh", image)
    wait_for(lambda: run(server, "own", RANDOM)["stdout"] == first["stdout"])


def test_answer_of_an_image_replaced_during_the_run_is_not_remembered(server, image):
    program = Sleep(1)
    code = f"command -v python; {program.text}; true"
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(run, server, "own", code)
        wait_for(program.runs)
        docker("tag", "codapi/python", image)
        try:
            assert answer.result()["stdout"] == "done\n"
            bodies = []
            # the first ones may be from a box of the old image
            wait_for(lambda: has_python(bodies, run(server, "own", code)))
            assert not any(body["details"]["cached"] for body in bodies)
        finally:
            docker("tag", "codapi/sh", image)


def test_nothing_is_remembered_without_the_keeper(server):
    [keeper] = server.pids["keeper"]
    with stopped(server, keeper):
        wait_for(lambda: not remembers(server))
    wait_for(lambda: remembers(server))
    subprocess.run(["kill", "-KILL", str(keeper)], check=True)
    wait_for(lambda: not remembers(server))
    wait_for(lambda: remembers(server), 20)


def has_python(bodies: list[dict], body: dict) -> bool:
    bodies.append(body)
    return "python" in body["stdout"]


@contextmanager
def stopped(server: Server, pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


# requests at once


def at_once(server: Server, number: int, request: Callable[[int], tuple[int, dict]]):
    """Send requests at once; return the answers."""
    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(request, range(number)))


def test_thirty_equal_requests_at_once_cause_one_run(server):
    merges = count(server, "merge")
    answers = at_once(
        server,
        30,
        lambda _: server.exec("sh", "run", f"sleep 1; {RANDOM}", details=True),
    )
    assert {status for status, _ in answers} == {200}
    bodies = [body for _, body in answers]
    assert len({body["stdout"] for body in bodies}) == 1
    assert len({body["id"] for body in bodies}) == 30
    assert sorted(body["details"]["cached"] for body in bodies) == [False, *[True] * 29]
    assert count(server, "merge") > merges


def test_three_hundred_equal_requests_leave_health_and_refusals_quick(server):
    program = Sleep(4)
    with ThreadPoolExecutor(302) as threads:
        first = threads.submit(server.exec, "sh", "run", program.text)
        wait_for(program.runs)
        answers = [threads.submit(server.exec, "sh", "run", program.text) for _ in range(300)]
        wait_for(lambda: sum(answer.done() for answer in answers) >= 300 - MAX_WAITING)
        assert not first.done()
        # retries allow for a busy machine; a blocked server would fail them all
        wait_for(lambda: took(lambda: server.request("GET", "/v1/health").status == 200) < 0.1, 3)
        wait_for(lambda: took(lambda: server.exec("sh", "never", "true")[0] == 429) < 0.1, 3)
        # remembered answers need no worker
        wait_for(lambda: took(lambda: is_cached(server, "run", "true")) < 0.1, 3)
        assert not first.done()
        statuses = [answer.result()[0] for answer in answers]
    assert statuses.count(200) == MAX_WAITING
    assert statuses.count(429) == 300 - MAX_WAITING


def took(request: Callable[[], bool]) -> float:
    """Return the seconds that a request takes, which must have the answer it expects."""
    start = time.monotonic()
    assert request()
    return time.monotonic() - start


def test_failure_is_shared_by_all_that_wait(server):
    answers = at_once(server, 10, lambda _: server.exec("sh", "run", "sleep 0.5; exit 3"))
    assert {(status, body["stderr"]) for status, body in answers} == {(200, "exit status 3")}


# clients that leave


def cancelled(server: Server) -> float:
    return server.metric('codapi_executions_total{command="run",reason="cancelled",sandbox="sh"}')


@pytest.mark.parametrize("live", [False, True])
def test_client_that_leaves_ends_nothing_that_others_wait_for(server, live):
    program, merges = Sleep(1), count(server, "merge")
    with post(server.port, program.text, live) as leader, ThreadPoolExecutor(1) as threads:
        wait_for(program.runs)
        answer = threads.submit(run, server, "run", program.text)
        wait_for(lambda: count(server, "merge") == merges + 1)
        leader.vanish()
        body = answer.result()
    assert (body["stdout"], body["details"]["cached"]) == ("done\n", True)
    assert is_cached(server, "run", program.text)


def test_client_that_leaves_waits_no_longer(server):
    program, before = Sleep(2), cancelled(server)
    with ThreadPoolExecutor(1) as threads, post(server.port, program.text, live=False):
        wait_for(program.runs)
        merges = count(server, "merge")
        with post(server.port, program.text, live=False) as follower:
            wait_for(lambda: count(server, "merge") == merges + 1)
            follower.vanish()
            wait_for(lambda: cancelled(server) == before + 1)
        assert program.runs()
        assert threads.submit(run, server, "run", program.text).result()["stdout"] == "done\n"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_program_ends_with_the_last_client_that_waits(server, order):
    program, before = Sleep(30), cancelled(server)
    clients = [post(server.port, program.text, live=False)]
    wait_for(program.runs)
    merges = count(server, "merge")
    clients.append(post(server.port, program.text, live=False))
    wait_for(lambda: count(server, "merge") == merges + 1)
    for place in order:
        assert program.runs()
        clients[place].vanish()
    wait_for(lambda: not program.runs(), 2)
    wait_for(lambda: cancelled(server) == before + 2)
    assert run(server, "run", "echo next")["ok"]


def test_live_client_that_does_not_read_delays_nobody_who_waits(server):
    program, merges = Sleep(1), count(server, "merge")
    code = f"{program.text}; head -c 900000 /dev/zero | tr '\\0' x"
    with post(server, code, live=True, command="long"), ThreadPoolExecutor(1) as threads:
        wait_for(program.runs)
        answer = threads.submit(run, server, "long", code)
        wait_for(lambda: count(server, "merge") == merges + 1)
        # far below the timeout of the step
        assert len(answer.result(20)["stdout"]) == 900_005
