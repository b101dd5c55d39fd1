"""Clients in a closed loop (each sends its next request after its answer), or in an open loop.

One thread and ready-made bytes keep their own cost low; the benchmarks measure it, too.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

TIMEOUT = 30.0
"""Seconds without any answer after which a measurement fails."""

REFUSED = b"HTTP/1.1 429 "


@dataclass(frozen=True)
class Question:
    """A request, and a text that its answer must contain."""

    document: Mapping[str, object]
    answer: str = '"ok": true'

    @cached_property
    def data(self) -> bytes:
        body = json.dumps(self.document).encode()
        head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        return f"POST /v1/exec HTTP/1.1\r\n{head}\r\n\r\n".encode() + body

    @cached_property
    def expected(self) -> bytes:
        return self.answer.encode()


class Client:
    """A kept connection with one request at a time; a refusal is an error by default."""

    def __init__(self, port: int, question: Question, may_be_refused: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._question, self._may_be_refused = question, may_be_refused
        self.fileno = self._socket.fileno

    def send(self) -> None:
        self._answer = b""
        self._sent = time.monotonic()
        self._socket.sendall(self._question.data)

    def receive(self) -> float | None:
        """Read what is available; return the seconds since sending once the answer is complete."""
        data = self._socket.recv(1 << 16)
        self._answer += data
        head, _, body = self._answer.partition(b"\r\n\r\n")
        _, _, length = head.partition(b"Content-Length: ")
        if data and (not length or len(body) < int(length.partition(b"\r\n")[0])):
            return None
        took = time.monotonic() - self._sent
        is_fine = self._may_be_refused and self.is_refused
        if not is_fine and self._question.expected not in body:
            raise AssertionError(f"unexpected answer: {self._answer!r}")
        return took

    @property
    def is_refused(self) -> bool:
        """Whether the answer was that all workers are busy."""
        return self._answer.startswith(REFUSED)

    def close(self) -> None:
        self._socket.close()


def ask(port: int, question: Question) -> float:
    """Send one request on a new connection; return the seconds until its answer was complete."""
    start = time.monotonic()
    with closing(Client(port, question)) as client:
        client.send()
        while client.receive() is None:
            pass
    return time.monotonic() - start


def first_output(port: int, question: Question) -> float:
    """Ask for live output on a new connection; return the seconds until the first of it came."""
    data = question.data.replace(b"\r\n", b"\r\nAccept: text/event-stream\r\n", 1)
    start = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", port), TIMEOUT)) as connection:
        connection.sendall(data)
        received = b""
        while b"event: stdout" not in received and (data := connection.recv(1 << 16)):
            received += data
        took = time.monotonic() - start
        # to the end: a client that leaves cancels its run
        while b"event: result" not in received and (data := connection.recv(1 << 16)):
            received += data
    if question.expected not in received:
        raise AssertionError(f"unexpected answer: {received!r}")
    return took


def closed_loop(
    port: int, question: Question, clients: int, goes_on: Callable[[int], bool]
) -> tuple[list[float], list[float]]:
    """Send until `goes_on`, called with the number of answers so far, returns false.

    Returns the instants of all answers and how long each took, in seconds.
    """
    ends, times = [], []
    connected = [Client(port, question) for _ in range(clients)]
    by_descriptor = {client.fileno(): client for client in connected}
    poll = select.poll()
    for client in connected:
        poll.register(client, select.POLLIN)
        client.send()
    while by_descriptor:
        for client, took in _answered(poll, by_descriptor):
            ends.append(time.monotonic())
            times.append(took)
            if goes_on(len(ends)):
                client.send()
            else:
                poll.unregister(client)
                del by_descriptor[client.fileno()]
                client.close()
    return ends, times


def open_loop(
    port: int, question: Question, rate: float, seconds: float
) -> tuple[list[float], list[float]]:
    """Send `rate` requests a second on kept connections, regardless of the answers.

    Returns the instants of the answers that are not refusals, and how long each refusal took, in
    seconds.
    """
    ends, refusals = [], []
    by_descriptor: dict[int, Client] = {}
    idle: list[Client] = []
    poll = select.poll()
    start, sent, count = time.monotonic(), 0, round(rate * seconds)
    while sent < count or len(idle) < len(by_descriptor):
        due = min(round((time.monotonic() - start) * rate), count)
        while sent < due:
            if not idle:
                client = Client(port, question, may_be_refused=True)
                by_descriptor[client.fileno()] = client
                poll.register(client, select.POLLIN)
                idle.append(client)
            idle.pop().send()
            sent += 1
        next_due = start + (sent + 0.5) / rate - time.monotonic()
        for client, took in _answered(poll, by_descriptor, next_due if sent < count else TIMEOUT):
            if client.is_refused:
                refusals.append(took)
            else:
                ends.append(time.monotonic())
            idle.append(client)
    for client in idle:
        client.close()
    return ends, refusals


def _answered(
    poll: select.poll, clients: Mapping[int, Client], seconds: float = TIMEOUT
) -> Iterator[tuple[Client, float]]:
    """Wait for data; yield the clients whose answer is complete, and the seconds that it took."""
    ready = poll.poll(max(seconds, 0) * 1000)
    if not ready and seconds == TIMEOUT:
        raise AssertionError(f"no answer in {TIMEOUT} s")
    for descriptor, _ in ready:
        took = clients[descriptor].receive()
        if took is not None:
            yield clients[descriptor], took
