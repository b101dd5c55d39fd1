"""The life of services: containers that the server itself keeps running."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.support.instance import docker
from tests.support.programs import Sleep
from tests.support.server import PATIENCE, Server, wait_for, write_root

pytestmark = pytest.mark.docker

SERVICE = {"image": "codapi/sh", "command": ["sleep", "infinity"], "service": True}
EXEC = {"box": "db", "action": "exec", "stdin": True, "command": ["sh"], "timeout": 2}
COMMANDS = {"db": {"run": {"steps": [EXEC]}}}
GATED = {"tmpfs": ["/tmp"], "ready": ["sh", "-c", "ls /tmp/open"]}
STARTING = "starting: a service that the sandbox needs is not ready yet, try again in a second"


@pytest.fixture
def serve(root, start_server) -> Callable[..., Server]:
    """Return a factory of servers with a service `db`, in which the sandbox `db` executes."""

    def make(box: Mapping[str, Any] | None = None, **place: Any) -> Server:
        boxes = {"db": {**SERVICE, **(box or {})}}
        return start_server(root(boxes, COMMANDS, pool_size=2), **place)

    return make


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server whose service is used, and killed, by one test after the other."""
    box = {
        **SERVICE,
        "command": ["sh", "-c", "id -u > /tmp/user; exec sleep infinity"],
        "user": "1234",
        "env": {"COLOUR": "green"},
        "tmpfs": ["/tmp:size=1m"],
        "nproc": 32,
    }
    # as the service itself, it may kill that
    own = {"own": {"run": {"steps": [{**EXEC, "user": "1234"}]}}}
    top = {"pool_size": 4}
    root = write_root(tmp_path_factory.mktemp("root"), {"db": box}, COMMANDS | own, top)
    with Server(root) as server:
        yield server


def run(server: Server, program: str, sandbox: str = "db") -> tuple[int, str]:
    """Return the status, and what a program in the service prints."""
    status, answer = server.exec(sandbox, "run", program)
    return status, answer["stdout"] + answer["stderr"]


def works(server: Server) -> bool:
    try:
        return run(server, "echo works") == (200, "works\n")
    except OSError:
        # its web process has just been killed
        return False


def container(server: Server) -> str:
    """Return the id of the one container of the service, once that is ready."""
    wait_for(lambda: works(server))
    [instance] = server.work_dir.glob("i-*/services/db/container")
    return instance.read_text()


def states(server: Server) -> list[str]:
    """Return the states that the metrics show for the service."""
    names = ("idle", "starting", "ready", "failed")
    metric = 'codapi_service{{box="db",state="{}"}}'
    return [name for name in names if server.metric(metric.format(name)) == 1]


def health(server: Server) -> tuple[int, str]:
    answer = server.request("GET", "/v1/health?ready=1")
    return answer.status, answer.json()["status"]


def test_lazy_service_starts_with_the_first_request(serve):
    server = serve({"service": "lazy"})
    wait_for(lambda: states(server) == ["idle"])
    assert health(server) == (200, "ok")
    assert server.containers() == []
    assert run(server, "true") == (503, STARTING)
    wait_for(lambda: works(server))


def test_request_before_a_service_is_ready_is_refused(serve):
    server = serve(GATED)
    document = {"sandbox": "db", "command": "run", "files": {"": "true"}}
    answer = server.post(document)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert json.loads(answer.body)["stderr"] == STARTING
    [id] = wait_for(server.containers)
    wait_for(lambda: docker("inspect", "-f", "{{.State.Running}}", id) == "true")
    assert server.post(document).status == 503
    docker("exec", id, "touch", "/tmp/open")
    wait_for(lambda: server.post(document).status == 200)


def test_health_and_metrics_show_whether_a_service_is_ready(serve):
    server = serve(GATED)
    why = "ls: cannot access '/tmp/open': No such file or directory"
    wait_for(lambda: health(server) == (503, f"the service db is not ready: {why}"))
    wait_for(lambda: states(server) == ["starting"])
    docker("exec", *server.containers(), "touch", "/tmp/open")
    wait_for(lambda: health(server) == (200, "ok"))
    wait_for(lambda: states(server) == ["ready"])


def test_service_whose_ready_never_succeeds_is_started_again_and_named(serve):
    server = serve({"ready": ["sh", "-c", "echo why; exit 3"], "ready_timeout": 0.5})
    why = "not ready within 0.5 s: why"
    wait_for(lambda: server.log.count(f"the service db is not ready, will start again: {why}") > 1)
    wait_for(lambda: health(server) == (503, f"the service db is not ready: {why}"))
    assert run(server, "true") == (503, STARTING)


def test_service_that_ends_at_once_is_named_with_its_last_words(serve):
    server = serve({"command": ["sh", "-c", "echo words >&2; exit 3"], "ready": ["false"]})
    wait_for(lambda: "not ready, will start again: it has ended: 'words'" in server.log)


def test_missing_image_is_no_fault(serve):
    server = serve({"image": "codapi/no-such-image"})
    status, text = run(server, "true")
    assert status == 200
    assert "no-such-image" in text
    wait_for(lambda: states(server) == ["failed"])
    assert health(server) == (200, "ok")


@pytest.fixture
def tag() -> Iterator[Callable[[str], str]]:
    """Return a function that gives an image another name, always the same one."""
    name = f"codapi-test-{secrets.token_hex(4)}"

    def tag(image: str) -> str:
        docker("tag", image, name)
        return name

    yield tag
    docker("image", "rm", name)


