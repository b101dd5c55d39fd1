"""A Python that waits in a box for its program, beside one that is started with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from codapi_flask.boxes import preload
from codapi_flask.config.model import Preload
from tests.support.behaviours import PROGRAMS, empty, normal
from tests.support.initbox import Box, Result

pytestmark = pytest.mark.docker

WAITER = preload.argv(Preload(command=("python",), python=()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the box's work directory on the host."""
    folder = tmp_path_factory.mktemp("sandbox")
    folder.chmod(0o777)
    for parent in folder.parents[:-2]:
        parent.chmod(parent.stat().st_mode | 0o111)
    return folder


@pytest.fixture(scope="module")
def box(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """Return one box for all programs."""
    listener = tmp_path_factory.mktemp("box") / "init"
    mounts = {"binds": [f"{folder}:/sandbox"], "tmpfs": {"/tmp": "size=32m"}}
    memory = dict.fromkeys(("mem_limit", "memswap_limit"), 1 << 28)
    with Box(listener, "codapi/python", **mounts, **memory) as box:
        yield box


def as_usual(result: Result) -> tuple[int, bytes, bytes]:
    """Return how a program ended, without what differs from run to run."""
    return result.status, normal(result.stdout.encode()), normal(result.stderr.encode())


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_that_waited_does_as_usual(box: Box, folder: Path, name: str) -> None:
    program = PROGRAMS[name]
    argv, env = ["python", *program.argv], [f"{key}={text}" for key, text in program.env.items()]
    empty(folder)
    program.write(folder)
    usual = box.run(argv, env=env, stdin=program.stdin)
    waiting = box.preload(WAITER, env=env)
    assert box.news().waits
    empty(folder)
    program.write(folder)
    preloaded = waiting.start(argv, env=env).finish(stdin=program.stdin)
    assert preloaded.done.preloaded
    assert as_usual(preloaded) == as_usual(usual)
