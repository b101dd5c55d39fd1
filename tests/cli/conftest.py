"""The command as a user runs it: through a pipe or on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.server import environment

# a job of a shell in the background ignores Ctrl-C, and so do its children
CODE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from codapi_flask.cli.main import main
main(prog_name="codapi")
"""
CODAPI = [sys.executable, "-c", CODE]


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def codapi(tmp_path: Path) -> Callable[..., Ended]:
    """Return a function that runs `codapi` in a directory; it has no server unless it is given."""

    def run(
        *words: str, input: str = "", cwd: Path = tmp_path, env: Mapping[str, str] | None = None
    ) -> Ended:
        variables = environment(cwd)
        del variables["CODAPI_ROOT"], variables["PORT"]
        work = {"CODAPI_WORK_DIR": str(tmp_path / "work")}
        done = subprocess.run(
            [*CODAPI, *words],
            input=input,
            cwd=cwd,
            env={**variables, **work, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def on_terminal(words: list[str], cwd: Path) -> Ended:
    """Run `codapi` with a terminal as its stdout and stderr; return what both printed."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen([*CODAPI, *words], cwd=cwd, stdout=slave, stderr=slave)
    finally:
        os.close(slave)
    printed = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:
            # EIO: the last process has closed it
            break
        if not part:
            break
        printed += part
    os.close(master)
    return Ended(process.wait(60), printed.decode(), "")
