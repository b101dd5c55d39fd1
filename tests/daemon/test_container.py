"""The writable layer of a real container, whatever the daemon says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from codapi_flask.config.timeouts import Timeouts
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import ServerFault
from tests.support import daemon
from tests.support.instance import Instance, docker

pytestmark = pytest.mark.docker

FIND = """
import sys
from codapi_flask.config.timeouts import Timeouts
from codapi_flask.daemon.daemon import Daemon
print(Daemon(Timeouts()).find(sys.argv[1]).layer())
"""
FILL = "i=1; while :; do : > /tmp/$i; i=$((i+1)); done"


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """Return the id of a container that runs."""
    id = docker("run", "--detach", "--init", "--network=none", "codapi/sh", "sleep", "infinity")
    yield id
    docker("rm", "--force", id)


@pytest.fixture
def _silent(tmp_path, monkeypatch) -> Iterator[None]:
    """Use a daemon that does not name the layer, as with containerd's image store."""
    with closing(daemon.Daemon(tmp_path / "docker.sock", {b"UpperDir": b"upperdir"})) as silent:
        monkeypatch.setenv("DOCKER_HOST", silent.address)
        yield


@pytest.mark.usefixtures("_silent")
def test_layer_that_the_daemon_does_not_name_is_found_by_the_kernel(container, monkeypatch):
    found = Daemon(Timeouts()).find(container).layer()
    monkeypatch.delenv("DOCKER_HOST")
    assert str(found) == docker("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", container)


@pytest.mark.usefixtures("_silent")
def test_ended_container_has_no_layer(container):
    id = docker("create", "codapi/sh", "true")
    assert Daemon(Timeouts()).find(id).layer() is None
    docker("rm", id)
    assert Daemon(Timeouts()).find(id).layer() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.usefixtures("_silent")
def test_layer_of_processes_that_are_out_of_sight_is_a_fault(container):
    """In another PID namespace the daemon's pid may be that of any process."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", FIND, container]
    done = subprocess.run(unshare, cwd=Path.cwd(), capture_output=True, text=True)
    assert ServerFault.__name__ in done.stderr
    assert "set the box's storage, or use a tmpfs instead of writable" in done.stderr


@pytest.mark.usefixtures("_silent")
def test_quota_bounds_a_layer_that_the_daemon_does_not_name():
    with closing(Instance("warm")) as instance:
        box = {"writable": True, "work_size": 1}
        execution = instance.run("sh", "-c", FILL, box=box, timeout=30)
    assert (execution.fault, execution.stderr) == ("", "disk limit exceeded (1 MiB)")
