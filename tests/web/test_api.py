import json
import logging
import re
from dataclasses import replace

import pytest

from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.errors import Busy
from codapi_flask.models import Execution, Outcome, Report
from codapi_flask.web.app import App
from codapi_flask.web.metrics import Metrics

MAX_BODY = 5000
CONFIG = Config(
    max_body=MAX_BODY,
    boxes={"sh": BoxSpec(name="sh", image="codapi/sh")},
    commands={"sh": {"run": Command(steps=(Step(box="sh"),))}},
)
GOOD = {"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}
HELLO = Execution.of("", Report([Outcome("hello\n", box="sh")]), 12)
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "options, post",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Max-Age": "3600",
    "Access-Control-Expose-Headers": "Retry-After",
}


class FakeRun:
    """A run with a given result, or exception."""

    def __init__(self, result, job):
        self._result, self._job = result, job

    def __iter__(self):
        if isinstance(self._result, Exception):
            raise self._result
        yield replace(self._result, id=self._job.id)

    def cancel(self):
        """Do nothing."""


class FakePool:
    """Executes every job with the same result, and remembers them."""

    def __init__(self):
        self.result = HELLO
        self.jobs = []

    def start(self, job):
        self.jobs.append(job)
        return FakeRun(self.result, job)

    def is_full(self):
        return False

    def problem(self):
        return ""


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def client(pool):
    return App(CONFIG, pool, Metrics()).test_client()


@pytest.fixture
def post(client):
    """Return a function that posts a body, a JSON document unless it is text or bytes."""

    def post(body, content_type="application/json", **options):
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return client.post("/v1/exec", data=data, content_type=content_type, **options)

    return post


def refusal(answer):
    """Return status and text of an answer in the form of all errors."""
    body = answer.json
    assert (body["ok"], body["duration"], body["stdout"]) == (False, 0, "")
    assert list(body) == ["id", "ok", "duration", "stdout", "stderr"]
    assert answer.headers["Content-Type"] == "application/json"
    assert CORS.items() <= dict(answer.headers).items()
    return answer.status_code, body["stderr"]


def test_job_is_executed_and_answered(post, pool):
    answer = post({**GOOD, "files": {"": "echo hello", "a.txt": "x"}})
    [job] = pool.jobs
    assert (job.sandbox, job.command, job.version) == ("sh", "run", "")
    assert job.files == {"": "echo hello", "a.txt": "x"}
    assert re.fullmatch("sh_run_[0-9a-f]{8}", job.id)
    assert answer.status_code == 200
    assert answer.json == {
        "id": job.id,
        "ok": True,
        "duration": 12,
        "stdout": "hello\n",
        "stderr": "",
    }
    assert CORS.items() <= dict(answer.headers).items()


def test_failed_program_is_no_http_error(post, pool):
    pool.result = Execution.of("", Report([Outcome("a", "b", 1, reason="exit")]), 3)
    answer = post(GOOD)
    assert answer.status_code == 200
    assert (answer.json["ok"], answer.json["stderr"]) == (False, "ab (exit status 1)")


@pytest.mark.parametrize("field", ["id", "ok", "duration", "timeout", "user"])
def test_unknown_fields_are_ignored(post, pool, field):
    assert post({**GOOD, field: "mine"}).status_code == 200
    assert pool.jobs[0].id != "mine"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8;x=y",
        "Application/JSON",
        "application/vnd.api+json",
    ],
)
def test_json_media_type_is_accepted_in_any_form(post, content_type):
    assert post(GOOD, content_type).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
    ],
)
def test_other_media_type_is_refused(post, pool, content_type):
    answer = post(GOOD, content_type)
    assert refusal(answer) == (415, "unsupported media type: use application/json")
    assert not pool.jobs


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "hello",
        "{'sandbox': 'sh'}",
        '{"sandbox": "sh",}',
        json.dumps(GOOD) + "x",
        json.dumps(GOOD)[:-1],
        b"\xff\xfe\xfd",
        json.dumps(GOOD).replace("hello", "\xff").encode("latin-1"),
        "[" * 4000,
        '{"a":' * 900,
        '{"a": 1e}',
    ],
)
def test_body_that_is_not_json_is_refused(post, body):
    assert refusal(post(body)) == (400, "the request is not valid JSON")


@pytest.mark.parametrize("body", ["null", "[]", '"sh"', "1", "true", "1e999", "NaN"])
def test_document_that_is_no_object_is_refused(post, body):
    assert refusal(post(body)) == (400, "the request must be a JSON object")


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ({"sandbox": 1}, (400, "sandbox: must be a string")),
        ({"files": {"": 10**30}}, (400, "files: every file's content must be a string")),
        ({"files": {}}, (400, "empty request")),
        ({"files": {"": " \n"}}, (400, "empty request")),
        ({"sandbox": "perl"}, (404, "unknown sandbox")),
        ({"sandbox": None}, (404, "unknown sandbox")),
        ({"command": "test"}, (404, "unknown command")),
        ({"version": "9"}, (200, "unknown box sh:9")),
    ],
)
def test_invalid_request_is_refused(post, pool, more, refused):
    assert refusal(post({**GOOD, **more})) == refused
    assert not pool.jobs


