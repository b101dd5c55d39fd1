import re
import socket
import threading
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask.config.model import Command
from codapi_flask.engines.http import MAX_ANSWER, HttpEngine, HttpRequest
from codapi_flask.models import Job
from codapi_flask.streams import Cancel

COMMAND = Command(engine="http")


class Echo(BaseHTTPRequestHandler):
    """Echoes the request; `/status/N` sets the status."""

    protocol_version = "HTTP/1.1"

    def _answer(self):
        size = int(self.headers["Content-Length"] or 0)
        lines = [f"{self.command} {self.path}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        body = "\n".join([*lines, "", self.rfile.read(size).decode()]).encode()
        status = int(self.path.removeprefix("/status/")) if "/status/" in self.path else 200
        self.send_response_only(status, "As you wish")
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def do_HEAD(self):
        self.send_response_only(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def echo():
    """Return the address of a server that echoes requests."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def serve():
    """Return a function that starts a server sending `pieces` and returns its address."""
    with ExitStack() as stack:

        def serve(*pieces, pause=0.0):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            over = threading.Event()

            def answer():
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(1 << 16)
                    for piece in pieces:
                        connection.sendall(piece)
                        over.wait(pause)

            thread = threading.Thread(target=answer)
            thread.start()
            stack.callback(thread.join)
            stack.callback(over.set)
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield serve


def fetch(code, deadline=5, **hosts):
    hosts = {name.replace("_", "."): address for name, address in hosts.items()}
    job = Job("id", "web", "run", "", {"": code})
    [outcome] = HttpEngine(hosts, deadline, Cancel()).execute(job, COMMAND).steps
    return outcome


def failure(code, **options):
    outcome = fetch(code, **options)
    assert (outcome.ok, outcome.reason, outcome.stdout) == (False, "error", "")
    return outcome.stderr


# parsing


@pytest.mark.parametrize(
    ("code", "method", "target", "headers", "body"),
    [
        ("GET http://a.com", "GET", "/", [], ""),
        ("http://a.com/x", "GET", "/x", [], ""),
        ("  \n\nDELETE   http://a.com/x  \n", "DELETE", "/x", [], ""),
        ("post http://a.com/", "POST", "/", [], ""),
        ("M-SEARCH http://a.com/", "M-SEARCH", "/", [], ""),
        ("GET http://a.com/x HTTP/1.1", "GET", "/x", [], ""),
        ("\tget \t http://a.com/x   http/2 \r\n?a=1\r\nB: 2", "GET", "/x?a=1", [("B", "2")], ""),
        ("http://a.com/ HTTP/1.0", "GET", "/", [], ""),
        ("POST http://a.com/ HTTP/1.1\nHost: b.com\n\nbody", "POST", "/", [], "body"),
        ("GET http://a.com/x\n?a=1\n  &b=2\n\t&c=3", "GET", "/x?a=1&b=2&c=3", [], ""),
        ("GET http://a.com/x?a=1\n&b=é&c=d+e%20", "GET", "/x?a=1&b=%C3%A9&c=d+e%20", [], ""),
        ("GET http://a.com/ü/%20?", "GET", "/%C3%BC/%20", [], ""),
        ("GET http://a.com/#part", "GET", "/", [], ""),
        ("GET http://a.com/\nA: 1\nb-c:  x: y ", "GET", "/", [("A", "1"), ("b-c", "x: y")], ""),
        ("GET http://a.com/\n?a=1\nB: 2\n\nbody", "GET", "/?a=1", [("B", "2")], "body"),
        ("POST http://a.com/\n\n\n one\ntwo \n\n", "POST", "/", [], "\n one\ntwo \n\n"),
        ("POST http://a.com/\r\nA: 1\r\n\r\none\r\ntwo", "POST", "/", [("A", "1")], "one\ntwo"),
        ("POST http://a.com/\n\n?a: {é}", "POST", "/", [], "?a: {é}"),
    ],
)
def test_valid_code_is_parsed_to_a_request(code, method, target, headers, body):
    assert HttpRequest.parse(code) == HttpRequest(
        method, "http", "a.com", target, tuple(headers), body.encode()
    )


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("data:,", "the URL must be like http://host/path"),
        ("GET http://a.com/ x", "the first line must be METHOD URL"),
        ("GET http://a.com/ HTTP/1.1 HTTP/1.1", "the first line must be METHOD URL"),
        ("GET http://a.com/ HTTP/", "the first line must be METHOD URL"),
        ("G(T http://a.com/", "the first line must be METHOD URL"),
        ("HTTP/1.1", "the URL must be like http://host/path"),
        ("GET HTTP/1.1", "the URL must be like http://host/path"),
        ("GET", "the URL must be like http://host/path"),
        ("a.com/x", "the URL must be like http://host/path"),
        ("GET /x", "the URL must be like http://host/path"),
        ("GET ftp://a.com/x", "the URL must be like http://host/path"),
        ("GET file:///etc/passwd", "the URL must be like http://host/path"),
        ("GET http:///x", "the URL must be like http://host/path"),
        ("GET http://user:password@a.com/", "the URL must be like http://host/path"),
        ("GET http://[::1/x", "Invalid IPv6 URL"),
        ("GET http://a.com/\nno header", "a header must be like 'name: value'"),
        ("GET http://a.com/\na b: c", "a header must be like 'name: value'"),
        ("GET http://a.com/\n: c", "a header must be like 'name: value'"),
        ("GET http://a.com/\nX: a\rEvil: 1", "a header must not hold a control character"),
        ("GET http://a.com/\nX: a\r Evil: 1", "a header must not hold a control character"),
        ("GET http://a.com/\nX: a\0b", "a header must not hold a control character"),
        ("GET http://a.com/\nX: a\x7f", "a header must not hold a control character"),
        ("GET http://a.com/\nX\0: a", "a header must not hold a control character"),
    ],
)
def test_malformed_code_is_reported_in_stderr(code, says):
    assert failure(code, a_com="127.0.0.1:1") == f"malformed request: {says}"


@given(st.text())
def test_parsed_request_line_holds_no_separators(code):
    try:
        request = HttpRequest.parse(code)
    except ValueError:
        return
    sent = f"{request.method}{request.host}{request.target}"
    assert not set(sent) & set(" \r\n\t\0")


# sending


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_engine_sends_method_target_headers_and_body(echo, method):
    outcome = fetch(f"{method} http://a.com/x\n?a=1\nAccept: b\nC: dé\n\nbody é", a_com=echo)
    assert outcome.ok
    _, _, asked = outcome.stdout.partition("\n\n")
    head, _, body = asked.partition("\n\n")
    first, *headers = head.split("\n")
    assert first == f"{method} /x?a=1"
    assert {"Host: a.com", "Accept: b", f"Content-Length: {len('body é'.encode())}"} <= {*headers}
    assert body == "body é"


def test_host_and_framing_headers_cannot_be_forged(echo):
    code = "POST http://a.com/\nHost: b.com\nContent-Length: 99\nTransfer-Encoding: chunked\n\nx"
    asked = fetch(code, a_com=echo).stdout
    assert re.findall("Host: .*", asked) == ["Host: a.com"]
    assert "Content-Length: 1\n" in asked
    assert "chunked" not in asked


def test_only_the_first_file_is_sent(echo):
    files = {"request": "GET http://a.com/first", "": "GET http://a.com/second"}
    job = Job("id", "web", "run", "", files)
    [outcome] = HttpEngine({"a.com": echo}, 10, Cancel()).execute(job, COMMAND).steps
    assert "GET /first" in outcome.stdout


def test_data_url_is_decoded(echo):
    assert "GET /x\n" in fetch("data:,GET%20http://a.com/x", a_com=echo).stdout


# answers


@pytest.mark.parametrize("name", ["Transfer_Encoding", "content_LENGTH", "Host", "connection"])
def test_framing_header_is_dropped(name):
    request = HttpRequest.parse(f"GET http://a.com/\n{name}: chunked\nX_Y: z")
    assert request.headers == (("X_Y", "z"),)


def test_stdout_is_status_line_headers_and_body(serve):
    address = serve(b"HTTP/1.0 200 Fine\r\nA: 1\r\nB:  2\r\nA: 3\r\n\r\nbody\r\n\xff")
    outcome = fetch("http://a.com/", a_com=address)
    assert outcome.ok
    assert outcome.stdout == "HTTP/1.0 200 Fine\nA: 1\nB: 2\nA: 3\n\nbody\r\n\ufffd"


@pytest.mark.parametrize("status", [201, 204, 302, 304, 404, 500, 599])
def test_answer_of_any_status_is_ok(echo, status):
    outcome = fetch(f"http://a.com/status/{status}", a_com=echo)
    assert outcome.ok
    assert outcome.stdout.startswith(f"HTTP/1.1 {status} As you wish\n")


def test_redirect_is_not_followed(echo):
    answer = fetch("http://a.com/status/302", a_com=echo).stdout
    assert "Location: /elsewhere" in answer
    assert "GET /status/302" in answer


def test_answer_to_head_has_no_body(echo):
    assert fetch("HEAD http://a.com/", a_com=echo).stdout == "HTTP/1.1 200 OK\n\n"


# hosts


@pytest.mark.parametrize(
    "host",
    ["b.com", "a.com.b.com", "a.com:81", "127.0.0.1", "localhost", "[::1]", "A.com"],
)
def test_unlisted_host_is_not_called(echo, host):
    assert failure(f"http://{host}/", a_com=echo) == f"host not allowed: {host}"


def test_proxy_settings_are_ignored(echo, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch("http://a.com/", a_com=echo).ok


# failures


def test_unreachable_host_is_reported_in_stderr():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    said = failure("http://a.com/", a_com=f"127.0.0.1:{port}")
    assert said == "request to a.com failed: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello",
        b"HTTP/1.1 200\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nA: " + bytes(1 << 17),
    ],
)
def test_invalid_http_answer_is_reported_in_stderr(serve, answer):
    said = failure("http://a.com/", a_com=serve(answer))
    assert said.startswith("request to a.com failed: ")


HEADS = {
    "until it ends": b"HTTP/1.1 200 OK\r\n\r\n",
    "the last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10000000\r\n\r\n",
    "of a size": b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_answer_over_the_limit_is_refused(serve, head):
    said = failure("http://a.com/", a_com=serve(head, bytes(MAX_ANSWER + 1)))
    assert said == "the answer of a.com is larger than 1048576 bytes"


def test_answer_at_the_limit_is_kept(serve):
    address = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n", b"x" * MAX_ANSWER)
    assert fetch("http://a.com/", a_com=address).stdout.endswith("x" * MAX_ANSWER)


@pytest.mark.parametrize(
    "pieces",
    [
        [b""] * 100,
        [b"H"] * 100,
        [b"HTTP/1.1 200 OK\r\n", *[b"A: 1\r\n"] * 90],
        *([head, *[b"x"] * 100] for head in HEADS.values()),
    ],
    ids=["silence", "status", "headers", *HEADS],
)
def test_slow_answer_ends_at_the_deadline(serve, pieces):
    start = time.monotonic()
    said = failure("http://a.com/", a_com=serve(*pieces, pause=0.1), deadline=0.3)
    assert said == "no answer from a.com in 0.3 s"
    assert time.monotonic() - start < 5


def test_host_not_accepting_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        address = full.getsockname()
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(address)
        said = failure("http://a.com/", a_com=f"127.0.0.1:{address[1]}", deadline=0.2)
    assert said == "no answer from a.com in 0.2 s"
