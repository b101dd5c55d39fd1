"""The API, row by row of its contract, over real HTTP and in real boxes."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from tests.support.configs import BOXES, COMMANDS
from tests.support.programs import Sleep
from tests.support.server import Answer, Server, wait_for, write_root

pytestmark = pytest.mark.docker

FIELDS = ["id", "ok", "duration", "stdout", "stderr"]
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "options, post",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Max-Age": "3600",
    "Access-Control-Expose-Headers": "Retry-After",
}
GOOD = {"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}
MIB = 1 << 20


def step(*command, box="sh", **more):
    return {"steps": [{"box": box, "command": [*command], **more}]}


def script(**more):
    return {"entry": "main.sh", **step("sh", "main.sh", **more)}


SH = {
    "quick": script(timeout=0.3),
    "short": script(noutput=10),
    "missing": step("nope", "-x"),
    "absent": step("./no/such/file"),
    "unbuilt": step("true", box="unbuilt"),
    "limited": script(box="limited"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """Return a server whose sandboxes have some commands that fail."""
    boxes = {
        **BOXES,
        "unbuilt": {"image": "codapi/never-built"},
        "limited": {"image": "codapi/sh", "memory": 16},
        "sh:1.0": {"image": "codapi/sh"},
    }
    commands = {**COMMANDS, "sh": {**COMMANDS["sh"], **SH}, "web": {"run": {"engine": "http"}}}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    hosts = {"ourselves": f"127.0.0.1:{port}", "nobody": "127.0.0.1:1"}
    top = {"pool_size": 4, "http": {"hosts": hosts}}
    root = write_root(tmp_path_factory.mktemp("root"), boxes, commands, top)
    with Server(root, PORT=str(port)) as server:
        yield server


@pytest.fixture
def run(server):
    """Return a function that executes a command of `sh`, and returns the answer's body."""

    def run(command, files):
        status, body = server.exec("sh", command, files)
        assert status == 200
        assert list(body) == FIELDS
        return body

    return run


def answer(body):
    return body["ok"], body["stdout"], body["stderr"]


def refusal(answer: Answer) -> tuple[int, str]:
    """Return status and text of an answer in the form of all errors."""
    body = answer.json()
    assert list(body) == FIELDS
    assert (body["ok"], body["stdout"]) == (False, "")
    # an execution that never began has no duration
    assert answer.status == 500 or body["duration"] == 0
    assert CORS.items() <= dict(answer.headers.items()).items()
    return answer.status, body["stderr"]


# programs


def test_output_of_a_program_is_answered_unchanged(run):
    body = run("run", "printf '  é\\n\\n'; printf ' warning\\t' >&2")
    assert answer(body) == (True, "  é\n\n", " warning\t")


@pytest.mark.parametrize(
    ("code", "stderr"),
    [
        ("exit 1", "exit status 1"),
        ("echo out; echo err >&2; exit 3", "out\nerr (exit status 3)"),
        ("kill -SEGV $$", "exit status 139"),
        ("echo out; kill -KILL $$", "out (exit status 137)"),
        ("kill -TERM $$", "exit status 143"),
    ],
)
def test_failed_program_reports_how_it_ended(run, code, stderr):
    assert answer(run("run", code)) == (False, "", stderr)


@pytest.mark.parametrize("number", [1, 126, 127, 255])
def test_program_may_exit_with_any_status(run, number):
    assert answer(run("run", f"exit {number}")) == (False, "", f"exit status {number}")


def test_program_out_of_memory_is_reported(run):
    body = run("limited", "head -c 64m /dev/zero | tail -n 1")
    ok, stdout, stderr = answer(body)
    assert (ok, stdout) == (False, "")
    assert stderr.startswith("out of memory (16 MiB)\n")
    assert re.search(r"exit status \d+\)?$", stderr)


@pytest.mark.parametrize(
    ("command", "program"), [("missing", "nope"), ("absent", "./no/such/file")]
)
def test_program_that_cannot_be_started_is_named(run, command, program):
    body = run(command, "x")
    assert answer(body) == (False, "", f"{program}: not found (exit status 127)")


def test_program_over_its_timeout_is_killed_before_the_answer(run):
    program = Sleep(60)
    body = run("quick", f"echo out; {program.text}")
    assert not program.runs()
    assert answer(body) == (False, "", "code execution timeout")
    assert body["duration"] >= 300