def test_service_is_replaced_when_its_image_changes(serve, tag):
    server = serve({"image": tag("codapi/sh")})
    wait_for(lambda: works(server))
    tag("codapi/python")
    wait_for(lambda: run(server, "python -c 'print(42)'") == (200, "42\n"))


def test_service_starts_once_its_image_is_there(serve, tag):
    name = tag("codapi/sh")
    docker("image", "rm", name)
    server = serve({"image": name})
    wait_for(lambda: states(server) == ["failed"])
    tag("codapi/sh")
    wait_for(lambda: works(server), 3)


def test_service_runs_as_its_box_says(shared):
    wait_for(lambda: works(shared))
    assert run(shared, "cat /tmp/user; echo $COLOUR")[1] == "1234\ngreen\n"


HOSTILE = {
    "sleeps": "sleep 1000",
    "forks": "bomb() { bomb | bomb & }; bomb; sleep 1000",
    "takes memory": "x=x; while :; do x=$x$x; done",
    "fills the tmpfs": "cat /dev/zero > /tmp/x",
    # then no program can start for lack of memory
    "fills the shared memory": "cat /dev/zero > /dev/shm/x",
    "leaves daemons": "for i in 1 2 3 4 5 6 7 8; do (setsid sleep 1000 >/dev/null 2>&1 &); done",
}
KILLING = {"kills": "kill -KILL -1; kill -KILL 1", "kills politely": "kill -TERM 1; sleep 1000"}


@pytest.mark.parametrize("program", HOSTILE.values(), ids=HOSTILE)
def test_request_after_a_hostile_one_succeeds(shared, program):
    wait_for(lambda: works(shared))
    assert run(shared, program)[0] == 200
    wait_for(lambda: works(shared), 8)


@pytest.mark.parametrize("program", KILLING.values(), ids=KILLING)
def test_service_that_a_request_kills_is_started_again(shared, program):
    wait_for(lambda: works(shared))
    id = container(shared)
    # as the service's own user
    assert run(shared, program, "own")[0] == 200
    wait_for(lambda: works(shared), 5)
    assert container(shared) != id


def test_request_in_a_service_that_dies_is_no_fault_of_the_server(serve, threads):
    server = serve()
    id, program = container(server), Sleep(1)
    answer = threads.submit(server.exec, "db", "run", program.text)
    wait_for(program.runs)
    docker("kill", id)
    statuses = set()
    while not (works(server) and answer.done()):
        statuses.add(run(server, "true")[0])
    assert statuses <= {200, 503}
    assert answer.result()[1]["ok"] is False


def test_version_of_a_request_does_not_change_the_service(root, start_server):
    boxes = {"db": SERVICE, "sh": {"image": "codapi/sh"}, "sh:2": {"image": "codapi/sh"}}
    steps = [{"box": "sh", "command": ["true"]}, {**EXEC, "command": ["echo", "works"]}]
    server = start_server(root(boxes, {**COMMANDS, "sh": {"run": {"steps": steps}}}, pool_size=2))
    wait_for(lambda: works(server))
    _, answer = server.exec("sh", "run", "text", version="2")
    assert answer["stdout"] + answer["stderr"] == "works\n"


def test_service_ends_with_its_server(serve):
    server = serve()
    id = container(server)
    server.kill()
    wait_for(lambda: id not in server.containers(), 3)


def test_service_dies_with_its_server_and_spares_others(serve):
    server, other = serve(), serve()
    id, kept = container(server), container(other)
    [instance] = server.work_dir.glob("i-*")
    os.killpg(server.pid, signal.SIGKILL)
    wait_for(lambda: id not in server.containers(), 3)
    assert container(other) == kept
    # the next server removes its directories
    serve(work_dir=server.work_dir)
    wait_for(lambda: not instance.exists())


def test_what_a_killed_worker_ran_in_a_service_ends_with_it(serve, threads):
    server = serve()
    id, program, left = container(server), Sleep(1000), Sleep(1000)
    text = f"(setsid sleep {left.argument} >/dev/null 2>&1 &); {program.text}"
    threads.submit(server.exec, "db", "run", text)
    wait_for(lambda: program.runs() and left.runs())
    for worker in server.pids["worker"]:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not program.runs() and not left.runs())
    assert container(server) == id


@pytest.mark.parametrize("role", ["keeper", "web"])
def test_service_dies_with_a_process_and_is_started_again(serve, role):
    server = serve()
    id = container(server)
    [instance] = server.work_dir.glob("i-*")
    os.kill(server.pids[role][0], signal.SIGKILL)
    wait_for(lambda: id not in server.containers(), 3)
    wait_for(lambda: works(server))
    wait_for(lambda: role == "keeper" or not instance.exists())


def test_end_of_a_server_does_not_wait_for_ready(serve):
    server = serve({"ready": ["sleep", "1000"]})
    wait_for(server.containers)
    start = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - start < 5 * PATIENCE
    assert "will start again" not in server.log


def test_server_that_ends_lets_requests_in_a_service_end(serve, threads):
    server = serve()
    container(server)
    program = Sleep(1)
    answer = threads.submit(server.exec, "db", "run", program.text)
    wait_for(program.runs)
    server.stop()
    assert answer.result()[1]["stdout"] == "done\n"
