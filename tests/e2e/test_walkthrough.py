"""Codapi's walkthrough adds a sandbox to a checkout that does not have it yet."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.support.server import REPOSITORY

pytestmark = [pytest.mark.docker, pytest.mark.slow]

BUILD = "docker build --file images/python/Dockerfile --tag codapi/python:latest images/python/"
CURL = """curl -H "content-type: application/json" -d '{ "sandbox": "python", "command": "run",\
 "files": {"": "print(42)" }}' http://localhost:1313/v1/exec"""

BOXES = """{
    // the shell
    "sh": {
        "image": "codapi/sh"
    },
    "python": {
        "image": "codapi/python"
    }
}
"""
RUN = """
    "run": {
        "engine": "docker",
        "entry": "main.py",
        "steps": [
            {
                "box": "python",
                "command": ["python", "main.py", ":args"]
            }
        ]
    }"""
TEST = """,
    // another command of the same sandbox
    "test": {
        "engine": "docker",
        "entry": "test_main.py",
        "steps": [
            {
                "box": "python",
                "command": ["python", "-m", "unittest"],
                "noutput": 8192
            }
        ]
    }"""
UNITTEST = """
import unittest
class Test(unittest.TestCase):
    def test(self):
        self.assertEqual(6 * 7, 42)
"""


def inspect(image: str) -> str:
    command = ["docker", "image", "inspect", "--format={{.Id}}", image]
    return subprocess.check_output(command, text=True).strip()


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the repository before the walkthrough; restore the image's tag."""
    for name in ("configs", "images"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.rmtree(tmp_path / "images/python")
    # the only boxes are those of the walkthrough
    for file in (tmp_path / "configs/commands").iterdir():
        if file.stem != "sh":
            file.unlink()
    (tmp_path / "configs/boxes.json").write_text('{"sh": {"image": "codapi/sh"}}')
    before = inspect("codapi/python")
    yield tmp_path
    subprocess.run(["docker", "tag", before, "codapi/python:latest"], check=True)


def test_walkthrough_works_as_typed(checkout, start_server):
    assert start_server(checkout).exec("python", "run", "print(42)")[0] == 404

    (checkout / "images/python").mkdir()
    for name in ("Dockerfile", "requirements.txt"):
        shutil.copy(REPOSITORY / "images/python" / name, checkout / "images/python")
    subprocess.run(BUILD, shell=True, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    (checkout / "configs/boxes.json").write_text(BOXES)
    (checkout / "configs/commands/python.json").write_text(f"{{{RUN}\n}}")
    server = start_server(checkout)
    answer = subprocess.check_output(
        CURL.replace("localhost:1313", f"localhost:{server.port}"), shell=True, text=True
    )
    assert re.fullmatch(
        r'\{"id": "python_run_[0-9a-f]{8}", "ok": true, "duration": \d+, '
        r'"stdout": "42\\n", "stderr": ""\}\n?',
        answer,
    )
    code = "import numpy, pandas; print(numpy.__version__, pandas.__version__)"
    assert server.exec("python", "run", code)[1]["stdout"] == "1.26.2 2.1.3\n"

    (checkout / "configs/commands/python.json").write_text(f"{{{RUN}{TEST}\n}}")
    body = start_server(checkout).exec("python", "test", UNITTEST)[1]
    assert body["ok"], body