def test_duration_is_in_milliseconds(run):
    assert 300 <= run("run", "sleep 0.3")["duration"] < 10_000
    assert type(run("run", "true")["duration"]) is int


# ids


@pytest.mark.parametrize(
    ("version", "id"),
    [("", "sh_run"), ("1.0", "sh.1.0_run"), ("latest", "sh.latest_run")],
)
def test_execution_id_is_never_the_clients(server, version, id):
    _, body = server.exec("sh", "run", "true", version=version, id="mine")
    assert re.fullmatch(rf"{re.escape(id)}_[0-9a-f]{{8}}", body["id"])


def test_request_for_an_unknown_sandbox_gets_no_id(server):
    _, body = server.exec("perl", "run", "true")
    assert body["id"] == "-"


# files


def test_files_are_readable_by_any_user(run):
    code = "cat *.txt sub/dir/*; stat -c '%a %n' . * sub/*"
    body = run("run", {"": code, "a.txt": "A\n", "sub/dir/b": "B\n"})
    modes = "777 .\n444 a.txt\n444 main.sh\n755 sub\n755 sub/dir\n"
    assert answer(body) == (True, f"A\nB\n{modes}", "")


def test_data_url_is_decoded_and_other_text_is_not(run):
    content = bytes(range(256))
    url = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    yaml = "data:\n  - a, b\n"
    body = run("run", {"": "od -An -v -tx1 bin | tr -d ' \\n'; cat yaml", "bin": url, "yaml": yaml})
    assert answer(body) == (True, content.hex() + yaml, "")


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "/abs", "a/../../x", "./../x", "../sandbox/x", ".", "..", "a/..", "/./x"),
        *("a\0b", "a\0/../b", "x" * 300, "\ud800"),
    ],
)
def test_file_with_an_invalid_name_is_not_written(server, name):
    before = set(server.work_dir.parent.iterdir())
    status, body = server.exec("sh", "run", {"": "echo hello", name: "x"})
    assert (status, body["ok"], body["stdout"]) == (200, False, "")
    assert re.fullmatch(r"files\[.+\]: invalid name", body["stderr"], re.DOTALL)
    assert set(server.work_dir.parent.iterdir()) == before


def test_file_names_are_normalised(run):
    files = {"./main.sh": "find . -type f | sort", "./a": "", "b/../c": "", "d//e/": ""}
    assert answer(run("run", files)) == (True, "./a\n./c\n./d/e\n./main.sh\n", "")


@pytest.mark.parametrize(
    ("files", "stderr"),
    [
        ({"": "x", "./main.sh": "y"}, "files[./main.sh]: the same file as files[]"),
        ({"a/../b": "x", "b": "y"}, "files[b]: the same file as files[a/../b]"),
    ],
)
def test_two_names_of_one_file_are_refused(server, files, stderr):
    answer = server.post({**GOOD, "files": files})
    assert refusal(answer) == (400, stderr)
    assert re.fullmatch("sh_run_[0-9a-f]{8}", answer.json()["id"])


@pytest.mark.parametrize(
    ("files", "stderr"),
    [
        ({"a": "", "a/b": ""}, "files[a/b]: invalid name"),
        ({"a.png": "data:image/png;base64,a"}, "files[a.png]: invalid base64 in the data URL"),
    ],
)
def test_invalid_file_is_named(server, files, stderr):
    status, body = server.exec("sh", "run", {"": "echo hello", **files})
    assert (status, *answer(body)) == (200, False, "", stderr)


# output


@pytest.mark.parametrize(
    ("code", "stdout", "stderr"),
    [
        ("printf 0123456789; printf 0123456789 >&2", "0123456789", "0123456789"),
        ("printf 0123456789x; printf 01234567890x >&2", "0123456789", "0123456789"),
        ("printf 01234567éé", "01234567é", ""),
        ("printf 0123456789é", "0123456789", ""),
        ("printf 012345678éx", "012345678", ""),
        ("printf '0\\377\\0\\033[1m'", "0\ufffd\0\x1b[1m", ""),
        ("head -c 20m /dev/zero | tr '\\0' x; printf end >&2", "xxxxxxxxxx", "end"),
    ],
)
def test_streams_are_cut_at_a_character_boundary(run, code, stdout, stderr):
    assert answer(run("short", code)) == (True, stdout, stderr)


# refusals


