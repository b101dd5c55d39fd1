import json

import pytest

from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.jobs.admission import Admission
from codapi_flask.web.access import Access
from codapi_flask.web.metrics import Metrics
from codapi_flask.web.shedding import BODY_MAX, Shedding

CONFIG = Config(
    boxes={"sh": BoxSpec(name="sh", image="codapi/sh")},
    commands={"sh": {"run": Command(steps=(Step(box="sh"),))}},
)
GOOD = {"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}
ANYBODY = Access()
BODY = json.dumps(GOOD).encode()


class FullPool:
    """Has no idle worker."""

    full = True
    is_needed = True

    def is_full(self):
        return self.full

    def needs_worker(self, job):
        return self.is_needed


@pytest.fixture
def pool():
    return FullPool()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def refuse(pool, metrics):
    """Return a function that lets a body be refused, with header fields instead of the usual."""

    def refuse(body=BODY, version="1.1", access=ANYBODY, line="", **fields):
        fields = {"Host": "a", "Content_Type": "application/json", **fields}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
        head = "\r\n".join([line or f"POST /v1/exec HTTP/{version}", *lines, "", ""])
        refusals = Shedding(Admission(CONFIG), pool, metrics, access)
        return refusals.answer(head.encode(), body)

    return refuse


def parsed(refusal):
    data, closes = refusal
    head, _, body = data.decode().partition("\r\n\r\n")
    line, *lines = head.split("\r\n")
    headers = dict(field.split(": ", 1) for field in lines)
    assert int(headers["Content-Length"]) == len(body)
    assert closes == (headers["Connection"] == "close")
    return line, headers, json.loads(body)


def test_request_to_a_full_pool_is_refused_like_any_error(refuse, metrics):
    line, headers, body = parsed(refuse())
    assert line == "HTTP/1.1 429 Too Many Requests"
    assert headers["Retry-After"] == "1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert body.pop("id").startswith("sh_run_")
    assert body == {"ok": False, "duration": 0, "stdout": "", "stderr": "busy: try again later"}
    assert metrics.registry.get_sample_value("codapi_refused_total") == 1


def test_request_to_a_pool_with_room_is_not_refused(refuse, pool, metrics):
    pool.full = False
    assert refuse() is None
    assert metrics.registry.get_sample_value("codapi_refused_total") == 0


def test_request_that_needs_no_worker_is_not_refused(refuse, pool, metrics):
    pool.is_needed = False
    assert refuse() is None
    assert metrics.registry.get_sample_value("codapi_refused_total") == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"Content_Type": "application/json; charset=utf-8"},
        {"Content_Type": "Application/JSON"},
        {"User_Agent": "curl/8.0", "Accept": "*/*", "Accept_Encoding": "gzip, br"},
        {"X_Forwarded_For": "10.0.0.1", "Referer": 'https://a.example/?q="x"'},
    ],
)
def test_requests_of_browsers_and_proxies_are_refused(refuse, fields):
    assert parsed(refuse(**fields))


@pytest.mark.parametrize(
    ("version", "connection", "closes"),
    [
        ("1.1", "", False),
        ("1.1", "keep-alive", False),
        ("1.1", "close", True),
        ("1.0", "", True),
        ("1.0", "close", True),
        ("1.0", "keep-alive", False),
    ],
)
def test_connection_closes_when_the_client_asks_for_it(refuse, version, connection, closes):
    refusal = refuse(version=version, Connection=connection)
    assert parsed(refusal)
    assert refusal[1] is closes


def document(**fields):
    return json.dumps({**GOOD, **fields}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 60_000,
        b'"\xff"',
        document(sandbox="perl"),
        document(command="test"),
        document(files={"": " "}),
        document(files=[]),
        document(version="9"),
        document(files={"": "x" * BODY_MAX}),
    ],
    ids=lambda body: f"{body[:20]!r} {len(body)}",
)
def test_invalid_body_is_left_to_flask(refuse, body):
    assert refuse(body) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"line": "GET /v1/exec HTTP/1.1"},
        {"line": "POST /v1/exec?a=b HTTP/1.1"},
        {"line": "POST /v1/exec/ HTTP/1.1"},
        {"line": "POST /v1/exec HTTP/2.0"},
        {"line": "POST  /v1/exec HTTP/1.1"},
        {"line": "POST /v1/exec HTTP/1.1\r\nHost : a"},
        {"line": "POST /v1/exec HTTP/1.1\r\nContent_Type: application/json"},
        {"line": "POST /v1/exec HTTP/1.1\r\nA: 1\r\n 2"},
        {"line": "POST /v1/exec HTTP/1.1\r\nA: 1\rB: 2"},
        {"line": "POST /v1/exec HTTP/1.1\r\nA: \u00e9"},
        {"line": "POST /v1/exec HTTP/1.1\r\nHOST: b"},
        {"Host": ""},
        {"Content_Type": ""},
        {"Content_Type": "text/plain"},
        {"Content_Encoding": "gzip"},
        {"Transfer_Encoding": "identity"},
        {"Connection": "Upgrade"},
        {"Upgrade": "h2c"},
        {"Expect": "100-continue"},
    ],
    ids=str,
)
def test_unusual_head_is_left_to_flask(refuse, fields):
    assert refuse(**fields) is None


def test_client_without_a_token_is_left_to_flask(refuse):
    access = Access(["secret"])
    assert refuse(access=access) is None
    assert refuse(access=access, Authorization="Bearer wrong") is None
    assert parsed(refuse(access=access, Authorization="Bearer secret"))


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://a.example", "https://a.example"), ("https://b.example", None)]
)
def test_refusal_is_readable_only_by_pages_of_the_origins(refuse, origin, allowed):
    _, headers, _ = parsed(refuse(access=Access(origins=["https://a.example"]), Origin=origin))
    assert headers.get("Access-Control-Allow-Origin") == allowed
    assert headers["Vary"] == "Origin"
