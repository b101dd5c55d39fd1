"""Boxes for hostile programs, and the checks after each, in the boxes and outside."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from codapi_flask.models import Execution
from tests.docker.conftest import execute, instance_of, run, uid
from tests.hostile.host import Host
from tests.support.compiler import compile_c
from tests.support.instance import Instance, docker
from tests.support.server import PATIENCE, wait_for

__all__ = ["compile_c", "execute", "instance_of", "run", "uid"]

PROGRAMS = Path(__file__).parent / "programs"

GRACE = 2000
"""Milliseconds that an answer may take on top of the program's timeout and a box's start."""


@pytest.fixture(params=["plain", "warm", "reused", "preloaded"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return the kind of boxes: by default each test runs with all of them."""
    return request.param


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, compile_c: Callable[..., Path]) -> str:
    """Return the id of an image that holds the hostile programs."""
    context = tmp_path_factory.mktemp("image")
    shutil.copytree(PROGRAMS, context, dirs_exist_ok=True)
    shutil.copy(compile_c("storm", "-O2", "-static", "-pthread", PROGRAMS / "storm.c"), context)
    return docker("build", "--quiet", "--network=none", str(context))


@pytest.fixture
def host(kind: str, uid: int, instance_of: Callable[..., Instance]) -> Iterator[Host]:
    """Return the host of an instance with an engine; after the test it has to be as before."""
    host = Host(instance_of(kind, uid))
    yield host
    wait_for(lambda: not (changes := host.changes()) or print(*changes, sep="\n"))


@pytest.fixture
def instance(host: Host) -> Instance:
    """Return the instance."""
    return host.instance


@pytest.fixture
def attack(instance: Instance, kind: str, image: str) -> Callable[..., Execution]:
    """Return a function like `Instance.run` for a hostile program.

    Its answer has to come in time, and the next program in such a box must not see anything of it.
    """

    def attack(
        *argv: str, timeout: float = 0.5, box: Mapping[str, Any] | None = None, **options: Any
    ) -> Execution:
        box = {"image": image, **(box or {})}
        if kind == "preloaded":
            # what waits becomes a shell, and that the program
            argv = ("sh", "-c", 'exec "$@"', "sh", *argv)
        execution = instance.run(*argv, timeout=timeout, box=box, **options)
        start = time.monotonic()
        normal = instance.run("sh", "/programs/look", box=box)
        box_start = (time.monotonic() - start) * 1000
        assert (normal.ok, normal.stdout, normal.stderr) == (True, "", "")
        assert execution.duration < timeout * 1000 + GRACE * PATIENCE + box_start
        return execution

    return attack
