"""Refusals while all workers are busy, on connections kept alive or closed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

import pytest

from tests.support.client import Client
from tests.support.configs import BOXES, COMMANDS
from tests.support.gate import Gate, serving
from tests.support.server import Answer, Server, wait_for, write_root

pytestmark = pytest.mark.docker

BODY = json.dumps({"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}).encode()


def request(*fields: str, version: str = "1.1", body: bytes = BODY) -> bytes:
    """Return a request; its media type is JSON unless the fields give another."""
    given = "".join(fields).lower()
    kind = [] if "content-type" in given else ["Content-Type: application/json"]
    lines = [f"POST /v1/exec HTTP/{version}", "Host: a", *kind, *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


LONG_WAY = "application/vnd.api+json"
"""A JSON media type that the event loop leaves to Flask."""


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    """Return the host that the worker's request is sent to."""
    with serving() as gate:
        yield gate


@pytest.fixture(scope="module")
def module_server(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with one worker."""
    commands = {**COMMANDS, "web": {"run": {"engine": "http"}}}
    top = {"pool_size": 1, "http": {"hosts": {"gate": gate.address}}}
    root = write_root(tmp_path_factory.mktemp("root"), BOXES, commands, top)
    with Server(root, timeouts={"http": 20, "send": 3}) as server:
        yield server


@pytest.fixture
def server(module_server: Server, gate: Gate) -> Iterator[Server]:
    """Return a server whose only worker is busy, until the gate opens."""
    with kept_busy(module_server, gate):
        yield module_server


@contextmanager
def kept_busy(server: Server, gate: Gate) -> Iterator[None]:
    gate.opened.clear()
    gate.waiting.clear()
    thread = threading.Thread(target=server.exec, args=("web", "run", "http://gate/wait"))
    thread.start()
    try:
        wait_for(lambda: gate.waiting)
        yield
    finally:
        gate.opened.set()
        thread.join()


@pytest.fixture
def ask(server):
    """Return a function that sends a request, always on the same connection."""
    with closing(HTTPConnection("127.0.0.1", server.port)) as connection:

        def ask(kind: str = "application/json") -> Answer:
            connection.request("POST", "/v1/exec", BODY, {"Content-Type": kind})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

        yield ask


def test_event_loop_and_flask_send_the_same_429(ask):
    short, long, again = ask(), ask(LONG_WAY), ask()
    assert short.status == long.status == again.status == 429
    # a header that gunicorn adds
    assert long.headers["Server"] == "gunicorn"
    del long.headers["Server"], long.headers["Date"], short.headers["Date"]
    assert sorted(short.headers.items()) == sorted(long.headers.items())
    assert short.headers["Connection"] == "keep-alive"
    assert {**short.json(), "id": ""} == {**long.json(), "id": ""}
    assert len({answer.json()["id"] for answer in (short, long, again)}) == 3


def test_connection_outlives_its_429s(ask, gate):
    answers = [ask() for _ in range(11)]
    gate.opened.set()
    while answers[-1].status == 429:
        answers.append(ask())
    assert len(answers) > 10
    assert answers[-1].json()["stdout"] == "hello\n"


@pytest.mark.parametrize("way", [request(), request(f"Content-Type: {LONG_WAY}")])
def test_pipelined_requests_are_refused_in_order(server, way):
    with Client(server) as client:
        wrong = request(body=b"{")
        client.send(way + wrong + way + request("Connection: close"))
        assert [answer.status for answer in client.answers()] == [429, 400, 429, 429]


@pytest.mark.parametrize(
    "last", [request("Connection: close"), request(version="1.0")], ids=["close", "1.0"]
)
def test_connection_closes_when_the_client_asks_for_it(server, last):
    with Client(server) as client:
        client.send(request(), last)
        statuses = [answer.status for answer in client.answers()]
    assert statuses == [429, 429]


def flood(client: Client) -> None:
    while True:
        client.socket.sendall(request())


def test_client_not_reading_429s_is_disconnected(server):
    with Client(server, receive_buffer=1) as client, pytest.raises(ConnectionError):
        flood(client)
    assert server.request("GET", "/v1/health").status == 200


def test_vanished_clients_leave_no_descriptors(server):
    [web] = server.pids["web"]

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{web}/fd"))

    before = descriptors()
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(50)]
        for client in clients:
            client.send(request())
            client.vanish()
    wait_for(lambda: descriptors() <= before)
    assert server.request("GET", "/v1/health").status == 200


def test_refused_request_appears_in_the_access_log(gate, module_server):
    with (
        Server(module_server.root, "--access-logfile=-") as server,
        kept_busy(server, gate),
        Client(server) as client,
    ):
        client.send(request("Connection: close"))
        assert [answer.status for answer in client.answers()] == [429]
        wait_for(lambda: '"POST /v1/exec HTTP/1.1" 429' in server.log)
