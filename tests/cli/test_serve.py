"""`codapi serve` starts the server that `gunicorn` starts."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from contextlib import suppress

import pytest

from tests.cli.conftest import CODAPI
from tests.support.proxies import free_port
from tests.support.server import REPOSITORY, environment, wait_for

pytestmark = pytest.mark.docker


def test_server_starts_with_the_options_and_ends_at_ctrl_c(root, tmp_path):
    variables = {**environment(tmp_path), "CODAPI_WORK_DIR": str(tmp_path / "work")}
    port = free_port()
    words = ["serve", "--port", str(port), "--pool-size", "3", "--root", str(root())]
    process = subprocess.Popen(
        [*CODAPI, *words], cwd=tmp_path, env=variables, start_new_session=True
    )
    try:
        url = f"http://127.0.0.1:{port}"
        metrics = wait_for(lambda: _read(f"{url}/metrics"), 30)
        assert "codapi_workers 3.0" in metrics
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 0


def _read(url: str) -> str:
    with suppress(OSError), urllib.request.urlopen(url) as answer:
        return answer.read().decode()
    return ""


def test_both_files_of_settings_are_the_same():
    own, packaged = REPOSITORY / "gunicorn.conf.py", REPOSITORY / "codapi_flask/server/conf.py"
    code = [path.read_text().partition('"""\n\n')[2] for path in (own, packaged)]
    assert code[0] == code[1]
