"""A Python that waits in a box for its program, beside one that is started with it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from codapi_flask.boxes import preload
from codapi_flask.config.model import Preload
from tests.support.behaviours import PROGRAMS
from tests.support.initbox import Box, Result

pytestmark = pytest.mark.docker

WAITER = preload.argv(Preload(command=("python",), python=()))
VOLATILE = [
    # the address of an object
    (re.compile(r"\b0x[0-9a-f]+"), "0x"),
    # a recursion has a few calls less, which are the waiter's
    (re.compile(r"\[Previous line repeated \d+ more times\]"), "[Previous line repeated]"),
]


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


def normal(result: Result) -> tuple[int, str, str]:
    texts = []
    for text in (result.stdout, result.stderr):
        for pattern, replacement in VOLATILE:
            text = pattern.sub(replacement, text)
        texts.append(text)
    return result.status, *texts


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


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
    assert preloaded.done.was_waiting
    assert normal(preloaded) == normal(usual)
