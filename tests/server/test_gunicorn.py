import os
import subprocess

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
