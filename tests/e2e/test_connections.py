"""Keep-alive clients: after an answer, a thread stays with the connection for a moment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.client import Client
from tests.support.configs import BOXES, COMMANDS
from tests.support.server import Server, write_root

pytestmark = pytest.mark.docker

PAUSES = (0.0, 0.005, 0.05)
"""Before, during and after the moment."""


def request(text: str, *fields: str) -> bytes:
    """Return a request that runs a shell script, with more fields in its head."""
    body = json.dumps({"sandbox": "sh", "command": "run", "files": {"": text}}).encode()
    lines = ["POST /v1/exec HTTP/1.1", "Host: a", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def in_chunks(text: str) -> bytes:
    """Return the same with a body in two chunks."""
    head, _, body = request(text).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])]
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""]) + b"".join(
        [*chunks, b"0\r\n\r\n"]
    )


LAST = request("echo last", "Connection: close")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with two workers."""
    root = write_root(tmp_path_factory.mktemp("root"), BOXES, COMMANDS, {"pool_size": 2})
    with Server(root) as server:
        yield server


def whole(send: Callable[[bytes], None], data: bytes, pause: float) -> None:
    send(data)


def halves(send: Callable[[bytes], None], data: bytes, pause: float) -> None:
    middle = len(data) // 2
    send(data[:middle])
    time.sleep(pause)
    send(data[middle:])


@pytest.mark.parametrize("pause", PAUSES)
@pytest.mark.parametrize("way", [whole, halves])
@pytest.mark.parametrize("form", [request, in_chunks])
def test_requests_on_one_connection_are_all_answered(server, form, way, pause):
    with Client(server) as client:
        file = client.socket.makefile("rb")
        for number in range(4):
            way(client.send, form(f"echo {number}"), pause)
            text = b""
            while not text.endswith(b"}"):
                text += file.read1()
            assert json.loads(text.partition(b"\r\n\r\n")[2])["stdout"] == f"{number}\n"
            time.sleep(pause)


@pytest.mark.parametrize("pause", PAUSES)
def test_pipelined_requests_are_answered_in_order(server, pause):
    with Client(server) as client:
        for text in ("echo first", "sleep 0.1; echo second"):
            client.send(request(text))
            time.sleep(pause)
        client.send(request("echo third") + LAST)
        outputs = [answer.json()["stdout"] for answer in client.answers()]
    assert outputs == ["first\n", "second\n", "third\n", "last\n"]


def test_malformed_request_after_an_answer_is_refused(server):
    with Client(server) as client:
        client.send(request("echo first"), b"")
        time.sleep(0.3)
        client.send(b"NONSENSE\r\n\r\n")
        assert [answer.status for answer in client.answers()] == [200, 400]


def test_busy_clients_leave_threads_for_others(server):
    """A hundred clients are more than the server has threads."""
    ends = time.monotonic() + 3
    unknown = request("true").replace(b'"sh"', b'"no"')

    def hammer(client: Client) -> int:
        count = 0
        while time.monotonic() < ends:
            client.send(unknown)
            client.socket.recv(1 << 16)
            count += 1
        return count

    with ExitStack() as stack, ThreadPoolExecutor(100) as threads:
        clients = [stack.enter_context(Client(server)) for _ in range(100)]
        counts = threads.map(hammer, clients)
        slowest = 0.0
        while time.monotonic() < ends:
            start = time.monotonic()
            assert server.request("GET", "/v1/health").status == 200
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.05)
        # no client starves
        assert min(counts) > 3
    assert slowest < 2
