"""nginx in front, with the site of deploy/nginx.conf."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.proxies import proxy, request

pytestmark = [pytest.mark.docker, pytest.mark.nginx]


@pytest.fixture(scope="module")
def nginx(server, tmp_path_factory) -> Iterator[int]:
    """Run nginx in front of the server, and return its port."""
    with proxy("nginx", server.port, tmp_path_factory.mktemp("nginx")) as port:
        yield port


def connections(port: int) -> int:
    """Count the connections that are open to a port (proc(5), /proc/net/tcp)."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(line[2].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def test_requests_share_a_connection_to_the_server(nginx, server):
    before = connections(server.port)
    for _ in range(5):
        assert request(nginx, "POST", "/v1/exec", "{}").status == 404
    assert connections(server.port) == before + 1


@pytest.mark.parametrize(
    ("line", "field", "status"),
    [
        ("GET / HTTP/1.1", "A: b", 404),
        ("GET /v1/health HTTP/1.1", "no header", 400),
        ("GET /v1/health HTTP/1.1", "A: " + "x" * 40_000, 400),
        ("POST /v1/exec HTTP/1.1", "Content-Length: x", 400),
        ("TRACE /v1/health HTTP/1.1", "A: b", 400),
    ],
)
def test_refusal_of_nginx_has_the_form_of_the_servers(nginx, line, field, status):
    with Client(nginx) as client:
        client.send("\r\n".join([line, "Host: localhost", field, "", ""]).encode())
        client.finish()
        [answer] = client.answers()
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json().keys() == {"id", "ok", "duration", "stdout", "stderr"}


# the second is above nginx's own limit
@pytest.mark.parametrize("size", [3 << 19, 3 << 20])
def test_too_large_request_gets_a_readable_413(nginx, size):
    answer = request(nginx, "POST", "/v1/exec", "#" * size)
    assert answer.status == 413
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json().keys() == {"id", "ok", "duration", "stdout", "stderr"}


def test_flood_gets_readable_429s(nginx):
    # invalid requests: those that nginx lets through cost the server little
    answers = [request(nginx, "POST", "/v1/exec", "{}") for _ in range(60)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.headers["Access-Control-Allow-Origin"] for answer in refused} == {"*"}
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert {answer.json()["stderr"] for answer in refused} == {"busy: try again later"}


def test_preflights_are_not_rate_limited(nginx):
    assert {request(nginx, "OPTIONS", "/v1/exec").status for _ in range(60)} == {200}