@pytest.mark.parametrize(
    ("document", "refused"),
    [
        ({**GOOD, "version": "9"}, (200, "unknown box sh:9")),
        ([], (400, "the request must be a JSON object")),
        ({**GOOD, "sandbox": 1}, (400, "sandbox: must be a string")),
        ({**GOOD, "files": []}, (400, "files: must be an object of names and texts")),
        ({**GOOD, "files": {"": None}}, (400, "files: every file's content must be a string")),
        ({**GOOD, "files": {}}, (400, "empty request")),
        ({**GOOD, "files": {"": " \n "}}, (400, "empty request")),
        ({**GOOD, "sandbox": "perl"}, (404, "unknown sandbox")),
        ({**GOOD, "sandbox": "sh; id"}, (404, "unknown sandbox")),
        ({**GOOD, "command": "test"}, (404, "unknown command")),
        ({}, (404, "unknown sandbox")),
    ],
)
def test_invalid_request_is_refused(server, document, refused):
    assert refusal(server.post(document)) == refused


@pytest.mark.parametrize("body", ["", "{", "{'a': 1}", b"\xff", "[" * 100_000])
def test_body_that_is_not_json_is_refused(server, body):
    answer = server.request("POST", "/v1/exec", body, {"Content-Type": "application/json"})
    assert refusal(answer) == (400, "the request is not valid JSON")


@pytest.mark.parametrize("type", ["application/json; charset=utf-8", "Application/Json;a=b"])
def test_media_type_parameters_are_ignored(server, type):
    assert server.post(GOOD, **{"Content-Type": type}).json()["stdout"] == "hello\n"


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": ""}])
def test_other_media_type_is_refused(server, headers):
    answer = server.request("POST", "/v1/exec", json.dumps(GOOD), headers)
    assert refusal(answer) == (415, "unsupported media type: use application/json")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_method_is_refused(server, method):
    answer = server.request(method, "/v1/exec")
    assert refusal(answer) == (405, f"unsupported method: {method}")
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1", "/v1/exec/", "/v1//exec", "/v2/exec", "/../etc/passwd", "/%ff"),
        *("//v1/exec", "//v1/health", "//metrics", "///metrics", "/%2fmetrics"),
        "http://a//metrics",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path_is_not_found(server, path, method):
    assert refusal(server.request(method, path)) == (404, "not found")


@pytest.mark.parametrize("path", ["/v1/exec", "/v1/health", "/v1/sandboxes"])
def test_options_are_answered_for_any_origin(server, path):
    answer = server.request("OPTIONS", path, headers={"Origin": "https://example.com"})
    assert (answer.status, answer.body) == (200, b"")
    assert CORS.items() <= dict(answer.headers.items()).items()


@pytest.mark.parametrize(("method", "body"), [("GET", b'{"status": "ok"}'), ("HEAD", b"")])
def test_health_is_answered(server, method, body):
    answer = server.request(method, "/v1/health")
    assert (answer.status, answer.body) == (200, body)
    assert CORS.items() <= dict(answer.headers.items()).items()


def test_sandboxes_are_sent_to_clients_that_do_not_have_them(server):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:

        def get(method="GET", **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, "/v1/sandboxes", headers=headers)
            with connection.getresponse() as answer:
                # the next request comes on the same connection
                return Answer(answer.status, answer.headers, answer.read())

        whole = get()
        assert [sandbox["name"] for sandbox in whole.json()["sandboxes"]] == ["python", "sh", "web"]
        [run] = [c for c in whole.json()["sandboxes"][1]["commands"] if c["name"] == "run"]
        assert (run["entry"], run["versions"]) == ("main.sh", ["1.0"])
        same = get(If_None_Match=whole.headers["ETag"])
        assert (same.status, same.body) == (304, b"")
        assert get("HEAD").headers["ETag"] == whole.headers["ETag"]
        assert refusal(get("POST")) == (405, "unsupported method: POST")
        for answer in (whole, same, get("HEAD")):
            assert CORS.items() <= dict(answer.headers.items()).items()
            assert len(answer.headers.get_all("Date")) == 1


def test_execution_is_answered_for_any_origin(server):
    assert CORS.items() <= dict(server.post(GOOD).headers.items()).items()


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_missing_image_is_told_to_client_and_log(server, accept):
    answer = server.post({**GOOD, "command": "unbuilt"}, accept=accept)
    body = answer.json()
    assert (answer.status, list(body), body["ok"]) == (200, FIELDS, False)
    assert body["stderr"] == "sandbox sh is not installed: make images NAMES=never-built"
    [line] = [line for line in server.log.splitlines() if answer.json()["id"] in line]
    assert "outcome=fault" in line
    assert "codapi/never-built" in line


