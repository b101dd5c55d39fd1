"""What an execution leaves running in a container that outlives it, and how it enters one."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.support.instance import Instance, docker
from tests.support.programs import Sleep
from tests.support.server import PATIENCE, wait_for

# these steps use no boxes, but for the detached ones, which are always plain containers
pytestmark = [pytest.mark.docker, pytest.mark.parametrize("kind", ["plain"])]

QUIET = "</dev/null >/dev/null 2>&1"
LEFT = {
    "in the background": f"{{sleep}} {QUIET} &",
    "a daemon": f"(setsid sh -c '(setsid {{sleep}} &)' {QUIET} &)",
    "without descriptors": "(setsid {sleep} <&- >&- 2>&- &)",
    "ignoring signals": f"(trap '' HUP INT TERM; setsid {{sleep}} {QUIET} &)",
    "many": f"for i in 1 2 3 4 5 6 7 8; do (setsid {{sleep}} {QUIET} &); done",
    "multiplying": f"(while {{sleep}} & do sleep 0.02; done {QUIET} &)",
    "stopped": f"({{sleep}} {QUIET} & until [ -e {{begun}} ]; do sleep 0.02; done; kill -STOP $!)",
}
"""Programs that leave a sleeping one running."""

DAEMON = LEFT["a daemon"]


def _exec(box: str, program: str, **step: Any) -> dict[str, Any]:
    return {"box": box, "action": "exec", "command": ["sh", "-c", program], **step}


def _leave(sleep: Sleep, program: str = DAEMON) -> str:
    """Return a program that ends once what it leaves has begun."""
    begun = f"/tmp/{sleep.argument}"
    write = f"echo 'touch {begun}; exec sleep {sleep.argument}' > {begun}.sh"
    leave = program.format(sleep=f"sh {begun}.sh", begun=begun)
    return f"{write}; {leave}\nuntil [ -e {begun} ]; do sleep 0.02; done"


@pytest.mark.parametrize("program", LEFT.values(), ids=LEFT)
def test_what_an_exec_leaves_running_ends_with_the_execution(execute, service, program):
    sleep = Sleep(1000)
    execution = execute(_exec(service, _leave(sleep, program)))
    assert (execution.ok, execution.stderr) == (True, "")
    assert not sleep.runs()


@pytest.mark.parametrize(
    ("end", "stderr"),
    [("exit 3", "exit status 3"), ("sleep 1000", "code execution timeout")],
)
def test_what_a_failed_exec_leaves_running_ends_with_the_execution(execute, service, end, stderr):
    sleep = Sleep(1000)
    execution = execute(_exec(service, f"{_leave(sleep)}; {end}", timeout=2 * PATIENCE))
    assert execution.stderr == stderr
    assert not sleep.runs()


def test_what_a_cancelled_exec_leaves_running_ends_with_the_execution(instance, execute, service):
    sleep = Sleep(1000)
    program = f"{_leave(sleep)}; sleep 1000"
    future = instance.start(execute, _exec(service, program, timeout=60))
    wait_for(sleep.runs)
    instance.cancel()
    assert future.result(20).reason == "cancelled"
    assert not sleep.runs()


def test_what_an_exec_leaves_running_serves_the_steps_after_it(execute, service):
    sleep = Sleep(1000)
    look = f"grep -c -z -x {sleep.argument} /proc/[0-9]*/cmdline | grep -c ':[1-9]'"
    execution = execute(_exec(service, _leave(sleep)), _exec(service, look))
    # grep itself is the other one
    assert execution.stdout == "2\n"


def test_execution_spares_what_others_run_in_the_container(instance, execute, service):
    sleep, other = Sleep(1000), Sleep(1000)
    with closing(Instance("plain")) as neighbour:
        step = _exec(service, other.text, timeout=60)
        future = neighbour.start(neighbour.execute, step)
        wait_for(other.runs)
        assert execute(_exec(service, _leave(sleep))).ok
        assert not sleep.runs()
        assert other.runs()
        neighbour.cancel()
        assert future.result(20).reason == "cancelled"


def test_execution_leaves_the_containers_own_processes_alone(execute, service):
    own = Sleep(1000)
    docker("exec", "--detach", "--user=1000", service, "sleep", own.argument)
    wait_for(own.runs)
    assert execute(_exec(service, _leave(Sleep(1000)))).ok
    assert own.runs()


@pytest.mark.parametrize("user", ["1000:1000", "sandbox:sandbox", "sandbox:1000", "1234:1000"])
def test_exec_keeps_the_group_of_the_step(execute, service, user):
    assert execute(_exec(service, "id -g", user=user)).stdout == "1000\n"


def test_executions_have_groups_of_their_own(execute, service):
    groups = {execute(_exec(service, "id -g")).stdout for _ in range(2)}
    assert len(groups) == 2
    assert min(map(int, groups)) >= 1 << 30


LISTEN = """
import socket, time
time.sleep({delay})
server = socket.create_server(("127.0.0.1", 8000))
time.sleep(1000)
"""
CONNECT = """
import socket
try:
    socket.create_connection(("127.0.0.1", 8000))
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("recipe", "delay", "stdout"),
    [
        ("FROM codapi/python\nEXPOSE 8000", 0.4, "connected\n"),
        ("FROM codapi/python\nEXPOSE 8000/udp", 3 * PATIENCE, "ConnectionRefusedError\n"),
        ("FROM codapi/python", 3 * PATIENCE, "ConnectionRefusedError\n"),
    ],
)
def test_step_waits_until_a_detached_server_listens(execute, image, recipe, delay, stdout):
    boxes = {"server": {"image": image(recipe)}}
    serve = {
        "box": "server",
        "detach": True,
        "command": ["python", "-c", LISTEN.format(delay=delay)],
    }
    connect = {"box": ":name", "action": "exec", "command": ["python", "-c", CONNECT]}
    assert execute(serve, connect, boxes=boxes).stdout == stdout


def test_step_waits_a_second_for_a_detached_server_that_does_not_listen(execute, image):
    boxes = {"server": {"image": image("FROM codapi/sh\nEXPOSE 8000"), "volume": "%s:/sandbox"}}
    begin = {"box": "server", "detach": True, "command": ["sh", "-c", "date +%s%N > f; sleep 1000"]}
    look = {**_exec(":name", "cat /sandbox/f; date +%s%N")}
    begun, looked = map(int, execute(begin, look, boxes=boxes).stdout.split())
    assert 0.9e9 < looked - begun < (1 + PATIENCE) * 1e9