@pytest.mark.parametrize("number", ["1" + "0" * 500, "-1.5e300", "1e-999"])
def test_number_of_any_size_is_accepted(post, number):
    assert post(json.dumps(GOOD)[:-1] + f', "x": {number}}}').status_code == 200


def test_last_of_repeated_keys_counts(post, pool):
    post('{"sandbox": "perl", ' + json.dumps(GOOD)[1:])
    assert pool.jobs[0].sandbox == "sh"


def test_lone_surrogate_is_kept_in_request_and_answer(post, pool):
    pool.result = Execution.of("", Report([Outcome("\ud800")]), 1)
    answer = post('{"sandbox": "sh", "command": "run", "files": {"\\udfff": "\\ud800 code"}}')
    assert pool.jobs[0].files == {"\udfff": "\ud800 code"}
    assert answer.json["stdout"] == "\ud800"


def padded(size):
    body = json.dumps({**GOOD, "x": ""})
    return body[:-2] + "x" * (size - len(body)) + body[-2:]


def test_body_at_the_limit_is_accepted(post):
    assert post(padded(MAX_BODY)).status_code == 200


@pytest.mark.parametrize("size", [MAX_BODY + 1, 10 * MAX_BODY])
def test_body_over_the_limit_is_refused(post, pool, size):
    assert refusal(post(padded(size))) == (413, f"the request is larger than {MAX_BODY} bytes")
    assert not pool.jobs


def test_body_of_unknown_size_over_the_limit_is_refused(post):
    answer = post(padded(MAX_BODY + 1), environ_overrides={"CONTENT_LENGTH": ""})
    assert refusal(answer) == (413, f"the request is larger than {MAX_BODY} bytes")


def test_compressed_body_is_refused(post):
    status, text = refusal(post(GOOD, headers={"Content-Encoding": "gzip"}))
    assert (status, text) == (415, "unsupported content encoding: send the JSON as it is")


def test_identity_encoding_is_accepted(post):
    assert post(GOOD, headers={"Content-Encoding": "Identity"}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_method_is_refused(client, method):
    answer = client.open("/v1/exec", method=method)
    assert refusal(answer) == (405, f"unsupported method: {method}")
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_health_refuses_post(client):
    answer = client.post("/v1/health", data="x")
    assert refusal(answer) == (405, "unsupported method: POST")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/exec/", "/v2/exec", "/v1/Exec", "/%00"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path_is_not_found(client, path, method):
    assert refusal(client.open(path, method=method)) == (404, "not found")


@pytest.mark.parametrize("path", ["/v1/exec", "/v1/health"])
def test_options_are_answered_for_any_origin(client, path):
    answer = client.options(path, headers={"Origin": "https://example.com"})
    assert (answer.status_code, answer.data) == (200, b"")
    assert CORS.items() <= dict(answer.headers).items()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_is_answered_without_the_pool(client, pool, method):
    pool.run = pool.problem = None
    answer = client.open("/v1/health", method=method)
    assert answer.status_code == 200
    assert CORS.items() <= dict(answer.headers).items()


def test_busy_pool_answers_429_with_retry_after(post, pool):
    pool.result = Busy()
    answer = post(GOOD)
    assert refusal(answer) == (429, "busy: try again later")
    assert answer.headers["Retry-After"] == "1"
    assert answer.json["id"] == pool.jobs[0].id


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG)
    return caplog


def test_server_fault_is_reported_to_the_log_only(post, pool, log):
    pool.result = Execution("", stderr="internal error", fault="the daemon is gone")
    answer = post(GOOD)
    assert refusal(answer) == (500, "internal error")
    [record] = log.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        f"id={answer.json['id']} ok=false outcome=fault ms=0 box=- cause=the daemon is gone"
    )


def test_exception_is_a_server_fault(post, pool, log):
    pool.result = ZeroDivisionError("division by zero")
    assert refusal(post(GOOD)) == (500, "internal error")
    assert "ZeroDivisionError: division by zero" in log.text


@pytest.mark.parametrize(
    ("outcome", "logged"),
    [
        (Outcome(box="sh"), "ok=true outcome=ok ms=12 box=sh"),
        (Outcome("", "", 1, reason="exit", box="sh"), "ok=false outcome=exit ms=12 box=sh"),
        (Outcome(reason="timeout", box="sh:1"), "ok=false outcome=timeout ms=12 box=sh:1"),
        (Outcome(stderr="x", reason="error"), "ok=false outcome=error ms=12 box=-"),
    ],
)
def test_execution_is_one_line_of_the_log(post, pool, log, outcome, logged):
    pool.result = Execution.of("", Report([outcome]), 12)
    id = post(GOOD).json["id"]
    assert [record.getMessage() for record in log.records] == [f"id={id} {logged}"]


def test_log_holds_nothing_of_a_request(post, pool, log):
    secret = {"secret": "secret"}
    for more in (
        {"files": secret},
        {"sandbox": "secret"},
        {"command": "secret"},
        {"version": "secret"},
        secret,
    ):
        post({**GOOD, **more}, headers={"Authorization": "secret", "X-Secret": "secret"})
    post("secret")
    assert log.records
    assert "secret" not in log.text.lower()