def test_sandboxes_tell_whether_each_command_is_installed(server):
    def installed():
        [sandbox] = [
            each
            for each in server.request("GET", "/v1/sandboxes").json()["sandboxes"]
            if each["name"] == "sh"
        ]
        return {command["name"]: command["installed"] for command in sandbox["commands"]}

    wait_for(lambda: installed()["run"] is not None)
    assert (installed()["run"], installed()["unbuilt"]) == (True, False)


def test_busy_server_answers_429_with_retry_after(start_server, root):
    server = start_server(root(pool_size=1))
    with ThreadPoolExecutor() as threads:
        program = Sleep(1)
        first = threads.submit(server.exec, "sh", "run", program.text)
        wait_for(program.runs)
        answer = server.post(GOOD)
        assert refusal(answer) == (429, "busy: try again later")
        assert int(answer.headers["Retry-After"]) > 0
        assert re.fullmatch("sh_run_[0-9a-f]{8}", answer.json()["id"])
        # these need no worker
        assert server.request("HEAD", "/v1/health").status == 200
        assert server.post({**GOOD, "sandbox": "perl"}).status == 404
        assert first.result()[1]["ok"]
    assert server.exec("sh", "run", "echo hello")[1]["ok"]


# the log


def test_execution_is_one_line_of_the_log(server):
    lines = server.log.splitlines()
    _, body = server.exec("sh", "run", "exit 1")
    more = [line for line in server.log.splitlines() if line not in lines and "id=" in line]
    assert len(more) == 1
    logged = f"id={body['id']} ok=false outcome=exit ms={body['duration']} box=sh"
    assert more[0].endswith(logged)


def test_log_holds_nothing_of_a_request(server):
    for more in (
        {"files": {"": "echo SECRET >&2", "SECRET": "SECRET"}},
        {"files": {"../SECRET": "SECRET", "": "x"}},
        {"sandbox": "SECRET"},
        {"command": "SECRET"},
        {"version": "SECRET"},
        {"SECRET": "SECRET"},
        {"command": "unbuilt", "files": {"": "SECRET"}},
    ):
        server.post({**GOOD, **more}, Authorization="SECRET")
    server.request("POST", "/v1/exec", "SECRET", {"Content-Type": "application/json"})
    server.request("GET", "/v1/SECRET?SECRET")
    assert "SECRET" not in server.log


# the http engine


def test_http_engine_sends_the_clients_request(server):
    code = "POST http://ourselves/v1/exec\nContent-Type: application/json\n\n" + json.dumps(GOOD)
    _, body = server.exec("web", "run", code)
    assert (body["ok"], body["stderr"]) == (True, "")
    head, _, said = body["stdout"].partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\n")
    assert json.loads(said)["stdout"] == "hello\n"


def test_http_engine_error_status_is_ok(server):
    _, body = server.exec("web", "run", "GET http://ourselves/nothing")
    assert body["ok"]
    assert body["stdout"].startswith("HTTP/1.1 404 NOT FOUND\n")


@pytest.mark.parametrize(
    ("code", "stderr"),
    [
        ("GET http://127.0.0.1/", "host not allowed: 127.0.0.1"),
        ("hello world", "malformed request: the URL must be like http://host/path"),
        (
            "GET http://nobody/",
            "request to nobody failed: [Errno 111] Connection refused",
        ),
    ],
)
def test_http_engine_reports_why_a_request_cannot_be_sent(server, code, stderr):
    status, body = server.exec("web", "run", code)
    assert (status, *answer(body)) == (200, False, "", stderr)


# the connection


