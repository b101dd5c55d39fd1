"""A daemon whose containers have a user namespace (`userns-remap`): everything works there, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache

import pytest

from codapi_flask.config.load import load_config
from codapi_flask.config.timeouts import Timeouts
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.stock.preflight import boxes_of_own_user
from tests.support.dockerd import Dockerd
from tests.support.instance import KIND_TOLD, Instance, acting_as, docker
from tests.support.programs import Sleep
from tests.support.server import Server, write_root

pytestmark = [
    pytest.mark.docker,
    pytest.mark.userns,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root"),
]

WRITABLE_KINDS = pytest.mark.parametrize("kind", ["plain", "warm"])
SERVER_USERS = pytest.mark.parametrize("uid", [0, 2000])
FILL = "i=1; while :; do : > $i; i=$((i+1)); done"
WHO = "id -u; id -g; cat /proc/1/comm; stat -c %u /proc/1"


@pytest.fixture(scope="module")
def daemon() -> Iterator[str]:
    """Use a daemon of the module's own, whose namespace maps 65,536 ids; return its address."""
    dockerd = Dockerd("--userns-remap=default")
    try:
        dockerd.start()
        dockerd.load("codapi/sh")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", dockerd.address)
            yield dockerd.address
    finally:
        dockerd.remove()


@pytest.fixture(scope="module")
def instance_of(daemon: str) -> Iterator[Callable[..., Instance]]:
    """Return a factory of instances that use the daemon."""
    with ExitStack() as stack:
        yield cache(lambda *args: stack.enter_context(closing(Instance(*args))))


@pytest.fixture(scope="module")
def service(daemon: str) -> Iterator[str]:
    """Return the id of a container that runs as a database would."""
    id = docker("run", "--detach", "--init", "--network=none", "codapi/sh", "sleep", "infinity")
    yield id
    docker("rm", "--force", id)


@pytest.mark.parametrize("user", ["sandbox", "root", "nobody"])
def test_box_of_every_kind_runs_programs(run, kind, user):
    if kind in ("reused", "preloaded") and user == "root":
        pytest.skip("such a box is not reused")
    execution = run("sh", "-c", "id -un; cat main", files={"": "text"}, entry="main", user=user)
    assert (execution.fault, execution.stdout) == ("", f"{user}\ntext")
    assert execution.steps[0].kind == KIND_TOLD.get(kind, kind)


@pytest.mark.parametrize("kind", ["reused"])
def test_init_leaves_its_ids_to_a_step_that_has_them(execute):
    """It takes the highest that are mapped, until a program's user has one of them."""
    users = ["1000:1000", "65534:5", "5:65535", "1000:65532", "65533:65531"]
    found = execute(*({"box": "sh", "command": ["sh", "-c", WHO], "user": u} for u in users))
    ids = [step.stdout.split() for step in found.steps]
    assert [f"{uid}:{gid}" for uid, gid, *_ in ids] == users
    # the owner of /proc/1 is the greater of init's two
    assert [(name, int(owner)) for *_, name, owner in ids] == [
        ("init", 65535),
        ("init", 65533),
        ("init", 65533),
        ("init", 65535),
        ("init", 65535),
    ]


@pytest.mark.parametrize("kind", ["plain"])
def test_exec_timeout_kills_the_program_but_not_the_service(execute, service):
    sleep = Sleep(1000)
    argv = ["sh", "-c", f"setsid sleep {sleep.argument} & sleep {sleep.argument}"]
    execution = execute({"box": service, "action": "exec", "command": argv, "timeout": 0.5})
    assert execution.stderr == "code execution timeout"
    assert not sleep.runs()
    assert docker("inspect", "--format", "{{.State.Running}}", service) == "true"


@pytest.mark.parametrize("user", ["sandbox", "root"])
@WRITABLE_KINDS
@SERVER_USERS
def test_closed_directories_of_mapped_users_are_removed(run, user):
    """The fixture checks that nothing is left."""
    program = "mkdir -p a/b/c && touch a/b/c/d && chmod 0 a/b/c && chmod 700 a/b a && stat -c %a ."
    execution = run("sh", "-c", program, user=user, box={"volume": "%s:/sandbox"})
    assert (execution.fault, execution.stdout) == ("", "777\n")


@pytest.mark.parametrize(
    ("directory", "box"), [("/sandbox", {"volume": "%s:/sandbox"}), ("/tmp", {"writable": True})]
)
@WRITABLE_KINDS
@SERVER_USERS
def test_program_filling_a_disk_is_killed(run, directory, box):
    program = f"mkdir -m 700 {directory}/x && cd {directory}/x && {FILL}"
    execution = run("sh", "-c", program, box={**box, "work_size": 1}, timeout=30)
    assert (execution.fault, execution.stderr) == ("", "disk limit exceeded (1 MiB)")


@pytest.mark.parametrize("kind", ["cold"])
def test_users_of_boxes_are_not_the_servers(daemon, instance, tmp_path):
    commands = {"sh": {"run": {"steps": [{"box": "sh", "command": ["id"], "user": "1000"}]}}}
    config = load_config(write_root(tmp_path, {"sh": {"image": "codapi/sh"}}, commands, {}))
    with acting_as(1000):
        assert boxes_of_own_user(Daemon(Timeouts()), config, instance.own) == []


def test_server_keeps_boxes_warm_and_reuses_them_without_a_warning(daemon, tmp_path):
    box = {"image": "codapi/sh", "warm": 1, "uses": 1000}
    step = {"box": "sh", "command": ["sh", "main.sh"]}
    commands = {"sh": {"run": {"entry": "main.sh", "steps": [step]}}}
    root = write_root(tmp_path / "root", {"sh": box}, commands, {"pool_size": 1})
    with Server(root, DOCKER_HOST=daemon) as server:
        kinds = set()
        for _ in range(6):
            answer = server.exec("sh", "run", "echo hello", details=True)[1]
            assert answer["stdout"] == "hello\n"
            kinds.add(answer["details"]["box"])
        assert "reused" in kinds
        assert "fresh" not in kinds
        warnings = [line for line in server.log.splitlines() if "WARNING" in line]
        assert all("WARNING runc" in warning for warning in warnings)
