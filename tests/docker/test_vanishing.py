"""Boxes that others remove, pause or kill before their program has begun."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import docker as sdk
import pytest

from tests.support.configs import COMMANDS
from tests.support.daemon import Daemon
from tests.support.instance import Instance, docker
from tests.support.server import Server, boxes, wait_for

pytestmark = pytest.mark.docker

STARTED = pytest.mark.parametrize("kind", ["plain", "cold"])


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Return a daemon whose calls can be held."""
    with closing(Daemon(tmp_path / "docker.sock")) as daemon:
        yield daemon


@pytest.fixture
def instance(kind: str, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    """Return an instance that uses this daemon."""
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", daemon.address)
        instance = Instance(kind)
    with closing(instance):
        yield instance
        wait_for(lambda: not instance.containers() and not instance.leases())


@pytest.mark.parametrize("call", ["start", "attach"])
@pytest.mark.parametrize("detach", [False, True])
@STARTED
def test_box_removed_before_its_start_is_replaced(instance, daemon, kind, call, detach):
    if call == "attach" and kind == "cold" and not detach:
        pytest.skip("a box with init is not attached to")
    steps = [{"box": "sh", "command": ["sh", "-c", "echo hello"]}]
    if detach:
        exec = {"action": "exec", "box": ":name", "command": ["echo", "hello"]}
        steps = [{"box": "sh", "command": ["sleep", "60"], "detach": True}, exec]
    with daemon.hanging(rf"POST \S+/{call}\b") as held:
        result = instance.start(instance.execute, *steps)
        wait_for(lambda: held)
        docker("rm", "--force", *instance.containers())
    execution = result.result(60)
    assert (execution.ok, execution.stdout, execution.fault) == (True, "hello\n", "")


@STARTED
def test_image_replaced_while_a_box_of_it_is_created_is_taken_anew(instance, daemon):
    name = f"codapi-test/{secrets.token_hex(4)}"

    def build(version: str) -> str:
        recipe = f"FROM codapi/sh\nENV VERSION={version}\n"
        return docker("build", "--quiet", "--tag", name, "-", input=recipe)

    build("old")
    try:
        with daemon.hanging(r"POST \S+/containers/create") as held:
            result = instance.start(instance.run, "sh", "-c", "echo $VERSION", box={"image": name})
            wait_for(lambda: held)
            docker("image", "rm", "--force", name)
            build("new")
        assert result.result(60).stdout == "new\n"
    finally:
        docker("image", "rm", "--force", name)


@contextmanager
def pruning(instance: Instance) -> Iterator[None]:
    """Remove the containers of an instance that do not run, again and again."""
    is_over = threading.Event()
    filters = {"label": f"codapi.instance={instance.path}"}

    def prune() -> None:
        with closing(sdk.APIClient()) as api:
            # as often as a loop of `docker container prune`
            while not is_over.wait(0.05):
                api.prune_containers(filters)

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize("kind", ["cold"])
def test_pruned_containers_fail_no_run(instance):
    with pruning(instance):
        for _ in range(16):
            assert instance.run("echo", "hello").stdout == "hello\n"


@pytest.fixture
def server(root, start_server) -> Server:
    """Return a server with a waiting box, whose program may take five seconds."""
    box = {"image": "codapi/sh", "warm": 1}
    server = start_server(root({"sh": box}, {"sh": COMMANDS["sh"]}, pool_size=1))
    wait_for(lambda: stock(server, "idle") == 1, 30)
    return server


def stock(server: Server, state: str) -> float:
    """Return how many boxes the keeper counts in that state."""
    return server.metric(f'codapi_stock{{box="sh",state="{state}"}}')


def test_paused_box_is_not_given_to_a_run(server):
    [instance] = server.work_dir.glob("i-*")
    [box] = boxes(instance, "running")
    docker("pause", box)
    status, body = server.exec("sh", "run", "echo hello", details=True)
    assert (status, body["stdout"]) == (200, "hello\n")
    # the time-out of a program that cannot begin is longer
    assert body["duration"] < 4500
    wait_for(lambda: box not in boxes(instance), 30)


@pytest.mark.parametrize("is_removed", [True, False])
def test_box_that_dies_or_stalls_before_it_reads_its_program_is_replaced(server, is_removed):
    [instance] = server.work_dir.glob("i-*")
    [box] = boxes(instance, "running")
    os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", box)), signal.SIGSTOP)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(server.exec, "sh", "run", "echo hello", details=True)
        wait_for(lambda: stock(server, "used") == 1)
        if is_removed:
            docker("rm", "--force", box)
        status, body = answer.result()
    assert (status, body["stdout"], body["details"]["box"]) == (200, "hello\n", "cold")
    wait_for(lambda: box not in boxes(instance), 30)
