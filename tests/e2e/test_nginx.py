"""nginx in front, with the site of deploy/nginx.conf."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.server import REPOSITORY, Answer, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.nginx]

MAIN = """
daemon off;
user root;
error_log stderr;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {site}
}}
"""


@pytest.fixture(scope="module")
def nginx(server, tmp_path_factory) -> Iterator[int]:
    """Run nginx in front of the server, and return its port."""
    port = free_port()
    with serving(server.port, port, tmp_path_factory.mktemp("nginx")):
        yield port


@contextmanager
def serving(behind: int, port: int, directory: Path) -> Iterator[None]:
    """Run nginx with the site for a server, after another default site."""
    site = (REPOSITORY / "deploy/nginx.conf").read_text()
    for before, after in {
        "127.0.0.1:1313": f"127.0.0.1:{behind}",
        "listen 80": f"listen {port}",
        "listen [::]:80": f"listen [::]:{port}",
        "codapi.example.org": "localhost",
    }.items():
        assert before in site
        site = site.replace(before, after)
    # as Debian's /etc/nginx/sites-enabled/default
    other = f"server {{ listen {port} default_server; return 418; }}"
    (directory / "nginx.conf").write_text(MAIN.format(site=other + site))
    process = subprocess.Popen(["nginx", "-p", directory, "-c", "nginx.conf"])
    try:
        wait_for(lambda: listens(port))
        yield
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def request(port: int, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        headers = {"Host": "localhost", "Content-Type": "application/json", **headers}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def document(text: str) -> str:
    return json.dumps({"sandbox": "sh", "command": "run", "files": {"": text}})


def connections(port: int) -> int:
    """Count the connections that are open to a port (proc(5), /proc/net/tcp)."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(line[2].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def test_requests_share_a_connection_to_the_server(nginx, server):
    before = connections(server.port)
    for _ in range(5):
        answer = request(nginx, "POST", "/v1/exec", document("echo hello"))
        assert answer.json()["stdout"] == "hello\n"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert connections(server.port) == before + 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_is_readable_by_the_widget(nginx, method):
    answer = request(nginx, method, "/v1/health")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_preflight_is_answered(nginx):
    asks = {"Origin": "http://page.test", "Access-Control-Request-Method": "POST"}
    answer = request(nginx, "OPTIONS", "/v1/exec", **asks)
    assert answer.status in (200, 204)
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"


# the second is above nginx's own limit
@pytest.mark.parametrize("size", [3 << 19, 3 << 20])
def test_too_large_request_gets_a_readable_413(nginx, size):
    answer = request(nginx, "POST", "/v1/exec", document("#" * size))
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


def test_nginx_without_its_server_answers_a_readable_503(tmp_path):
    nowhere, port = free_port(), free_port()
    with serving(nowhere, port, tmp_path):
        for method, path in (("POST", "/v1/exec"), ("GET", "/v1/health")):
            answer = request(port, method, path, "{}")
            assert answer.status == 503
            assert answer.json()["stderr"] == "the server is down: try again later"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/", "/index.html"])
def test_other_paths_are_not_found(nginx, path):
    assert request(nginx, "GET", path).status == 404


def test_metrics_are_not_forwarded(nginx, server):
    assert server.request("GET", "/metrics").status == 200
    assert request(nginx, "GET", "/metrics").status == 404
