"""The bound on concurrent programs is exact under any load."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.configs import KINDS
from tests.support.programs import INTERVAL, most_at_once
from tests.support.server import Server, wait_for

pytestmark = pytest.mark.docker

POOL, CLIENTS = 4, 40


@contextmanager
def overload(server: Server, text: str) -> Iterator[list[tuple[int, dict]]]:
    """Run many clients, each of which sends its next request once it has an answer."""
    answers, over = [], threading.Event()

    def client():
        while not over.is_set():
            answers.append(server.exec("sh", "run", text))

    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(client) for _ in range(CLIENTS)]
        try:
            yield answers
        finally:
            over.set()
        for each in running:
            each.result()


def outputs(answers: list[tuple[int, dict]]) -> list[str]:
    return [body["stdout"] for _, body in answers if body["ok"]]


@pytest.mark.parametrize("kind", KINDS)
def test_overloaded_server_runs_as_many_programs_as_workers(server_with, start, kind):
    server = server_with(kind, POOL)
    with overload(server, INTERVAL) as answers:
        wait_for(lambda: len(outputs(answers)) >= 24, 60)
    assert {status for status, _ in answers} == {200, 429}
    assert most_at_once(tuple(map(int, text.split())) for text in outputs(answers)) <= POOL
    programs = [start(server, 30, wait=False)[0] for _ in range(POOL)]
    wait_for(lambda: all(program.runs() for program in programs), 20)
    assert server.exec("sh", "run", "echo hello")[0] == 429
    # no client waits for the programs
    os.killpg(server.pid, signal.SIGINT)


def test_bound_holds_while_workers_are_killed(server_with, tmp_path):
    server = server_with("plain", POOL)
    # longer than it takes to replace a worker
    load = overload(server, "sleep 2; echo done")
    with recorded_boxes(server, tmp_path / "events") as intervals, load as answers:
        for round in range(1, 6):
            os.kill(server.pids["worker"][0], signal.SIGKILL)
            wait_for(lambda: len(outputs(answers)) >= 3 * round, 60)  # noqa: B023
    assert {status for status, _ in answers} == {200, 429, 500}
    assert most_at_once(intervals) <= POOL


@contextmanager
def recorded_boxes(server: Server, record: Path) -> Iterator[list[tuple[int, int]]]:
    """Record the starts and ends of the server's boxes."""
    form = '{{.ID}} {{.TimeNano}} {{.Action}} {{index .Actor.Attributes "codapi.instance"}}'
    filters = [f"--filter={f}" for f in ("label=codapi.instance", "event=start", "event=die")]
    since, intervals = f"--since={time.time()}", []

    def events(action: str) -> dict[str, int]:
        lines = (line.split() for line in record.read_text().splitlines())
        return {
            id: int(instant)
            for id, instant, done, instance in lines
            if done == action and instance.startswith(str(server.work_dir))
        }

    with record.open("w") as file:
        docker = subprocess.Popen(
            ["docker", "events", since, *filters, "--format", form], stdout=file
        )
    try:
        yield intervals
        wait_for(lambda: events("die").keys() == events("start").keys())
    finally:
        docker.terminate()
        docker.wait()
    ends = events("die")
    intervals += [(start, ends[id]) for id, start in events("start").items()]


def test_clients_up_to_the_pool_size_are_never_refused(server_with):
    server = server_with("reused", POOL)
    body = json.dumps({"sandbox": "sh", "command": "run", "files": {"": "echo hello"}})

    def client(_: int) -> set[int]:
        # keep-alive: the next request needs no new connection
        with closing(
            http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        ) as connection:
            statuses = set()
            for _ in range(200):
                connection.request("POST", "/v1/exec", body, {"Content-Type": "application/json"})
                with connection.getresponse() as answer:
                    statuses.add(answer.status)
                    answer.read()
            return statuses

    with ThreadPoolExecutor(POOL) as threads:
        assert set.union(*threads.map(client, range(POOL))) == {200}
