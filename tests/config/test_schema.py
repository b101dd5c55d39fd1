import subprocess
import sys

import json5
import pytest
from jsonschema_rs import Draft202012Validator

from codapi_flask.config import schema
from tests.support.server import REPOSITORY

VALIDATORS = {
    name: Draft202012Validator(document) for name, document in schema.json_schemas().items()
}
DOCS = REPOSITORY / "docs/schema"
OBJECTS = [schema.TOP, schema.BOX, schema.STEP, schema.COMMAND]
OBJECTS += [schema.HTTP, schema.AUTH, schema.CORS, schema.DOCKER]


def test_process_without_a_config_does_not_import_pydantic():
    code = """
import sys, codapi_flask.pool.worker, codapi_flask.stock.keeper
print([name for name in sys.modules if name.startswith("pydantic")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# JSON Schemas


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("config", "config.json"), ("boxes", "boxes.json"), ("commands", "commands/*.json")],
)
def test_json_schemas_accept_the_repositorys_configs(kind, pattern):
    files = list((REPOSITORY / "configs").glob(pattern))
    assert files
    for file in files:
        VALIDATORS[kind].validate(json5.loads(file.read_text()))


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("config", {"pool_size": None, "auth": {"tokens": ["a"]}, "box": {"cap_drop": []}}),
        ("config", {"pool_size": 0, "step": {"timeout": 0, "user": ""}, "docker": {"bin": ""}}),
        ("box", {"env": {"TZ": "UTC", "_": ""}}),
        ("box", {"image": "codapi/sh", "cpu": 2, "ulimit": ["nofile=96:128"]}),
        ("commands", {"run": {"engine": "http"}, "test": {"before": {"box": "a"}}}),
        ("commands", {"title": "Shell", "run": {"engine": "http", "cache": 0}}),
        ("commands", {"title": None}),
        ("commands", {"title": {"engine": "http"}}),
    ],
)
def test_json_schemas_accept_valid_documents(kind, document):
    assert VALIDATORS[kind].is_valid(document)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("config", {"pool_sizes": 1}),
        ("config", {"pool_size": -1}),
        ("config", {"max_body": 0}),
        ("box", {"seccomp": ""}),
        ("box", {"cpu": ""}),
        ("config", {"step": {"tiemout": 1}}),
        ("config", {"auth": {"tokens": ["a b"]}}),
        ("config", {"http": {"hosts": {"a": "http://b"}}}),
        ("box", {"image": "Python"}),
        ("box", {"init": "yes"}),
        ("box", {"env": {"A": 1}}),
        ("box", {"env": {"A B": "1"}}),
        ("boxes", {"sh": {"ulimit": ["nofiles=1"]}}),
        ("boxes", {"sh": []}),
        ("commands", {"run": {"engine": "podman"}}),
        ("commands", {"titel": "Shell"}),
        ("commands", {"title": 5}),
        ("commands", {"title": {"engine": "podman"}}),
        ("commands", {"run": {"steps": [{"box": "sh", "command": "sh main.sh"}]}}),
    ],
)
def test_json_schemas_refuse_invalid_documents(kind, document):
    assert not VALIDATORS[kind].is_valid(document)


@pytest.mark.parametrize("model", OBJECTS, ids=lambda model: model.__name__)
def test_json_schemas_describe_each_key_and_have_valid_defaults(model):
    document = model.model_json_schema()
    properties = document["properties"]
    assert properties.keys() == model.model_fields.keys()
    assert all(key["description"] for key in properties.values())
    defaults = {name: key["default"] for name, key in properties.items()}
    Draft202012Validator(document).validate(defaults)


# check


def test_check_returns_valid_values_beside_the_errors():
    given = {
        "engine": "podman",
        "entry": "main.sh",
        "before": {"box": "a", "command": ["b", 1, 2], "timeout": 3},
        "steps": [{"box": "a", "detach": None, "noutput": "1"}, {"usr": "x"}],
        "after": [],
    }
    right, wrong = schema.check(schema.COMMAND, given)
    assert right == {
        "entry": "main.sh",
        "before": {"box": "a", "timeout": 3},
        "steps": ({"box": "a"}, {}),
    }
    assert [key for key, _ in wrong] == [
        "engine",
        "before.command[1]",
        "before.command[2]",
        "steps[0].noutput",
        "steps[1].usr",
        "after",
    ]


def test_check_list_with_an_invalid_item_is_invalid_as_a_whole():
    given = {"steps": [{"timeout": -1}, "sh", {"box": "a"}, 5]}
    right, wrong = schema.check(schema.COMMAND, given)
    assert right == {}
    assert [key for key, _ in wrong] == ["steps[0].timeout", "steps[1]", "steps[3]"]


@pytest.mark.parametrize("given", [None, 5, "x", [], [{}]])
def test_check_value_that_is_no_object_is_one_error(given):
    right, [(key, text)] = schema.check(schema.BOX, given)
    assert (right, key, text[:23]) == ({}, "", "must be an object, not ")


@pytest.mark.parametrize(
    ("model", "given", "known"),
    [
        (schema.TOP, {"x": None}, schema.TOP),
        (schema.TOP, {"step": {"x": 1}}, schema.STEP),
        (schema.TOP, {"http": {"x": 1}}, schema.HTTP),
        (schema.COMMAND, {"before": {"x": 1}}, schema.STEP),
        (schema.COMMAND, {"steps": [{}, {"x": 1}]}, schema.STEP),
    ],
)
def test_check_unknown_key_error_names_the_keys_of_its_object(model, given, known):
    _, [(_, text)] = schema.check(model, given)
    assert text == "unknown key; known are " + ", ".join(known.model_fields)


@pytest.mark.parametrize(
    "auth",
    [
        "s3cret",
        ["s3cret"],
        {"tokens": "s3cret"},
        {"tokens": ["s3cret of two words", "fine"]},
        {"tokens": [["s3cret"]]},
        {"tokens_file": ["s3cret"]},
        {"token": "s3cret"},
    ],
)
def test_check_errors_below_auth_show_no_token(auth):
    _, [(key, text)] = schema.check(schema.TOP, {"auth": auth})
    assert key.startswith("auth")
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 10**4000]
)
@pytest.mark.parametrize("key", ["cpu", "memory", "uses", "warm"])
def test_check_huge_and_infinite_numbers_are_refused(key, number):
    right, [(place, text)] = schema.check(schema.BOX, {key: number})
    assert (right, place) == ({}, key)
    assert text.startswith("must be a")
    assert len(text) < 200


def test_schemas_in_the_docs_are_those_of_the_models():
    """`make schemas` writes them."""
    found = {path.stem: json5.loads(path.read_text()) for path in DOCS.glob("*.json")}
    assert found == schema.json_schemas()


@pytest.mark.parametrize("kind", VALIDATORS)
def test_document_may_name_its_schema(kind):
    assert VALIDATORS[kind].is_valid({"$schema": "schema.json"})
