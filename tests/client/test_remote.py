"""Servers, proxies and other programs at the URL of a remote target."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from codapi_flask.client.remote import RemoteTarget
from codapi_flask.client.target import TargetError

REQUEST = {"sandbox": "sh", "command": "run", "files": {"": "echo"}}
DONE = {"id": "sh_run_1", "ok": True, "duration": 1, "stdout": "", "stderr": "", "details": {}}


@contextmanager
def serving(*answers: tuple[int, dict[str, str], object]) -> Iterator[str]:
    """Serve answers, one a request: status, headers and JSON."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = left.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["0", "", "Wed, 21 Oct 2099 07:28:00 GMT", "soon"])
def test_request_is_sent_again_while_the_server_is_busy(status, after):
    with serving((status, {"Retry-After": after}, {"ok": False}), (200, {}, DONE)) as url:
        assert RemoteTarget(url).execute(REQUEST).ok


def test_answer_without_details_was_not_executed():
    with serving((404, {}, {"ok": False, "stderr": "unknown sandbox"})) as url:
        assert not RemoteTarget(url).execute(REQUEST).was_executed


@pytest.mark.parametrize("body", [[], "text", {"status": "ok"}])
def test_answer_of_another_program_is_named(body):
    with serving((200, {}, body)) as url, pytest.raises(TargetError, match="no server of codapi"):
        RemoteTarget(url).execute(REQUEST)


def test_program_that_never_answers_is_no_server():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not RemoteTarget(f"http://127.0.0.1:{silent.getsockname()[1]}").is_there()
