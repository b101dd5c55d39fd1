"""Proxies in front, with the configs of the documentation; they pass on `/v1/` only."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.configs import BOXES, COMMANDS
from tests.support.proxies import KINDS, free_port, proxy, request
from tests.support.server import Server, wait_for, write_root

pytestmark = pytest.mark.docker

FORGED = {
    **dict.fromkeys(("SCRIPT_NAME", "SCRIPT-NAME", "X-Script-Name"), "/v1"),
    **dict.fromkeys(("X_Script_Name", "X-Forwarded-Prefix", "HTTP_SCRIPT_NAME"), "/v1"),
    **dict.fromkeys(("PATH_INFO", "PATH-INFO", "X-Original-URL", "X-Rewrite-URL"), "/metrics"),
    **dict.fromkeys(("RAW_URI", "REQUEST_URI", "X-Forwarded-Uri"), "/metrics"),
    **dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Remote-Addr"), "203.0.113.9"),
    "REMOTE_ADDR": "203.0.113.9",
    "X-Forwarded-Host": "example.com",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded-Scheme": "https",
    "wsgi.url_scheme": "https",
    "WSGI_URL_SCHEME": "https",
    "Front-End-Https": "on",
    "Forwarded": "for=203.0.113.9;proto=https;host=example.com",
    "X-HTTP-Method-Override": "POST",
}
"""Headers by which some servers let a proxy change what a request is."""

HIDDEN = [
    *("/metrics", "//metrics", "/./metrics", "/%6detrics", "/metrics?/v1/", "/metrics#/v1/"),
    *("/v1/../metrics", "/v1/%2e%2e/metrics", "/v1/..%2fmetrics", "/v1/%2e%2e%2fmetrics"),
    *("/v1//../metrics", "/v1/health/../../metrics", "/v1/;/../metrics", "/v1\\..\\metrics"),
    *("/v1/..;/metrics", "/v1/metrics", "/v1//metrics", "http://localhost/metrics"),
    *("/v1/%00/../../metrics", "/v1/..%5cmetrics", "/v1/../v1/../metrics"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server whose log has address, scheme, root and path of each request."""
    form = "seen=%(h)s,%({wsgi.url_scheme}e)s,%({script_name}e)s,%(U)s"
    root = write_root(tmp_path_factory.mktemp("root"), BOXES, COMMANDS, {"pool_size": 2})
    with Server(root, "--access-logfile=-", f"--access-logformat={form}") as server:
        yield server


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in KINDS]
)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def port(kind: str, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a proxy in front of the server, and return its port."""
    with proxy(kind, server.port, tmp_path_factory.mktemp(kind)) as port:
        yield port


def seen(server: Server) -> list[str]:
    return [line.partition("seen=")[2] for line in server.log.splitlines() if "seen=" in line]


def test_program_runs(port):
    document = {"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}
    answer = request(port, "POST", "/v1/exec", json.dumps(document))
    assert answer.json()["stdout"] == "hello\n"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_is_readable_by_the_widget(port, method):
    answer = request(port, method, "/v1/health")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_preflight_is_answered(port):
    asks = {"Origin": "http://page.test", "Access-Control-Request-Method": "POST"}
    answer = request(port, "OPTIONS", "/v1/exec", headers=asks)
    assert answer.status in (200, 204)
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"


def test_too_large_request_gets_a_readable_413(port):
    answer = request(port, "POST", "/v1/exec", "#" * (3 << 19))
    assert answer.status == 413
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json().keys() == {"id", "ok", "duration", "stdout", "stderr"}


@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_proxy_without_its_server_answers_readably(kind, method, tmp_path):
    with proxy(kind, free_port(), tmp_path) as port:
        answer = request(port, method, "/v1/exec", "{}")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    # a page sends its request only after a preflight that succeeds
    if method == "OPTIONS" and kind == "nginx":
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    else:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.json()["stderr"] == "the server is down: try again later"


@pytest.mark.parametrize("path", ["/", "/index.html", "/v2/exec"])
def test_other_paths_are_not_found(port, path):
    assert request(port, "GET", path).status == 404


@pytest.mark.parametrize("path", HIDDEN)
def test_metrics_are_hidden(port, path):
    answer = request(port, "GET", path)
    assert answer.status in (400, 404)
    assert b"codapi_workers" not in answer.body


def check_forged(server: Server, port: int) -> None:
    """Check that none of the headers changes what the server takes a request for."""
    # a line is written after its answer is sent: those of earlier requests may still come
    before, count = len(seen(server)), 2 * (len(FORGED) + 1)
    for forged in [*({name: value} for name, value in FORGED.items()), FORGED]:
        assert request(port, "GET", "/v1/metrics", headers=forged).status == 404, forged
        assert request(port, "GET", "/v1/health", headers=forged).json() == {"status": "ok"}
    expected = {"127.0.0.1,http,,/v1/health", "127.0.0.1,http,,/v1/metrics"}
    wait_for(lambda: sum(line in expected for line in seen(server)[before:]) >= count)


def test_header_through_a_proxy_changes_neither_path_nor_scheme_nor_address(server, port):
    check_forged(server, port)


def test_header_of_a_direct_client_changes_nothing_either(server):
    check_forged(server, server.port)
