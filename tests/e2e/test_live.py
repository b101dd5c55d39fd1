"""Live output, and clients that go away, on a real server and through nginx."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import islice
from select import select
from statistics import median

import pytest

from tests.support import machine
from tests.support.client import Client
from tests.support.configs import KINDS
from tests.support.events import HEADERS, Events, post, printed, question
from tests.support.gate import serving
from tests.support.programs import Sleep
from tests.support.proxies import KINDS as PROXIES
from tests.support.proxies import proxy
from tests.support.server import PATIENCE, Answer, Server, wait_for, write_root

pytestmark = pytest.mark.docker

TIMEOUTS = {"heartbeat": 0.3}
RUN = {"entry": "main.sh", "steps": [{"box": "sh", "command": ["sh", "main.sh"], "timeout": 60}]}
COMMANDS = {
    **{name: {"run": {**RUN, "steps": [{**RUN["steps"][0], "box": name}]}} for name in KINDS},
    "sh": {
        "run": RUN,
        "steps": {**RUN, "steps": [RUN["steps"][0], {**RUN["steps"][0], "command": ["id", "-u"]}]},
        "much": {**RUN, "steps": [{**RUN["steps"][0], "noutput": 1 << 30, "timeout": 3}]},
        "little": {**RUN, "steps": [{**RUN["steps"][0], "noutput": 10}]},
        "short": {**RUN, "steps": [{**RUN["steps"][0], "timeout": 0.5}]},
    },
    "web": {"run": {"engine": "http"}},
}


@pytest.fixture(scope="module")
def gate():
    with serving() as gate:
        gate.opened.set()
        yield gate


@pytest.fixture(scope="module")
def server(tmp_path_factory, gate) -> Iterator[Server]:
    """Run a server with a box of each kind."""
    boxes = {**KINDS, "sh": {"image": "codapi/sh", "uses": 1000}}
    top = {"pool_size": 2, "queue_timeout": 30, "queue_size": 200}
    top["http"] = {"hosts": {"gate": gate.address}}
    root = write_root(tmp_path_factory.mktemp("root"), boxes, COMMANDS, top)
    with Server(root, timeouts=TIMEOUTS) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(server, tmp_path_factory) -> Iterator[int]:
    with proxy("nginx", server.port, tmp_path_factory.mktemp("nginx")) as port:
        yield port


@pytest.fixture(params=["direct", pytest.param("nginx", marks=pytest.mark.nginx)])
def port(request, server) -> int:
    """Return the port of the server, or of nginx in front of it."""
    return server.port if request.param == "direct" else request.getfixturevalue("nginx")


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in PROXIES],
)
def proxied(request, server, tmp_path_factory) -> Iterator[int]:
    """Return the port of a proxy in front of the server."""
    with proxy(request.param, server.port, tmp_path_factory.mktemp("proxy")) as port:
        yield port


def outcomes(server: Server, reason: str) -> float:
    """Return how many executions of `sh` have ended with a reason."""
    labels = f'command="run",reason="{reason}",sandbox="sh"'
    return server.metric(f"codapi_executions_total{{{labels}}}")


def test_output_comes_while_the_program_runs(port):
    program = Sleep(60)
    with Events(port, f"echo begun; {program.text}") as events:
        assert events.status == 200
        assert events.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert events.headers["Access-Control-Allow-Origin"] == "*"
        happening = iter(events)
        told = list(islice((each for each in happening if each[0] != ":"), 2))
        assert told == [
            ("progress", {"step": 0}),
            ("stdout", {"step": 0, "text": "begun\n"}),
        ]
        wait_for(program.runs)
        # the connection is seen to work
        assert next(happening)[0] == ":"
    wait_for(lambda: not program.runs())


@pytest.mark.parametrize("kind", ["sh", *KINDS])
def test_stream_is_the_output_and_ends_with_the_answer(port, kind):
    text = "for i in 1 2 3; do printf 'ä日😀'; printf \"$i\" >&2; sleep 0.05; done; exit 3"
    with Events(port, text, sandbox=kind, details=True) as events:
        *before, (name, answer) = events
    details = answer["details"]
    assert name == "result"
    assert (answer["ok"], details["exit_code"]) == (False, 3)
    assert printed(before, "stdout") == details["stdout"] == "ä日😀" * 3
    assert printed(before, "stderr") == details["stderr"] == "123"


def test_each_step_begins_with_progress(server):
    with Events(server.port, "echo one", command="steps", details=True) as events:
        happening = list(events)
    assert [name for name, _ in happening] == [
        *("progress", "stdout", "progress", "stdout", "result")
    ]
    assert [content["step"] for _, content in happening[:-1]] == [0, 0, 1, 1]
    assert [step["stdout"] for step in happening[-1][1]["details"]["steps"]] == ["one\n", "1000\n"]


def test_each_run_begins_with_progress(server):
    runs = [{"stdin": "one"}, {"stdin": "two"}]
    with Events(server.port, "cat", runs=runs) as events:
        happening = [each for each in events if each[0] != ":"]
    assert happening[:-1] == [
        ("progress", {"step": 0, "run": 0}),
        ("stdout", {"step": 0, "run": 0, "text": "one"}),
        ("progress", {"step": 0, "run": 1}),
        ("stdout", {"step": 0, "run": 1, "text": "two"}),
    ]
    assert [result["stdout"] for result in happening[-1][1]["results"]] == ["one", "two"]


@pytest.mark.parametrize(
    "text", ["yes | head -c 99999", "printf 'aaaaaaaaa日'; yes | head -c 99999 >&2"]
)
def test_stream_is_cut_where_the_answer_is(server, text):
    with Events(server.port, text, command="little", details=True) as events:
        *before, (_, answer) = events
    details = answer["details"]
    assert len(details["stdout"] + details["stderr"]) >= 9
    assert printed(before, "stdout") == details["stdout"]
    assert printed(before, "stderr") == details["stderr"]


def test_timeout_is_a_result_after_its_output(server):
    with Events(server.port, "echo begun; sleep 60", command="short") as events:
        *before, (_, answer) = events
    assert printed(before, "stdout") == "begun\n"
    assert answer["stderr"] == "code execution timeout"


def test_http_command_streams_its_result_alone(server):
    with Events(server.port, "GET http://gate/", sandbox="web") as events:
        [(name, answer)] = [each for each in events if each[0] != ":"]
    assert (name, answer["ok"]) == ("result", True)


@pytest.mark.parametrize(
    ("more", "status"), [({"sandbox": "none"}, 404), ({"files": {}}, 400), ({"version": 1}, 400)]
)
def test_refusal_of_a_stream_is_plain_json(server, more, status):
    with Events(server.port, "echo", **more) as events:
        assert (events.status, events.headers["Content-Type"]) == (status, "application/json")
        assert json.loads(events.read())["ok"] is False


def test_fault_before_the_run_is_plain_json(root, start_server):
    box = {"image": "codapi/sh", "network": "none-such"}
    server = start_server(root({"sh": box}, {"sh": {"run": RUN}}))
    with Events(server.port, "echo") as events:
        assert (events.status, events.headers["Content-Type"]) == (500, "application/json")
        assert json.loads(events.read())["stderr"] == "internal error"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream;q=0, */*", ""])
def test_other_clients_get_the_plain_answer(server, accept):
    headers = {"Content-Type": "application/json", "Accept": accept}
    body = json.dumps(question("echo hello"))
    assert server.request("POST", "/v1/exec", body, headers).json()["stdout"] == "hello\n"


LEAVE = {
    "close": lambda client: client.socket.close(),
    "reset": Client.vanish,
    "half-close": Client.finish,
}


@pytest.mark.parametrize("live", [False, True], ids=["plain", "live"])
@pytest.mark.parametrize("way", LEAVE)
def test_program_of_a_client_that_leaves_is_killed(server, way, live):
    before, program = outcomes(server, "cancelled"), Sleep(50)
    with post(server.port, program.text, live) as client:
        wait_for(program.runs)
        LEAVE[way](client)
        wait_for(lambda: not program.runs(), 3)
    wait_for(lambda: outcomes(server, "cancelled") == before + 1)
    assert " outcome=cancelled " in server.log


def test_program_of_a_client_that_leaves_is_dead_in_half_a_second(server):
    took = []
    for _ in range(3):
        program = Sleep(50)
        client = post(server.port, program.text, live=False)
        wait_for(program.runs)
        start = time.monotonic()
        client.socket.close()
        wait_for(lambda program=program: not program.runs(), 3)
        took.append(time.monotonic() - start)
    # others may use the machine
    assert min(took) < 0.5 * PATIENCE


@pytest.mark.parametrize("live", [False, True], ids=["plain", "live"])
def test_client_that_leaves_a_proxy_ends_its_program(proxied, live):
    program = Sleep(50)
    client = post(proxied, program.text, live)
    wait_for(program.runs)
    client.socket.close()
    wait_for(lambda: not program.runs(), 3)


def test_output_comes_through_a_proxy_while_the_program_runs(proxied):
    program = Sleep(60)
    with Events(proxied, f"echo begun; {program.text}") as events:
        told = list(islice((each for each in events if each[0] != ":"), 2))
        assert [name for name, _ in told] == ["progress", "stdout"]
        wait_for(program.runs)
    wait_for(lambda: not program.runs())


@pytest.mark.parametrize("kind", KINDS)
def test_program_in_a_box_of_any_kind_is_killed(server, kind):
    program = Sleep(50)
    events = Events(server.port, f"echo; {program.text}", sandbox=kind)
    wait_for(program.runs)
    events.close()
    wait_for(lambda: not program.runs(), 5)
    assert server.exec(kind, "run", "echo next")[1]["stdout"] == "next\n"


def test_request_of_the_http_engine_is_broken_off(server, gate):
    gate.opened.clear()
    with post(server.port, "GET http://gate/wait", live=True, sandbox="web"):
        wait_for(lambda: gate.waiting)
        wait_for(lambda: server.metric("codapi_workers_busy") == 1)
    wait_for(lambda: server.metric("codapi_workers_busy") == 0, 3)
    gate.opened.set()


def test_data_sent_ahead_hides_no_departure(server):
    program = Sleep(50)
    client = post(server.port, program.text, live=False)
    client.send(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 99)
    wait_for(program.runs)
    client.socket.close()
    wait_for(lambda: not program.runs(), 3)


def test_requests_waiting_for_a_worker_leave_with_their_clients(server):
    with ExitStack() as stack:
        running = [Sleep(50), Sleep(50)]
        clients = [post(server.port, program.text, live=True) for program in running]
        wait_for(lambda: all(program.runs() for program in running))
        waiting = [post(server.port, "echo waited", live=live) for live in [True, False] * 20]
        before = outcomes(server, "cancelled")
        for client in waiting:
            client.socket.close()
        wait_for(lambda: outcomes(server, "cancelled") == before + len(waiting))
        # they had no worker, and the running programs go on
        assert all(program.runs() for program in running)
        for client in clients:
            stack.callback(client.socket.close)
    assert server.exec("sh", "run", "echo next")[1]["stdout"] == "next\n"


@pytest.mark.parametrize(
    ("live", "more"),
    [(False, {}), (True, {}), (True, {"runs": [{}, {"stdin": "x"}]})],
    ids=["plain", "live", "runs"],
)
def test_clients_leaving_at_any_moment_leave_nothing(server, live, more):
    text = "for i in 1 2 3 4; do echo $i; sleep 0.03; done"

    def leave(number: int) -> None:
        with post(server.port, text, live, **more) as client:
            # from before the run to after the answer
            client.socket.settimeout(number / 200)
            with suppress(TimeoutError):
                while client.socket.recv(100):
                    pass
            list(LEAVE.values())[number % 3](client)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(leave, range(1, 60)))
    wait_for(lambda: server.metric("codapi_workers_busy") == 0)
    assert server.exec("sh", "run", "echo next")[1]["stdout"] == "next\n"
    assert server.metric("codapi_workers_lost_total") == 0
    assert "Traceback" not in server.log
    assert "internal error" not in server.log


def test_program_waits_for_a_client_that_does_not_read(server):
    [web] = server.pids["web"]
    before = machine.resident([web])
    body = json.dumps(question("yes | tee /dev/stderr", command="much")).encode()
    head = f"POST /v1/exec HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    kills = server.metric("codapi_kills_total")
    with Client(server.port, receive_buffer=4096) as client:
        client.send(f"{head}{fields}\r\n".encode() + body)
        # at its timeout, though nothing has been read; its worker is free then
        wait_for(lambda: server.metric("codapi_kills_total") == kills + 1)
        wait_for(lambda: server.metric("codapi_workers_busy") == 0)
        assert machine.resident([web]) - before < 8


def test_slow_reader_gets_everything(server):
    with Events(server.port, "yes 0123456 | head -c 600000", command="much") as events:
        *before, (_, answer) = events
    assert answer["ok"]
    assert printed(before, "stdout") == answer["stdout"] == "0123456\n" * 75_000


def test_open_streams_delay_neither_health_nor_refusals(server):
    ask = json.dumps(question("echo"))
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(Events(server.port, f"echo; {Sleep(40).text}"))
        # 200 wait in the queue
        clients = [stack.enter_context(post(server.port, "echo", live=True)) for _ in range(220)]
        wait_for(lambda: len(select([each.socket for each in clients], [], [], 0)[0]) == 20)
        health = timed(200, lambda: server.request("GET", "/v1/health"))
        refusal = timed(429, lambda: server.request("POST", "/v1/exec", ask, HEADERS))
    # a second is what any of them would wait for behind a stream
    assert max(health, refusal) < 0.2 * PATIENCE


def timed(status: int, ask: Callable[[], Answer]) -> float:
    """Return the median seconds of some answers, all with a status."""
    took = []
    for _ in range(21):
        start = time.monotonic()
        assert ask().status == status
        took.append(time.monotonic() - start)
    return median(took)


def test_stream_outlives_a_regular_end_of_the_server(root, start_server):
    server = start_server(root({"sh": KINDS["fresh"]}, {"sh": {"run": RUN}}))
    with Events(server.port, "echo begun; sleep 2; echo done", details=True) as events:
        happening = iter(events)
        assert [next(happening)[0] for _ in range(2)] == ["progress", "stdout"]
        server.kill()
        *_, (name, answer) = happening
    assert (name, answer["stdout"]) == ("result", "begun\ndone\n")
