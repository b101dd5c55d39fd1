"""Clients of live output."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

from tests.support.client import Client

HEADERS = {
    "Host": "localhost",
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
}


def question(text: str, sandbox: str = "sh", **more: object) -> dict[str, object]:
    """Return a request's document."""
    return {"sandbox": sandbox, "command": "run", "files": {"": text}, **more}


def post(port: int, text: str, live: bool, **more: object) -> Client:
    """Send a request, for live output or a plain answer, and return its connection."""
    body = json.dumps(question(text, **more)).encode()
    fields = {**HEADERS, "Content-Length": str(len(body))}
    if not live:
        del fields["Accept"]
    head = "\r\n".join(
        ["POST /v1/exec HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    )
    client = Client(port)
    client.send(head.encode() + b"\r\n\r\n" + body)
    return client


class Events:
    """The events of a request, as they come; `status` and `headers` are the answer's."""

    def __init__(self, port: int, text: str, **more: Any) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        body = json.dumps(question(text, **more))
        self._connection.request("POST", "/v1/exec", body, HEADERS)
        self._answer = self._connection.getresponse()
        self.status, self.headers = self._answer.status, self._answer.headers

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and content of each event; comments have the name `:`."""
        while line := self._answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                data = self._answer.readline().decode()
                assert data.startswith("data: "), data
                yield value, json.loads(data.removeprefix("data: "))
            elif line.startswith(b":"):
                yield ":", {}

    def read(self) -> bytes:
        """Return the body of an answer that is no stream."""
        return self._answer.read()

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()
        self._connection.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def printed(events: list[tuple[str, dict[str, Any]]], stream: str, step: int = 0) -> str:
    """Return what a step has printed to a stream."""
    return "".join(
        content["text"] for name, content in events if name == stream and content["step"] == step
    )
