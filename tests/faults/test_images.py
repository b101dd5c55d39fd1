"""An image that is replaced, or removed, while it is served."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.configs import KINDS
from tests.support.faults import load, restored, write_config
from tests.support.instance import docker
from tests.support.server import Server, wait_for

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """Return the name of an image that may be replaced."""
    name = f"codapi-test/{secrets.token_hex(4)}"
    old = build(name, "old")
    yield name
    docker("image", "rm", "--force", name, old)


@pytest.fixture(scope="module")
def server(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server whose boxes are all of the image."""
    with Server(write_config(tmp_path_factory.mktemp("root"), image)) as server:
        yield server


def build(name: str, version: str) -> str:
    """Build an image that holds its version; return its id."""
    recipe = f"FROM codapi/sh\nENV VERSION={version}\n"
    return docker("build", "--quiet", "--tag", name, "-", input=recipe)


def versions(server: Server) -> set[str]:
    return {server.exec(kind, "run", "echo $VERSION")[1]["stdout"].strip() for kind in KINDS}


def images(server: Server) -> set[str]:
    """Return the ids of the images of all boxes."""
    form = ["--format", "{{.Image}}", *server.containers()]
    # one may be gone by now
    found = subprocess.run(["docker", "inspect", *form], stdout=subprocess.PIPE, text=True)
    return set(found.stdout.split())


def test_replaced_image_is_used_without_a_failed_job(server, image):
    assert versions(server) == {"old"}
    with restored(server), load(server) as seen:
        wait_for(seen.gave("right"), 60)
        id = build(image, "new")
        wait_for(lambda: versions(server) == {"new"}, 60)
        wait_for(lambda: images(server) == {id}, 60)
        wait_for(seen.gave("right"), 60)
        assert versions(server) == {"new"}
    assert seen.verdicts() == {"right"}


def test_removed_image_fails_new_boxes_until_it_is_back(server, image):
    with restored(server), load(server) as seen:
        docker("image", "rm", "--force", image)
        wait_for(seen.gave("not installed", "plain", "fresh"), 60)
        build(image, "new")
        wait_for(seen.gave("right"), 60)
    assert seen.verdicts() == {"right", "not installed"}
