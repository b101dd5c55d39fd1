import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from codapi_flask.errors import RequestError
from codapi_flask.jobs.request import Request

GOOD = {"sandbox": "python", "command": "run", "files": {"": "print(42)", "a.txt": "x"}}


def test_request_holds_the_fields_of_the_document():
    more = {"version": "3.12", "details": True, "outputs": True, "stdin": "1", "args": ["2"]}
    runs = [{"stdin": "3", "args": []}, {"stdin": None, "args": ["4", "\ud800"]}]
    request = Request.parse({**GOOD, **more, "runs": runs})
    assert request.model_dump() == {**GOOD, **more, "runs": runs}


def test_request_keeps_the_order_of_files():
    files = {"b": "1", "": "2", "a": "3"}
    assert list(Request.parse({**GOOD, "files": files}).files) == ["b", "", "a"]


def test_lone_surrogate_is_kept():
    document = json.loads(r'{"sandbox": "\ud800", "files": {"\udfff": "\ud800"}}')
    request = Request.parse(document)
    assert (request.sandbox, request.files) == ("\ud800", {"\udfff": "\ud800"})


@pytest.mark.parametrize(
    "more", [{"id": "mine"}, {"action": "x", "nested": {"a": [1]}}, {"parse": 1, "\ud800": 2}]
)
def test_unknown_fields_are_ignored(more):
    assert Request.parse({**GOOD, **more}) == Request.parse(GOOD)
    assert Request.parse({**GOOD, "runs": [more]}) == Request.parse({**GOOD, "runs": [{}]})


@pytest.mark.parametrize(
    ("field", "empty"),
    [
        *(("sandbox", ""), ("command", ""), ("files", {}), ("version", ""), ("details", False)),
        *(("stdin", None), ("args", ()), ("runs", None), ("outputs", False)),
    ],
)
def test_absent_and_null_fields_are_empty(field, empty):
    absent = {name: value for name, value in GOOD.items() if name != field}
    for document in (absent, {**GOOD, field: None}):
        assert getattr(Request.parse(document), field) == empty


def test_run_without_input_is_empty():
    runs = [{}, {"stdin": None, "args": None}, {"stdin": "", "args": []}]
    parsed = Request.parse({**GOOD, "runs": runs}).runs
    assert [(run.stdin or "", list(run.args)) for run in parsed] == [("", [])] * 3


NO_RUNS = "runs: must be a list of 1 to 32 objects"
NO_ARGS = "must be a list of strings"
TOO_LONG = "must have at most 8192 bytes in UTF-8, all texts together"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"stdin": 1}, "stdin: must be a string"),
        ({"stdin": ["1"]}, "stdin: must be a string"),
        ({"args": "1"}, f"args: {NO_ARGS}"),
        ({"args": {}}, f"args: {NO_ARGS}"),
        ({"args": ["1", 2]}, f"args: {NO_ARGS}"),
        ({"args": [None]}, f"args: {NO_ARGS}"),
        ({"args": ["1", "a\0b"]}, "args: must not contain NUL"),
        ({"args": [""] * 65}, "args: must have at most 64 texts"),
        ({"args": ["x" * 8193]}, f"args: {TOO_LONG}"),
        ({"args": ["é" * 2048, "\ud800" * 1365, "xx"]}, f"args: {TOO_LONG}"),
        ({"runs": []}, NO_RUNS),
        ({"runs": [{}] * 33}, NO_RUNS),
        ({"runs": {}}, NO_RUNS),
        ({"runs": "1"}, NO_RUNS),
        ({"runs": [{}, None]}, "runs[1]: must be an object"),
        ({"runs": [["1"]]}, "runs[0]: must be an object"),
        ({"runs": [{}] * 31 + [{"stdin": 1}]}, "runs[31].stdin: must be a string"),
        ({"runs": [{}] * 3 + [{"args": [""] * 65}]}, "runs[3].args: must have at most 64 texts"),
        ({"runs": [{"args": ["x" * 8193]}]}, f"runs[0].args: {TOO_LONG}"),
        ({"runs": [{"args": ["\0"]}]}, "runs[0].args: must not contain NUL"),
    ],
)
def test_malformed_input_is_refused(more, text):
    with pytest.raises(RequestError) as caught:
        Request.parse({**GOOD, **more})
    assert (caught.value.kind, caught.value.text) == ("malformed", text)


@pytest.mark.parametrize(
    "more",
    [
        {"args": [""] * 64},
        {"args": ["x" * 8192]},
        {"args": ["é" * 2048, "\ud800" * 1365, "x"]},
        {"runs": [{"args": ["x" * 8192]}] * 32},
    ],
)
def test_input_up_to_the_limits_is_accepted(more):
    assert Request.parse({**GOOD, **more})


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "the request must be a JSON object"),
        ([], "the request must be a JSON object"),
        ("python", "the request must be a JSON object"),
        (42, "the request must be a JSON object"),
        ({**GOOD, "sandbox": 1}, "sandbox: must be a string"),
        ({**GOOD, "command": ["run"]}, "command: must be a string"),
        ({**GOOD, "version": 3.12}, "version: must be a string"),
        ({**GOOD, "version": False}, "version: must be a string"),
        ({**GOOD, "files": "print(42)"}, "files: must be an object of names and texts"),
        ({**GOOD, "files": ["print(42)"]}, "files: must be an object of names and texts"),
        ({**GOOD, "files": False}, "files: must be an object of names and texts"),
        ({**GOOD, "files": {"": 42}}, "files: every file's content must be a string"),
        ({**GOOD, "files": {"": "x", "a": None}}, "files: every file's content must be a string"),
        ({**GOOD, "details": 1}, "details: must be true or false"),
        ({**GOOD, "details": "true"}, "details: must be true or false"),
        ({**GOOD, "outputs": ["*.png"]}, "outputs: must be true or false"),
        ({"sandbox": 1, "files": 2, "details": 3}, "sandbox: must be a string"),
    ],
)
def test_malformed_document_is_refused(document, text):
    with pytest.raises(RequestError) as caught:
        Request.parse(document)
    assert (caught.value.kind, caught.value.text) == ("malformed", text)


def test_request_is_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        Request.parse(GOOD).sandbox = "sh"


@pytest.mark.parametrize(
    "module", ["codapi_flask.models", "codapi_flask.pool.worker", "codapi_flask.stock.keeper"]
)
def test_process_without_requests_does_not_import_pydantic(module):
    code = f"import sys, {module}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
