"""How gunicorn may be started and signalled."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.support.server import GUNICORN, REPOSITORY, environment, wait_for

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
def test_option_that_would_break_the_bound_is_refused(root, arguments, variables, reason):
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


def test_sigttin_for_one_more_worker_is_refused(start_server, root):
    server = start_server(root(pool_size=1))
    server.kill(signal.SIGTTIN)
    wait_for(lambda: "needs one gunicorn worker, not 2" in server.log)
    assert len(server.pids["web"]) == 1
    assert server.exec("sh", "run", "echo hello")[1]["stdout"] == "hello\n"
