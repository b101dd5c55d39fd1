import ast
import json
from dataclasses import replace
from itertools import product
from typing import get_args

import jsonschema_rs
import pytest

from codapi_flask.config.model import Command, Config, Step
from codapi_flask.errors import Kind
from codapi_flask.models import Execution, LeftOut, Outcome, Report
from codapi_flask.web import answers, openapi
from codapi_flask.web.app import App
from codapi_flask.web.metrics import Metrics
from tests.support.server import REPOSITORY

DOCUMENT = json.loads(openapi.encoded())
OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"])
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


class ReadyPool:
    """Executes nothing, but would."""

    def is_full(self):
        return False

    def problem(self):
        return ""


def app(**config):
    return App(Config(**config), ReadyPool(), Metrics())


def statuses(room, least=200):
    """Return the numbers in a room's functions that can be statuses."""
    sources = (REPOSITORY / "codapi_flask" / room).glob("*.py")
    numbers = {
        node.value
        for source in sources
        if source.name != "openapi.py"
        for function in ast.walk(ast.parse(source.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, int)
    }
    return {number for number in numbers if least <= number < 600}


def validate(schema, document):
    components = {"components": DOCUMENT["components"]}
    jsonschema_rs.validate({"$ref": f"#/components/schemas/{schema}", **components}, document)


def test_transport_status_has_a_text():
    assert set(answers.TEXTS) == statuses("httpd", least=400)


def test_status_in_the_code_has_a_meaning():
    refusals = answers.STATUSES.values()
    assert set(answers.MEANINGS) == {
        *statuses("web"),
        *refusals,
        *answers.FAULTS.values(),
        *answers.TEXTS,
    }


def test_each_kind_of_mistake_has_a_status_which_only_the_web_knows():
    assert set(answers.STATUSES) == set(get_args(Kind))
    assert not statuses("jobs")


def test_status_with_a_meaning_has_a_response():
    described = DOCUMENT["components"]["responses"]
    assert {200, 304, *map(int, described)} == set(answers.MEANINGS)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_operation_has_the_statuses_of_the_transport(path, method, operation):
    assert {"200", *map(str, answers.TEXTS)} <= set(operation["responses"])


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_operation_has_401_if_it_needs_a_token(path, method, operation):
    answer = app(tokens=["secret"]).test_client().open(path, method=method)
    needs_token = answer.status_code == 401
    assert ("401" in operation["responses"]) is needs_token
    assert ({"token": []} in operation["security"]) is needs_token


def test_exec_has_every_status_except_304_and_405():
    responses = DOCUMENT["paths"]["/v1/exec"]["post"]["responses"]
    assert {304, 405, *map(int, responses)} == set(answers.MEANINGS)


def test_route_is_described():
    routes = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in app().url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == {(path, method) for path, method, _ in (each.values for each in OPERATIONS)}


def test_reference_resolves():
    for target in {line.split('"')[1] for line in openapi.encoded().decode().split('"$ref": ')[1:]}:
        node = DOCUMENT
        for name in target.removeprefix("#/").split("/"):
            node = node[name]


def test_refusal_has_the_headers_that_are_sent():
    described = DOCUMENT["components"]["responses"]
    for status, headers in answers.HEADERS.items():
        assert set(described[str(status)]["headers"]) == set(headers)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("42\n", start_ms=1.5, wall_ms=20.25, cpu_ms=14, memory_kib=9000, kind="reused"),
        Outcome("a", "b", 137, 9, "memory", truncated=("stdout",), kind="fresh"),
        Outcome(reason="timeout", exit_code=None),
    ],
)
def test_answer_matches_its_schema(outcome):
    files = {"a": "data:image/png;base64,AA=="}, [LeftOut("b", "a link")]
    kinds = None, [], [(outcome, 25)] * 2
    reports = [Report([outcome, outcome], runs, *files) for runs in kinds]
    executions = [Execution.of("sh_run_1", report, 25) for report in reports]
    executions.append(replace(executions[0], is_cached=True))
    for each, details, outputs in product(executions, (False, True), (False, True)):
        validate("Execution", each.answer(details, outputs))


def test_refusal_matches_its_schema():
    validate("Refusal", Execution("-", stderr="busy: try again later").answer())
    failed = Execution.failed("sh_run_1", "the daemon is gone", 0)
    for details, outputs in product((False, True), repeat=2):
        validate("Refusal", failed.answer(details, outputs))


def test_sandboxes_match_their_schema():
    steps = (Step(box="sh"),)
    commands = {"sh": {"run": Command(entry="a", steps=steps, cache=1.5)}, "web": {}}
    config = {"commands": commands, "titles": {"sh": "Shell"}, "starters": {"sh": "true"}}
    validate("Sandboxes", app(**config).test_client().get("/v1/sandboxes").json)


GOOD = {"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"version": None, "details": None, "stdin": None, "args": None, "runs": None},
        {"outputs": None},
        {"details": True, "outputs": True, "other": 1},
        {"stdin": "data:,1", "args": ["", "-x"]},
        {"runs": [{}, {"stdin": None, "args": None}, {"stdin": "1", "args": ["2"], "x": 1}]},
        {"runs": [{}], "stdin": "", "args": []},
        {"runs": None, "stdin": "1"},
    ],
)
def test_valid_request_matches_its_schema(more):
    validate("Request", {**GOOD, **more})


@pytest.mark.parametrize(
    "more",
    [
        *(
            {"files": {"": " "}},
            {"files": {}},
            {"files": {"": 1}},
            {"version": 1},
            {"outputs": ["a"]},
        ),
        *({"stdin": 1}, {"args": "1"}, {"args": [1]}, {"args": ["\0"]}, {"args": [""] * 65}),
        *({"runs": runs} for runs in ([], [{}] * 33, {}, [None], [{"args": "1"}])),
        *({"runs": [{}], "stdin": "1"}, {"runs": [{}], "args": ["1"]}),
    ],
)
def test_invalid_request_does_not_match_its_schema(more):
    with pytest.raises(jsonschema_rs.ValidationError):
        validate("Request", {**GOOD, **more})


def test_description_is_served():
    answer = app().test_client().get("/v1/openapi.json")
    assert (answer.mimetype, answer.data) == ("application/json", openapi.encoded())