class Client:
    """A client that sends arbitrary bytes and reads answers."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=3)
        self._file = self.socket.makefile("rb")

    def send(self, *lines, body=b""):
        self.socket.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)

    def receive(self):
        """Return status, headers (names in lower case) and body of the next answer."""
        status, headers = int(self._file.readline().split()[1]), {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if status == 100:
            return self.receive()
        return status, headers, self._file.read(int(headers["content-length"]))

    def is_closed(self):
        """Tell whether the server has closed the connection; waits until it does or says more."""
        try:
            return not self._file.read(1)
        except ConnectionResetError:
            return True

    def close(self):
        self._file.close()
        self.socket.close()


@pytest.fixture
def client(server):
    with closing(Client(server)) as client:
        yield client


POST = ("POST /v1/exec HTTP/1.1", "Host: a", "Content-Type: application/json")
BODY = json.dumps(GOOD).encode()


def chunked(body, size):
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def stdout(received):
    status, _, body = received
    return status, json.loads(body)["stdout"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunked_body_is_accepted(client, size):
    client.send(*POST, "Transfer-Encoding: chunked", body=chunked(BODY, size))
    assert stdout(client.receive()) == (200, "hello\n")


def test_request_sent_byte_by_byte_is_accepted(client):
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    head = "\r\n".join([*POST, f"Content-Length: {len(BODY)}", "", ""])
    for byte in head.encode() + BODY:
        client.socket.sendall(bytes([byte]))
    assert stdout(client.receive()) == (200, "hello\n")


@pytest.mark.parametrize("line", ["GET /v1/health", "GET http://a/v1/health", "POST /v1/exec"])
def test_http_1_1_without_host_is_refused(client, line):
    client.send(f"{line} HTTP/1.1", *POST[2:], f"Content-Length: {len(BODY)}", body=BODY)
    status, headers, body = client.receive()
    assert (status, json.loads(body)["stderr"]) == (400, "malformed request: no Host header")
    assert headers["access-control-allow-origin"] == "*"
    assert client.is_closed()


@pytest.mark.parametrize(
    ("lines", "closes"),
    [
        (["Connection: close"], True),
        (["Connection: TE, close"], True),
        (["Connection: Close,\tTE"], True),
        (["Connection: TE", "Connection: close"], True),
        (["Connection: keep-alive, close"], True),
        (["Connection: TE, keep-alive"], False),
        (["Connection: closed, disclose"], False),
        (["Connection:"], False),
    ],
)
def test_connection_is_closed_if_one_of_its_options_is_close(client, lines, closes):
    client.send("GET /v1/health HTTP/1.1", "Host:", *lines)
    status, headers, _ = client.receive()
    assert (status, headers["connection"]) == (200, "close" if closes else "keep-alive")
    if closes:
        assert client.is_closed()
    else:
        client.send("GET /v1/health HTTP/1.1", "Host: a")
        assert client.receive()[0] == 200


def test_http_1_0_client_is_served(client):
    client.send("POST /v1/exec HTTP/1.0", POST[2], f"Content-Length: {len(BODY)}", body=BODY)
    assert stdout(client.receive()) == (200, "hello\n")
    assert client.is_closed()


def test_expect_100_continue_is_answered_once(client):
    client.send(*POST, f"Content-Length: {len(BODY)}", "Expect: 100-continue")
    assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.socket.sendall(BODY)
    # 100 Continue is sent once
    assert client.socket.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HTTP/1.1 200"
    assert stdout(client.receive()) == (200, "hello\n")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["POST /v1/exec HTTP/1.1", "Host: a", "Content-Type: text/plain"], 415),
        (["POST /v1/nothing HTTP/1.1", "Host: a"], 404),
        (["PUT /v1/exec HTTP/1.1", "Host: a"], 405),
        ([*POST, "Content-Encoding: gzip"], 415),
    ],
)
@pytest.mark.parametrize("more", [0, MIB // 2])
def test_body_of_a_refused_request_is_not_the_next_request(client, lines, status, more):
    body = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n" + bytes(more)
    client.send(*lines, f"Content-Length: {len(body)}", body=body)
    client.send(*POST, f"Content-Length: {len(BODY)}", body=BODY)
    assert client.receive()[0] == status
    assert stdout(client.receive()) == (200, "hello\n")


@pytest.mark.parametrize("size", [2 * MIB, 3 * MIB, 7 * MIB])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
def test_client_sending_a_too_large_body_reads_413(client, size, is_chunked):
    body = BODY[:-1] + b" " * (size - len(BODY)) + b"}"
    if is_chunked:
        client.send(*POST, "Transfer-Encoding: chunked", body=chunked(body, 1 << 16))
    else:
        client.send(*POST, f"Content-Length: {size}", body=body)
    status, headers, said = client.receive()
    assert (status, json.loads(said)["stderr"]) == (413, f"the request is larger than {MIB} bytes")
    assert headers["access-control-allow-origin"] == "*"
    assert headers["connection"] == "close"
    assert client.is_closed()


def test_body_at_the_limit_is_accepted(client):
    body = BODY[:-1] + b" " * (MIB - len(BODY)) + b"}"
    client.send(*POST, f"Content-Length: {MIB}", body=body)
    assert stdout(client.receive()) == (200, "hello\n")


def test_endless_body_ends_only_its_own_connection(server, client):
    client.send(*POST, "Transfer-Encoding: chunked")
    piece = chunked(bytes(1 << 16), 1 << 16).removesuffix(b"0\r\n\r\n")
    with pytest.raises(ConnectionError):
        client.socket.sendall(piece * 1000)
    assert server.post(GOOD).status == 200


@pytest.mark.parametrize(
    "head",
    [
        ["hello"],
        ["GET /v1/health HTTP/9.9", "Host: a"],
        ["GET /v1/health HTTP/1.1", "Host: a", "no header"],
        [*POST, "Content-Length: -1"],
        [*POST, "Content-Length: 1x"],
        [*POST, "Content-Length: 5", "Content-Length: 6"],
        [*POST, "Content-Length: 5", "Transfer-Encoding: chunked"],
        [*POST, "Transfer-Encoding: gzip, nonsense"],
    ],
)
def test_malformed_http_is_refused_and_disconnected(server, client, head):
    client.send(*head, body=chunked(b"hello", 5))
    status, headers, body = client.receive()
    assert status in (400, 501, 505)
    assert list(json.loads(body)) == FIELDS
    assert headers["connection"] == "close"
    assert server.request("GET", "/v1/health").status == 200


def test_clients_that_stay_connected_delay_no_other(server):
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(Client(server))) for _ in range(5)]
        for client in clients:
            client.send("GET /v1/health HTTP/1.1", "Host: a", "Connection: close")
            assert client.receive()[0] == 200
        start = time.monotonic()
        assert server.request("GET", "/v1/health").status == 200
        assert time.monotonic() - start < 5


def test_slow_clients_delay_no_other_and_are_disconnected(start_server, root):
    server = start_server(root(pool_size=1, read_timeout=1))
    parts = [b"", b"POST /v1/exec HTTP/1.1\r\nHost: a\r\n"]
    parts += [("\r\n".join([*POST, "Content-Length: 99", "", ""])).encode() + b"{"]
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(Client(server))) for _ in range(100)]
        for client, part in zip(clients, parts * 34, strict=False):
            client.socket.sendall(part)
        start = time.monotonic()
        assert server.request("GET", "/v1/health").status == 200
        assert time.monotonic() - start < 1
        assert server.exec("sh", "run", "echo hello")[1]["ok"]
        assert clients[0].is_closed()
        for client in clients[1:3]:
            status, _, body = client.receive()
            assert (status, json.loads(body)["stderr"]) == (408, "the request did not come in time")
            assert client.is_closed()


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"POST /v1/exec HTTP/1.1\nHost: a\n\n"],
    ids=["TLS", "line feeds"],
)
def test_data_that_is_not_http_is_refused_at_once(server, data):
    with closing(Client(server)) as client:
        client.socket.sendall(data)
        start = time.monotonic()
        status, _, body = client.receive()
        assert time.monotonic() - start < 5
        assert (status, json.loads(body)["stderr"][:17]) == (400, "malformed request")
        assert client.is_closed()


def test_disconnected_clients_free_the_workers(server):
    for _ in range(10):
        with closing(Client(server)) as client:
            client.send(*POST, f"Content-Length: {len(BODY)}", body=BODY)
    wait_for(lambda: server.exec("sh", "run", "echo hello")[1]["ok"])


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--http1.0",
        # it offers HTTP/2 in an Upgrade header
        "--http2",
        "--compressed --referer http://a --header user-agent:",
        "--header expect:100-continue",
        "--header transfer-encoding:chunked --header te:trailers",
        "--header connection:TE,close",
        "--header host:localhost --header content-encoding:identity",
        "--user name:password --cookie a=b --header accept:text/html",
        "--request-target http://localhost/v1/exec?a=b",
    ],
)
def test_curl_reads_its_answer(server, options):
    command = ["curl", "--silent", "--data", json.dumps(GOOD), f"{server.url}/v1/exec"]
    command += ["--header", "content-type: application/json", *options.split()]
    assert json.loads(subprocess.check_output(command))["stdout"] == "hello\n"
