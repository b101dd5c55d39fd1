"""Fixtures of the tests with Docker: boxes of every kind, services and images."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache

import pytest

from tests.support.instance import BOX_DEFAULTS, Instance, docker
from tests.support.server import wait_for


@pytest.fixture(scope="session")
def image() -> Iterator[Callable[[str], str]]:
    """Return a function that makes an image from a Dockerfile, once, and returns its id."""
    # the label keeps it apart from the same image of a concurrent or killed test run
    label = f"--label=codapi.test={secrets.token_hex(4)}"
    with ExitStack() as stack:

        def build(text: str) -> str:
            id = docker("build", "--quiet", label, "-", input=text)
            stack.callback(docker, "image", "rm", id)
            return id

        yield cache(build)


@pytest.fixture(scope="session")
def instance_of(image: object) -> Iterator[Callable[..., Instance]]:
    """Return a factory of instances by kind of box and user of the host; each is made once.

    They end before the images do.
    """
    with ExitStack() as stack:
        yield cache(lambda *args: stack.enter_context(closing(Instance(*args))))


@pytest.fixture(params=BOX_DEFAULTS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return the kind of boxes: by default each test runs with all of them."""
    return request.param


@pytest.fixture
def uid() -> int:
    """Return the host user that the server runs as, 0 for the current one."""
    return 0


@pytest.fixture
def instance(kind: str, uid: int, instance_of: Callable[..., Instance]) -> Iterator[Instance]:
    """Return an instance with an engine. Nothing that a test starts in it may be left."""
    instance = instance_of(kind, uid)
    yield instance
    wait_for(lambda: not instance.containers() and not instance.leases())


@pytest.fixture
def run(instance: Instance) -> Callable:
    """Return `Instance.run`."""
    return instance.run


@pytest.fixture
def execute(instance: Instance) -> Callable:
    """Return `Instance.execute`."""
    return instance.execute


@pytest.fixture(scope="session")
def start_service(image: object) -> Iterator[Callable[..., str]]:
    """Return a function that starts a container with `docker run` and returns its id.

    They end before the images do.
    """
    with ExitStack() as stack:

        def start(*arguments: str) -> str:
            id = docker("run", "--detach", "--init", "--network=none", *arguments)
            stack.callback(docker, "rm", "--force", "--volumes", id)
            return id

        yield start


@pytest.fixture(scope="session")
def service(start_service: Callable[..., str]) -> str:
    """Return the id of a container that runs as a database would."""
    return start_service("codapi/sh", "sleep", "infinity")
