"""Slow, silent, greedy and vanished clients: they delay no other and leave nothing."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from codapi_flask.config.timeouts import Timeouts
from tests.fuzz.test_requests import CHUNKED, HEALTH, LARGE_HEAD, LINES, REQUEST
from tests.support.client import Client
from tests.support.fuzz import GOOD, encode
from tests.support.machine import descriptors, resident
from tests.support.programs import Sleep
from tests.support.server import wait_for

pytestmark = pytest.mark.docker

HEAD = b"\r\n".join(LINES[:3]) + b"\r\n"
SILENT = {
    "nothing": b"",
    "half a first line": b"POST /v1",
    "half a head": HEAD,
    "a large head": LARGE_HEAD[:60_000],
    "too large a head": LARGE_HEAD,
    "half a body": REQUEST[:-5],
    "half a body of a padded length": HEAD + b"Content-Length: %050d\r\n\r\n{" % 99,
    "no body": HEAD + b"Content-Length: 99\r\nExpect: 100-continue\r\n\r\n",
    "too large a body": HEAD + b"Content-Length: 99999999\r\n\r\n{",
    "half a chunk's head": CHUNKED + b"5",
    "a long chunk's head": CHUNKED + b"5;" + b"x" * 5000,
    "half a chunk": CHUNKED + b"5\r\n{",
    "a huge chunk": CHUNKED + b"ffffffff\r\n{",
    "tiny chunks": CHUNKED + b"1\r\n \r\n" * 10_000,
    "half a trailer": CHUNKED + b"0\r\nA: b\r\n",
    "a request and a half": HEALTH + REQUEST[:-5],
}


def is_quick(server) -> bool:
    """Tell whether health is answered in less than 100 ms."""
    start = time.monotonic()
    assert server.request("GET", "/v1/health").status == 200
    return time.monotonic() - start < 0.1


@pytest.mark.parametrize("part", SILENT)
def test_clients_sending_half_a_request_delay_no_other(server, connect, part):
    for _ in range(200):
        connect().send(SILENT[part])
    # retries allow for a busy machine; a blocked server would fail them all
    wait_for(lambda: is_quick(server), 5)
    assert server.exec("sh", "run", "echo hello")[1]["ok"]


def test_clients_sending_byte_by_byte_delay_no_other(server, connect):
    clients = [connect() for _ in range(100)]
    for number in range(len(REQUEST) - 1):
        for client in clients:
            client.send(REQUEST[number : number + 1])
    wait_for(lambda: is_quick(server), 5)
    for client in clients:
        client.send(REQUEST[-1:])
        client.finish()
        assert [answer.status for answer in client.answers()] == [200]


def test_clients_not_reading_answers_delay_no_other(server, connect):
    clients = [connect(receive_buffer=2048) for _ in range(50)]
    for client in clients:
        client.socket.setblocking(False)
        with suppress(BlockingIOError):
            client.send(b"GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
    wait_for(lambda: is_quick(server), 5)
    # all are disconnected
    wait_for(lambda: not connections(server), Timeouts().send + 5)


def test_clients_not_reading_long_answers_delay_no_other(server, connect):
    # NUL takes six bytes in JSON
    body = encode({**GOOD, "command": "long", "files": {"": "head -c 200000 /dev/zero"}})
    head = b"POST /v1/exec HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    for _ in range(100):
        client = connect(receive_buffer=2048)
        client.send(head + b"Content-Length: %d\r\n\r\n" % len(body), body)
    wait_for(lambda: is_quick(server), 5)
    wait_for(lambda: server.metric("codapi_workers_busy") == 0)
    assert is_quick(server)


def test_large_bodies_at_once_take_bounded_memory(server, connect):
    before = resident(server.pids["web"])
    for _ in range(400):
        client = connect()
        client.send(HEAD + b"Content-Length: 1000000\r\n\r\n", b" " * 900_000)
    assert resident(server.pids["web"]) - before < 300
    wait_for(lambda: is_quick(server), 5)


def test_vanished_clients_leave_nothing(server):
    wait_for(lambda: not connections(server), 20)
    before = descriptors(server.pids["web"])
    for part in (*SILENT.values(), REQUEST, HEALTH, REQUEST * 5):
        for size in {0, len(part) // 3, len(part) // 2, len(part) - 1, len(part)}:
            for leave in (Client.vanish, Client.finish, lambda client: client.socket.close()):
                with Client(server) as client:
                    client.send(part[:size])
                    leave(client)
    wait_for(lambda: not connections(server), 20)
    # a thread may still be closing the last ones
    wait_for(lambda: descriptors(server.pids["web"]) <= before, 20)
    wait_for(lambda: server.metric("codapi_workers_busy") == 0)


def test_client_vanishing_during_its_execution_leaves_nothing(server):
    program = Sleep(1)
    body = encode({**GOOD, "files": {"": program.text}})
    for leave in (Client.vanish, Client.finish):
        with Client(server) as client:
            client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_for(program.runs)
            leave(client)
        wait_for(lambda: not program.runs())
    wait_for(lambda: server.metric("codapi_workers_busy") == 0)


def connections(server) -> list[str]:
    """Return the connections that the server holds (proc(5), /proc/net/tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port, listening = f"{server.port:04X}", "0A"
    own = [line for line in lines if line[1].endswith(f":{port}") and line[3] != listening]
    # a closed connection has no file any more
    return [line[2] for line in own if line[9] != "0"]
