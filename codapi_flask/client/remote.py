"""A server that executes requests, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import requests

from codapi_flask.client.target import Answer, Hear, TargetError

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 120.0
"""Seconds to connect, and between two bytes of an answer; a live stream has heartbeats."""

PATIENCE = 30.0
"""Seconds for which a request that the server refuses for now (429, 503) is sent again."""

EVENTS = "text/event-stream"


class RemoteTarget:
    """A server at a URL."""

    size = 4

    def __init__(self, url: str, token: str = "") -> None:
        """Use the server at `url` (scheme, host and maybe a path), with a token if it wants one."""
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def is_there(self) -> bool:
        """Whether a server answers."""
        try:
            health = self._send("GET", "/v1/health", read_timeout=CONNECT_TIMEOUT)
            return health.status_code == 200
        except TargetError:
            return False

    def execute(self, request: Mapping[str, Any], hear: Hear | None = None) -> Answer:
        """Execute a request; while the server is busy, try again for `PATIENCE` seconds."""
        body, deadline = {**request, "details": True}, time.monotonic() + PATIENCE
        accept = {"Accept": EVENTS} if hear else {}
        while True:
            response = self._send("POST", "/v1/exec", json=body, headers=accept, stream=bool(hear))
            # a proxy may send a date
            seconds = response.headers.get("Retry-After", "")
            pause = int(seconds) if seconds.isascii() and seconds.isdigit() else 1
            is_busy = response.status_code in (429, 503)
            if not is_busy or time.monotonic() + pause > deadline:
                break
            time.sleep(pause)
        if hear and response.headers.get("Content-Type", "").startswith(EVENTS):
            return Answer(_listen(response, hear), True)
        answer = _document(response)
        if "ok" not in answer:
            raise TargetError(f"{self._url}: no server of codapi_flask answers there")
        return Answer(answer, response.status_code == 200 and "details" in answer)

    def sandboxes(self) -> list[dict[str, Any]]:
        """Return the sandboxes of the server."""
        response = self._send("GET", "/v1/sandboxes")
        answer = _document(response)
        if response.status_code != 200:
            why = answer.get("stderr") or f"status {response.status_code}"
            raise TargetError(f"{self._url}/v1/sandboxes: {why}")
        return list(answer["sandboxes"])

    def close(self) -> None:
        """Do nothing: each request has a connection of its own."""

    def _send(
        self, method: str, path: str, read_timeout: float = READ_TIMEOUT, **more: Any
    ) -> requests.Response:
        more["headers"] = {**self._headers, **more.get("headers", {})}
        try:
            timeout = CONNECT_TIMEOUT, read_timeout
            return requests.request(method, self._url + path, timeout=timeout, **more)
        except requests.RequestException as error:
            raise TargetError(f"{self._url} does not answer: {_cause(error)}") from error


def _listen(response: requests.Response, hear: Hear) -> Mapping[str, Any]:
    """Read a live run's events (docs/api.md, "Live output"); return the answer, which is the last.

    Raises:
        TargetError: the stream ends before.
    """
    try:
        for name, data in _events(response.iter_lines()):
            if name == "result":
                return dict(json.loads(data))
            if name in ("stdout", "stderr"):
                hear(name, json.loads(data)["text"])
    except requests.RequestException as error:
        raise TargetError(f"the answer broke off: {_cause(error)}") from error
    raise TargetError("the answer broke off: the server has ended, or has lost a worker")


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Yield name and data of each event (HTML Standard, section 9.2)."""
    name, data = "", ""
    for line in lines:
        field, _, value = line.decode().partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data = value.removeprefix(" ")
        elif not line and name:
            yield name, data
            name = ""


def _document(response: requests.Response) -> dict[str, Any]:
    try:
        return dict(response.json())
    except (requests.RequestException, ValueError, TypeError):
        return {"stderr": f"status {response.status_code}, and no JSON"}


def _cause(error: BaseException) -> str:
    """Return the innermost reason of an error of requests, whose own text is long."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__
