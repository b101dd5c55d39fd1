"""A client in a closed loop: each connection sends the next request when it has its answer.

One thread and ready-made bytes: what it costs is measured too, and is little.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

TIMEOUT = 30.0
"""Seconds without any answer after which a measurement fails."""


@dataclass(frozen=True)
class Question:
    """A request and what its answer must hold."""

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
    """A connection that is kept, with one request at a time."""

    def __init__(self, port: int, question: Question) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._question = question
        self.fileno = self._socket.fileno

    def send(self) -> None:
        self._answer = b""
        self._sent = time.monotonic()
        self._socket.sendall(self._question.data)

    def receive(self) -> float | None:
        """Take what has come; return the seconds since sending once it is all there."""
        data = self._socket.recv(1 << 16)
        self._answer += data
        head, _, body = self._answer.partition(b"\r\n\r\n")
        _, _, length = head.partition(b"Content-Length: ")
        if data and (not length or len(body) < int(length.partition(b"\r\n")[0])):
            return None
        took = time.monotonic() - self._sent
        if self._question.expected not in body:
            raise AssertionError(f"unexpected answer: {self._answer!r}")
        return took

    def close(self) -> None:
        self._socket.close()


def ask(port: int, question: Question) -> float:
    """Send one request on a connection of its own; return the seconds that all of it took."""
    start = time.monotonic()
    with closing(Client(port, question)) as client:
        client.send()
        while client.receive() is None:
            pass
    return time.monotonic() - start


def closed_loop(
    port: int, question: Question, clients: int, goes_on: Callable[[int], bool]
) -> tuple[list[float], list[float]]:
    """Send until `goes_on` (it is told how many answers came) denies it.

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
        ready = poll.poll(TIMEOUT * 1000)
        if not ready:
            raise AssertionError(f"no answer in {TIMEOUT} s")
        for descriptor, _ in ready:
            client = by_descriptor[descriptor]
            took = client.receive()
            if took is None:
                continue
            ends.append(time.monotonic())
            times.append(took)
            if goes_on(len(ends)):
                client.send()
            else:
                poll.unregister(descriptor)
                by_descriptor.pop(descriptor).close()
    return ends, times
