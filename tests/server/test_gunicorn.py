import os
import subprocess
import sys

import pytest

from tests.support.server import GUNICORN, REPOSITORY, environment


@pytest.mark.parametrize("library", ["gunicorn", "docker", "urllib3"])
def test_start_with_an_untested_release_is_refused(root, tmp_path, library):
    (tmp_path / "sitecustomize.py").write_text(f"import {library}\n{library}.__version__ = '99.1'")
    done = subprocess.run(
        [GUNICORN],
        cwd=REPOSITORY,
        env=environment(root(), PYTHONPATH=f"{tmp_path}:{REPOSITORY}"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == os.EX_CONFIG
    first, problem = done.stderr.splitlines()
    assert first == "the installed libraries cannot be used:"
    assert problem.startswith(f"  {library} 99.1 is installed, {library}>=")


def test_last_jobs_have_the_time_of_all_runs_when_the_server_ends(root):
    code = (
        "from codapi_flask.server.gunicorn import settings; print(settings()['graceful_timeout'])"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        cwd=REPOSITORY,
        env=environment(root(runs_timeout=1234)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert 1234 < int(done.stdout) < 1300
