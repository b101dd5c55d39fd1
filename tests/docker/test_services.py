"""Steps that act on containers outside the server's control, such as a database."""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from typing import Any

import pytest

from tests.docker.test_ends import UNSTARTABLE
from tests.support.daemon import Daemon
from tests.support.instance import Instance, docker
from tests.support.programs import Sleep
from tests.support.server import wait_for

# these steps use no boxes
pytestmark = [pytest.mark.docker, pytest.mark.parametrize("kind", ["plain"])]

# what the daemon says of itself
ROOTLESS = {b'"name=seccomp,profile=default"': b'"name=rootless,profile=defaul"'}
# no shell, no passwd: just what sleep and cat need
NO_SHELL = """
FROM scratch
COPY --from=codapi/sh /bin/sleep /bin/cat /bin/
COPY --from=codapi/sh /lib/x86_64-linux-gnu/libc.so.6 /lib/x86_64-linux-gnu/
COPY --from=codapi/sh /lib64/ld-linux-x86-64.so.2 /lib64/
"""


def _exec(box: str, *argv: str, **step: Any) -> dict[str, Any]:
    return {"box": box, "action": "exec", "command": argv, **step}


@pytest.fixture(scope="module")
def no_shell(image, start_service) -> str:
    """Return a service whose image has no shell."""
    return start_service(image(NO_SHELL), "/bin/sleep", "infinity")


@pytest.fixture(params=["service", "no_shell"])
def any_service(request) -> str:
    """Return one service after another."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("program", "ok", "stdout", "stderr"),
    [
        ("echo out; echo err >&2", True, "out\n", "err\n"),
        ("exit 3", False, "", "exit status 3"),
        ("echo err >&2; echo out; exit 3", False, "", "out\nerr (exit status 3)"),
        ("kill -TERM $$", False, "", "exit status 143"),
        ("kill -KILL $$", False, "", "exit status 137"),
        ("exec >&- 2>&-; sleep 0.3; exit 3", False, "", "exit status 3"),
    ],
)
def test_program_in_a_service_ends_as_in_a_box(execute, service, program, ok, stdout, stderr):
    execution = execute(_exec(service, "sh", "-c", program))
    assert (execution.ok, execution.stdout, execution.stderr) == (ok, stdout, stderr)


@pytest.mark.parametrize("program", UNSTARTABLE)
def test_program_that_cannot_be_started_is_named(execute, service, program):
    execution = execute(_exec(service, program))
    assert (execution.ok, execution.stdout) == (False, "")
    assert execution.stderr == f"{program}: {UNSTARTABLE[program]}"


def test_program_runs_as_the_steps_user(execute, service):
    users = {"sandbox": "1000", "root": "0", "1234:5678": "1234"}
    for user, uid in users.items():
        assert execute(_exec(service, "id", "-u", user=user)).stdout == f"{uid}\n"


def test_exec_needs_no_shell_in_the_service(execute, no_shell):
    step = _exec(no_shell, "/bin/cat", user="1234", stdin=True)
    assert execute(step, files={"": "text"}).stdout == "text"


def test_exec_timeout_kills_the_program_but_not_the_service(execute, any_service):
    sleep = Sleep(1000)
    before = docker("inspect", "--format", "{{.State.StartedAt}}", any_service)
    start = time.monotonic()
    step = _exec(any_service, "/bin/sleep", sleep.argument, user="1234", timeout=0.5)
    execution = execute(step)
    assert execution.stderr == "code execution timeout"
    assert time.monotonic() - start < 20
    assert not sleep.runs()
    form = "{{.State.Running}} {{.State.StartedAt}}"
    assert docker("inspect", "--format", form, any_service) == f"true {before}"


@pytest.mark.parametrize(
    "program",
    [
        "{sleep} & {sleep}",
        "trap '' TERM INT HUP; {sleep} & wait; {sleep}",
        "setsid {sleep} & {sleep}",
        "sh -c '{sleep} & {sleep}' & wait",
        "exec >&- 2>&-; {sleep} & wait",
        "kill -STOP $$; {sleep}",
    ],
)
def test_exec_timeout_kills_all_children_of_the_program(execute, service, program):
    sleep = Sleep(1000)
    program = program.format(sleep=f"sleep {sleep.argument}")
    execution = execute(_exec(service, "sh", "-c", program, timeout=0.5))
    assert execution.stderr == "code execution timeout"
    assert not sleep.runs()


def test_exec_timeout_of_a_rootless_daemon_kills_all_children(kind, service, tmp_path, monkeypatch):
    """Its root boxes enter the service's PID namespace: the host's is closed to them."""
    sleep, other = Sleep(1000), Sleep(1000)
    docker("exec", "--detach", service, "sleep", other.argument)
    wait_for(other.runs)
    program = f"setsid sleep {sleep.argument} & sleep {sleep.argument}"
    with closing(Daemon(tmp_path / "docker.sock", ROOTLESS)) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        with closing(Instance(kind)) as instance:
            execution = instance.execute(_exec(service, "sh", "-c", program, timeout=0.5))
    assert (execution.fault, execution.stderr) == ("", "code execution timeout")
    assert not sleep.runs()
    assert other.runs()


def test_exec_timeout_spares_other_programs_in_the_service(execute, service):
    other = Sleep(1000)
    docker("exec", "--detach", service, "sleep", other.argument)
    wait_for(other.runs)
    assert execute(_exec(service, "sleep", "1000", timeout=0.3)).stderr == "code execution timeout"
    assert other.runs()


def test_stop_step_stops_a_service(execute, start_service):
    service = start_service("codapi/sh", "sleep", "infinity")
    execution = execute({"box": service, "action": "stop"})
    assert (execution.ok, execution.stdout) == (True, "")
    assert docker("inspect", "--format", "{{.State.Running}}", service) == "false"


@pytest.mark.parametrize("action", ["exec", "stop"])
def test_missing_service_is_a_server_fault(execute, action):
    name = f"codapi-test-{secrets.token_hex(4)}"
    execution = execute({"box": name, "action": action, "command": ["true"]})
    assert execution.stderr == "internal error"
    assert name in execution.fault


def test_unknown_user_is_a_server_fault(execute, service):
    execution = execute(_exec(service, "true", user="nobody-there"))
    assert execution.stderr == "internal error"
    assert "nobody-there" in execution.fault
