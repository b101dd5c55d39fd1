"""The http engine: sends the HTTP request that the code describes, to an allowed host.

The code is `METHOD URL` (`GET` if the method is missing; an HTTP version behind it is ignored),
optional lines that begin with `?` or `&` and continue the URL, headers, a blank line, and the body.
"""

from __future__ import annotations

import http.client
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from codapi_flask import files
from codapi_flask.config.model import Command
from codapi_flask.models import Job, Outcome, Report
from codapi_flask.streams import Cancel

MAX_ANSWER = 1 << 20
"""Limit on an answer's body, in bytes."""

MAX_REASON = 1000
"""Limit on an error, in characters: it may repeat what the client sent."""

# RFC 9110, 5.6.2: methods and names of headers are tokens
CHARS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
METHOD = re.compile(CHARS)
VERSION = re.compile(r"HTTP/[0-9](?:\.[0-9])?", re.IGNORECASE)
HEADER = re.compile(rf"({CHARS}):(.*)")
# RFC 9110, 5.5: of the control characters, a value may hold only the tab
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# clients may not set these: they decide where the request goes and where it ends
KEPT = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te"}
VERSIONS = {10: "HTTP/1.0", 11: "HTTP/1.1"}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as the code describes it; `target` is its path and query."""

    method: str
    scheme: str
    host: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def parse(cls, text: str) -> HttpRequest:
        """Read a request.

        Raises:
            ValueError: the request is malformed; the text is the reason.
        """
        first, *lines = text.lstrip().replace("\r\n", "\n").split("\n")
        words = first.split() or [""]
        if len(words) > 1 and VERSION.fullmatch(words[-1]):
            del words[-1]
        method, url = words if len(words) == 2 else ("GET", words[0])
        if len(words) > 2 or not METHOD.fullmatch(method):
            raise ValueError("the first line must be METHOD URL")
        while lines and lines[0].strip()[:1] in ("?", "&"):
            url += lines.pop(0).strip()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise ValueError("the URL must be like http://host/path")
        headers = []
        while lines and (line := lines.pop(0).strip(" \t")):
            if CONTROL.search(line):
                raise ValueError("a header must not hold a control character")
            header = HEADER.fullmatch(line)
            if not header:
                raise ValueError("a header must be like 'name: value'")
            # CGI and its successors do not tell `_` from `-`
            if header[1].lower().replace("_", "-") not in KEPT:
                headers.append((header[1], header[2].strip()))
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        target = f"{path}?{query}" if query else path
        body = "\n".join(lines).encode()
        return cls(method.upper(), parts.scheme, parts.netloc, target, tuple(headers), body)


class HttpEngine:
    """Sends requests to the hosts of a table, at the addresses in it, and to no others."""

    def __init__(self, hosts: Mapping[str, str], timeout: float, cancel: Cancel) -> None:
        """Use a table of hosts and their addresses; a request may take `timeout` seconds.

        `cancel` ends it early, once it is connected.
        """
        self._hosts, self._timeout, self._cancel = hosts, timeout, cancel

    def execute(self, job: Job, command: Command) -> Report:
        """Send the request in the first file; the answer, whatever its status, is stdout."""
        name, text = next(iter(job.files.items()))
        return Report([self._fetch(files.decode(name, text).decode("utf-8", "replace"))])

    def is_over(self) -> bool:
        """Return True: the engine knows no `after` step."""
        return True

    def finish(self) -> Outcome:
        """Do nothing."""
        return Outcome()

    def is_clean(self) -> bool:
        """Return True: an execution leaves nothing."""
        return True

    def clean_up(self) -> None:
        """Do nothing."""

    def _fetch(self, code: str) -> Outcome:
        try:
            request = HttpRequest.parse(code)
        except ValueError as error:
            return _failed(f"malformed request: {error}")
        address = self._hosts.get(request.host)
        if address is None:
            return _failed(f"host not allowed: {request.host}")
        try:
            return _send(request, address, self._timeout, self._cancel)
        except TimeoutError:
            return _failed(f"no answer from {request.host} in {self._timeout:g} s")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return _failed(f"request to {request.host} failed: {error or type(error).__name__}")


def _failed(reason: str) -> Outcome:
    return Outcome(stderr=reason[:MAX_REASON], exit_code=None, reason="error")


def _send(request: HttpRequest, address: str, seconds: float, cancel: Cancel) -> Outcome:
    # http.client uses no proxy and follows no redirect
    kind = http.client.HTTPSConnection if request.scheme == "https" else http.client.HTTPConnection
    deadline = time.monotonic() + seconds
    with closing(kind(address, timeout=seconds)) as connection:
        try:
            connection.connect()
            with _cut_at(deadline, cancel, connection.sock):
                _put(connection, request)
                answer = connection.getresponse()
                body = answer.read(MAX_ANSWER + 1)
            # a read with a size does not raise when less comes than announced
            if answer.length and len(body) <= MAX_ANSWER:
                raise http.client.IncompleteRead(body, answer.length)
        except (OSError, http.client.HTTPException):
            cancel.check()
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            raise
        if time.monotonic() >= deadline:
            raise TimeoutError
    if len(body) > MAX_ANSWER:
        return _failed(f"the answer of {request.host} is larger than {MAX_ANSWER} bytes")
    version = VERSIONS.get(answer.version, "HTTP/1.1")
    head = [f"{version} {answer.status} {answer.reason}".rstrip()]
    head += [f"{name}: {value}" for name, value in answer.getheaders()]
    return Outcome("\n".join([*head, "", body.decode("utf-8", "replace")]))


def _put(connection: http.client.HTTPConnection, request: HttpRequest) -> None:
    connection.putrequest(request.method, request.target, skip_host=True)
    connection.putheader("Host", request.host)
    for name, value in request.headers:
        connection.putheader(name, value.encode())
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(request.body)))
    connection.endheaders(request.body)


@contextmanager
def _cut_at(deadline: float, cancel: Cancel, connection: socket.socket) -> Iterator[None]:
    """Shut a connection down at the deadline or a reason of `cancel`.

    The connection's own timeout restarts at every byte, and sees no reason.
    """
    end = os.eventfd(0, os.EFD_CLOEXEC)

    def watch() -> None:
        poll = select.poll()
        cancel.register(poll)
        poll.register(end, select.POLLIN)
        found = dict(poll.poll(max(deadline - time.monotonic(), 0) * 1000))
        if end not in found:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.eventfd_write(end, 1)
        thread.join()
        os.close(end)
