"""Requests that are not quite HTTP: each is answered or disconnected, never with a 500."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.client import Client
from tests.support.fuzz import FUZZ, GOOD, check, encode
from tests.support.server import Answer

pytestmark = pytest.mark.docker

BODY = encode(GOOD)
LINES = [
    b"POST /v1/exec HTTP/1.1",
    b"Host: a",
    b"Content-Type: application/json",
    b"Content-Length: %d" % len(BODY),
]
REQUEST = b"\r\n".join([*LINES, b"", BODY])
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"\r\n".join([*LINES[:3], b"Transfer-Encoding: chunked", b"", b""])

NAMES = st.sampled_from(
    [
        *(b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Upgrade", b"Host"),
        *(b"Content-Type", b"Content-Encoding", b"Authorization", b"Origin", b"Cookie", b"Range"),
        *(b"X-Forwarded-For", b"X-Forwarded-Proto", b"Forwarded", b"Script-Name", b"Path_Info"),
        *(b"wsgi.input", b"X-HTTP-Method-Override", b"Accept", b"HTTP2-Settings", b"A" * 5000),
    ]
)
VALUES = st.sampled_from(
    [
        *(b"0", b"-1", b"5", b"1e3", b"+5", b"0x5", b"5,5", b"9" * 30, b"\xb2", b"\xd9\xa5"),
        *(b"chunked", b"CHUNKED", b"chunked, chunked", b"xchunked", b"identity", b"gzip, chunked"),
        *(
            b"close",
            b"upgrade",
            b"h2c",
            b"100-continue",
            b"a\x00b",
            b"\x1b[2J",
            b"a\rb",
            b"a\nb: c",
        ),
        *(
            b"a\r\n folded",
            b"",
            b" ",
            b"\xff\xfe",
            b"../../etc/passwd",
            b"http://evil",
            b"a" * 9000,
        ),
    ]
)
HEADERS = st.tuples(NAMES | st.binary(max_size=9), VALUES | st.binary(max_size=20))
TARGETS = st.sampled_from(
    [
        *(
            b"/v1/exec",
            b"/v1/health",
            b"/metrics",
            b"*",
            b"a:1",
            b"http://a/v1/health",
            b"//",
            b"?",
        ),
        *(b"/v1/../v1/exec", b"/v1/%2e%2e/x", b"/v1/exec%00", b"/%0d%0aSet-Cookie:a", b"/\xff"),
        *(b"/v1/exec\x1b[2J", b"/v1/health?ready=%ff", b"/v1/health?" + b"a=1&" * 900, b"/" * 5000),
    ]
)
METHODS = st.sampled_from([b"POST", b"GET", b"HEAD", b"CONNECT", b"TRACE", b"get", b"\x1b[2J", b""])
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b""])


@pytest.fixture(scope="package")
def say(server):
    """Return a function that sends something and returns the checked answers.

    The client closes its sending end, so the server does not wait for missing data.
    """

    def say(*parts: bytes) -> list[Answer]:
        with Client(server) as client:
            client.send(*parts)
            client.finish()
            return [check_any(answer) for answer in client.answers()]

    return say


def check_any(answer: Answer) -> Answer:
    """Check the properties of every answer."""
    if answer.status >= 400 or answer.body.startswith(b'{"id"'):
        check(answer)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert b"Traceback" not in answer.body
    return answer


@FUZZ
@given(st.binary(max_size=300))
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(b"\r\n" * 100)
@example(b"\0" * 70_000)
def test_arbitrary_bytes_are_refused_or_disconnected(say, data):
    assert all(answer.status >= 400 for answer in say(data))
    assert all(answer.status >= 400 for answer in say(data + b"\r\n\r\n"))


@FUZZ
@given(st.lists(HEADERS, max_size=4), st.integers(0, 3))
def test_arbitrary_headers_are_answered_or_disconnected(say, headers, place):
    lines = [b"%s: %s" % header for header in headers]
    say(b"\r\n".join([LINES[0], *LINES[1:place], *lines, *LINES[place or 1 :], b"", BODY]))


@FUZZ
@given(METHODS, TARGETS, VERSIONS)
def test_arbitrary_first_line_is_answered_or_disconnected(say, method, target, version):
    for first in (b"%s %s %s" % (method, target, version), b"%s\t%s" % (method, target)):
        if method == b"HEAD":
            continue
        say(b"\r\n".join([first, *LINES[1:], b"", BODY]))


@FUZZ
@given(st.data())
def test_mutated_request_is_answered_or_disconnected(say, data):
    request = bytearray(data.draw(st.sampled_from([REQUEST, CHUNKED + in_chunks(BODY, 9)])))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(request)))
        request[start : start + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    say(bytes(request) + HEALTH)


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


@FUZZ
@given(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=1, max_size=5), st.data())
def test_requests_in_any_pieces_are_answered(say, kinds, data):
    requests = [
        (REQUEST, 200),
        (HEALTH, 200),
        (CHUNKED + in_chunks(BODY, 9), 200),
        (REQUEST.replace(b"exec", b"nowh"), 404),
    ]
    stream = b"".join(requests[kind][0] for kind in kinds)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [answer.status for answer in say(*parts)] == [requests[kind][1] for kind in kinds]


LARGE_HEAD = b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"x" * 4000) for n in range(20))


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"GET / HTTP/1.1\r\nA: ", *[b"x" * 4096] * 20], 431),
        ([LARGE_HEAD], 431),
        ([LARGE_HEAD + b"\r\n"], 431),
        ([b"GET /", b"x" * 10_000, b" HTTP/1.1\r\n\r\n"], 400),
        ([b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 5000, b"\r\n"], 400),
        ([CHUNKED, b"1\r\n \r\n" * 170_000, b"0\r\n\r\n"], 400),
        ([CHUNKED, b"5;" + b"x" * 5000], 400),
        ([CHUNKED, b"0\r\n", b"A: b\r\n" * 50_000], 431),
        ([CHUNKED, b"f" * 16, b"\r\n", *[b"x" * 65_536] * 20], 413),
        ([REQUEST.replace(b"Length: ", b"Length: " + b"9" * 5000)], 413),
    ],
)
def test_too_large_request_is_refused(say, parts, status):
    (answer,) = say(*parts)
    assert answer.status == status
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "trailer", [b"A: b", b"no trailer", b"Content-Length: 5", b"A: b\r\n" * 500]
)
def test_trailers_are_ignored(say, trailer):
    body = in_chunks(BODY, 9).removesuffix(b"\r\n") + trailer + b"\r\n\r\n"
    assert [answer.status for answer in say(CHUNKED + body + HEALTH)] == [200, 200]


def test_pipelined_requests_are_answered_in_order(server):
    documents = [{**GOOD, "files": {"": f"echo {number}"}} for number in range(30)]
    requests = [
        b"\r\n".join([*LINES[:3], b"Content-Length: %d" % len(body), b"", body])
        for body in map(encode, documents)
    ]
    requests[-1] = requests[-1].replace(b"Host: a", b"Host: a\r\nConnection: close")
    # a half-close would cancel them
    with Client(server) as client:
        client.send(b"".join(requests))
        outputs = [json.loads(answer.body)["stdout"] for answer in client.answers()]
    assert outputs == [f"{number}\n" for number in range(30)]


def test_forwarding_headers_are_ignored(server, say):
    tricks = [b"X-Forwarded-Host: evil", b"X-Forwarded-Prefix: /evil", b"Script-Name: /evil"]
    (answer,) = say(b"\r\n".join([*LINES[:3], *tricks, LINES[3], b"", BODY]))
    assert answer.status == 200
    assert b"evil" not in answer.body + bytes(answer.headers)
    assert "evil" not in server.log
