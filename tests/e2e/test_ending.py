"""Shutdown by signals: running jobs finish unless interrupted, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest

from tests.support.configs import COMMANDS, KINDS
from tests.support.server import GUNICORN, REPOSITORY, environment, wait_for

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("kind", "send"), [("plain", os.killpg), ("fresh", os.killpg), ("reused", os.kill)]
)
def test_sigterm_lets_running_jobs_finish(server_with, start, kind, send):
    server = server_with(kind)
    _, answer = start(server, 2)
    send(server.pid, signal.SIGTERM)
    status, body = answer.result()
    assert (status, body["ok"], body["stdout"]) == (200, True, "done\n")
    assert server.stop() == 0


def test_ending_server_refuses_connections(server_with, start):
    server = server_with("reused")
    _, answer = start(server, 3)
    server.kill(signal.SIGTERM)

    def refuses() -> bool:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_for(refuses, 2)
    assert not answer.done()
    assert answer.result()[1]["stdout"] == "done\n"


def test_sighup_to_the_process_group_loses_no_job(server_with, start):
    server = server_with("reused")
    web = server.pids["web"]
    _, answer = start(server, 2)
    os.killpg(server.pid, signal.SIGHUP)
    wait_for(lambda: server.pids["web"] not in ([], web), 30)
    assert answer.result()[1]["stdout"] == "done\n"
    assert server.exec("sh", "run", "echo next")[1]["stdout"] == "next\n"


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_ends_everything_at_once(server_with, start, kind):
    server = server_with(kind)
    program, _ = start(server, 60)
    os.killpg(server.pid, signal.SIGINT)
    wait_for(lambda: not server.leftovers(), 5)
    assert not program.runs()


def test_starting_boxes_do_not_outlive_the_server(root, start_server):
    box = {"image": "codapi/sh", "warm": 8}
    for _ in range(2):
        server = start_server(root({"sh": box}, {"sh": COMMANDS["sh"]}))
        wait_for(server.containers)
        server.stop()
        wait_for(lambda: not server.leftovers(), 2)  # noqa: B023


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_stopped_during_startup_leaves_nothing(root, tmp_path, number):
    work_dir = tmp_path / "work"
    variables = environment(root(), CODAPI_WORK_DIR=str(work_dir))
    with subprocess.Popen(
        [GUNICORN], cwd=REPOSITORY, env=variables, stderr=subprocess.PIPE, start_new_session=True
    ) as server:
        wait_for(lambda: list(work_dir.glob("i-*")))
        os.killpg(server.pid, number)
        # its last process closes stderr
        said = server.stderr.read()
    assert b"Traceback" not in said
    assert not list(work_dir.glob("i-*"))
