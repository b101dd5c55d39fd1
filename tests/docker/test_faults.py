"""Server faults, boxes that die, and executions that are abandoned."""

from __future__ import annotations

import gc
import select
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from codapi_flask.errors import Abandoned
from tests.support.instance import SOCKET, Instance, docker
from tests.support.programs import Sleep
from tests.support.server import wait_for

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("box", "cause"),
    [
        ({"runtime": "no-such-runtime"}, "no-such-runtime"),
        ({"network": "no-such-network"}, "no-such-network"),
        ({"cpu": 10_000}, "CPUs"),
    ],
)
def test_box_that_cannot_be_started_is_a_server_fault(run, box, cause):
    execution = run("true", box=box)
    assert (execution.ok, execution.stdout, execution.stderr) == (False, "", "internal error")
    assert cause.lower() in execution.fault.lower()


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        ("codapi/no-such-image", "make images NAMES=no-such-image"),
        ("no-such-image", "build or pull its image"),
    ],
)
def test_box_without_its_image_is_not_installed(run, name, todo):
    execution = run("true", box={"image": name})
    assert (execution.ok, execution.stdout) == (False, "")
    assert execution.stderr.endswith(f" is not installed: {todo}")
    assert f"no image {name} " in execution.fault


@pytest.mark.parametrize(
    ("user", "cause"),
    [
        ("nobody-there", "unable to find user nobody-there"),
        ("sandbox:nobody-there", "unable to find group nobody-there"),
    ],
)
def test_unknown_user_is_a_server_fault(run, user, cause):
    execution = run("true", user=user)
    assert execution.stderr == "internal error"
    assert cause in execution.fault
    assert run("true").ok


def test_box_removed_from_outside_reports_sandbox_died(instance):
    sleep = Sleep(1000)
    result = instance.start(instance.run, "sleep", sleep.argument, timeout=60)
    wait_for(sleep.runs)
    docker("rm", "--force", *instance.containers())
    execution = result.result(10)
    assert (execution.ok, execution.stdout, execution.stderr) == (False, "", "sandbox died")
    assert not sleep.runs()
    assert instance.run("true").ok


# the last step of an execution when it is abandoned
HELD = {
    "a run": [{"box": "sh", "command": ["sleep", "{}"]}],
    "a run in a second box": [
        {"box": "sh", "command": ["true"]},
        {"box": "other", "command": ["sleep", "{}"]},
    ],
    "a run that prints": [{"box": "sh", "command": ["sh", "-c", "yes & sleep {}"]}],
    "a run without streams": [
        {"box": "sh", "command": ["sh", "-c", "exec >&- 2>&-; sleep {}; exit"]}
    ],
    "a detached box": [
        {"box": "sh", "command": ["sleep", "1000"], "detach": True},
        {"box": ":name", "action": "exec", "command": ["sleep", "{}"]},
    ],
    "a service": [{"box": "SERVICE", "action": "exec", "command": ["sleep", "{}"]}],
}


@pytest.mark.parametrize("held", HELD)
def test_abandoned_execution_ends_its_program(instance, service, held):
    sleep = Sleep(1000)
    steps = [
        {
            "timeout": 60,
            **step,
            "box": step["box"].replace("SERVICE", service),
            "command": [word.replace("{}", sleep.argument) for word in step["command"]],
        }
        for step in HELD[held]
    ]
    boxes = {"sh": {}, "other": {}}
    result = instance.start(instance.execute, *steps, boxes=boxes)
    wait_for(sleep.runs)
    instance.hang_up()
    assert isinstance(result.exception(10), Abandoned)
    # the fixture checks that no container is left
    wait_for(lambda: not sleep.runs(), 2)


class SlowDaemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Forwards everything to the real daemon, but delays requests to start a container."""

    def __init__(self, address: Path, seconds: float) -> None:
        super().__init__(str(address), PassOn)
        self.seconds, self.is_over = seconds, threading.Event()
        threading.Thread(target=self.serve_forever).start()

    def close(self) -> None:
        self.is_over.set()
        self.shutdown()
        self.server_close()


class PassOn(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(SOCKET)
            others = {self.request: daemon, daemon: self.request}
            while not self.server.is_over.is_set():
                for end in select.select(others, [], [], 0.1)[0]:
                    data = end.recv(65536)
                    if data.startswith(b"POST ") and b"/start " in data.partition(b"\r\n")[0]:
                        self.server.is_over.wait(self.server.seconds)
                    if not data:
                        return
                    others[end].sendall(data)


@pytest.fixture
def seconds() -> float:
    """Return the seconds by which the slow daemon delays a start."""
    return 1.5


@pytest.fixture
def slow_instance(
    kind: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Instance]:
    """Return an instance whose daemon is slow."""
    with closing(SlowDaemon(tmp_path / "docker.sock", seconds)) as daemon:
        with monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", f"unix://{daemon.server_address}")
            instance = Instance(kind, box=3, call=3)
        with closing(instance):
            yield instance


@pytest.mark.parametrize("kind", ["plain", "cold"])
def test_timeout_starts_with_the_program(slow_instance):
    execution = slow_instance.run("sleep", "0.3", timeout=1)
    assert (execution.ok, execution.stderr) == (True, "")
    assert execution.duration > 1500


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [60])
@pytest.mark.parametrize("kind", ["plain", "cold"])
def test_box_that_starts_too_slowly_is_a_server_fault(slow_instance):
    start = time.monotonic()
    execution = slow_instance.run("true", timeout=60)
    assert 3 <= time.monotonic() - start < 15
    assert execution.stderr == "internal error"
    assert "start a box" in execution.fault
    # the container that never started is removed, too
    assert not slow_instance.containers()


# docker-py does not close a socket that it could not connect
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["plain", "cold"])
def test_unreachable_daemon_makes_the_server_unavailable(kind, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere")
        instance = Instance(kind)
    with closing(instance):
        execution = instance.run("true")
    gc.collect()
    assert execution.stderr == "unavailable: Docker is down, try again later"
    assert "No such file or directory" in execution.fault


@pytest.mark.parametrize("kind", ["cold"])
def test_box_that_cannot_be_reset_is_replaced_and_logged(run, caplog):
    box = {"uses": 9, "tmpfs": ["/tmp", "/tmp/inside"]}
    assert run("touch", "/tmp/inside/x", box=box).ok
    assert "a reset failed (writable), the box is replaced" in caplog.text
