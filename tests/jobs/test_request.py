import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from codapi_flask.errors import RequestError
from codapi_flask.jobs.request import Request

GOOD = {"sandbox": "python", "command": "run", "files": {"": "print(42)", "a.txt": "x"}}


def test_request_holds_the_fields_of_the_document():
    request = Request.parse({**GOOD, "version": "3.12", "details": True})
    assert request.model_dump() == {**GOOD, "version": "3.12", "details": True}


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


@pytest.mark.parametrize(
    ("field", "empty"),
    [("sandbox", ""), ("command", ""), ("files", {}), ("version", ""), ("details", False)],
)
def test_absent_and_null_fields_are_empty(field, empty):
    absent = {name: value for name, value in GOOD.items() if name != field}
    for document in (absent, {**GOOD, field: None}):
        assert getattr(Request.parse(document), field) == empty


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
