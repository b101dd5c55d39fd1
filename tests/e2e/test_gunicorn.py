"""How gunicorn may be started and signalled."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.conftest import COMMANDS
from tests.server import GUNICORN, REPOSITORY, environment, wait_for

pytestmark = pytest.mark.docker

ONE = "codapi_flask needs one gunicorn worker, not 4: it owns the pool"


@pytest.mark.parametrize(
    ("arguments", "variables", "reason"),
    [
        (["-w", "4"], {}, ONE),
        ([], {"WEB_CONCURRENCY": "4"}, ONE),
        ([], {"GUNICORN_CMD_ARGS": "--workers=4"}, ONE),
        (["--preload"], {}, "codapi_flask cannot be preloaded"),
    ],
)
def test_what_would_break_the_bound_is_refused_with_the_reason(root, arguments, variables, reason):
    done = subprocess.run(
        [GUNICORN, *arguments],
        cwd=REPOSITORY,
        env=environment(root(), **variables),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode != 0
    assert reason in done.stderr


def test_the_signal_for_one_more_worker_is_refused(start_server, root):
    server = start_server(root(pool_size=1))
    server.kill(signal.SIGTTIN)
    wait_for(lambda: "needs one gunicorn worker, not 2" in server.log)
    assert len(server.pids["web"]) == 1
    assert server.exec("sh", "run", "echo hello")[1]["stdout"] == "hello\n"


def test_sighup_applies_a_changed_config_and_loses_no_job(server_with, start):
    server = server_with("fresh")
    (web,) = server.pids["web"]
    _, answer = start(server, 2)
    commands = server.root / "configs/commands"
    (commands / "new.json").write_text(json.dumps(COMMANDS["sh"]))
    server.kill(signal.SIGHUP)
    wait_for(lambda: server.exec("new", "run", "echo hello")[1]["stdout"] == "hello\n")
    assert answer.result()[1]["stdout"] == "done\n"
    wait_for(lambda: web not in server.pids["web"] and len(server.pids["worker"]) == 2)


def test_sighup_with_a_broken_config_keeps_the_old_one(start_server, root):
    server = start_server(root(pool_size=1))
    (server.root / "configs/boxes.json").write_text('{"sh": {"image": "codapi/sh", "mem": 1}}')
    replaced = server.pids["web"]
    server.kill(signal.SIGHUP)
    wait_for(lambda: "configs/boxes.json: sh.mem: unknown key" in server.log)
    wait_for(lambda: not set(replaced) & set(server.pids["web"]))
    # so does a web process that comes later
    os.kill(server.pids["web"][0], signal.SIGKILL)
    wait_for(lambda: server.log.count("Booting worker") == 3)
    assert server.exec("sh", "run", "echo hello")[1]["stdout"] == "hello\n"
