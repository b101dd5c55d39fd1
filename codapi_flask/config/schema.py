"""The objects of the config files as pydantic models, which check them and give JSON Schemas.

They are made from the frozen dataclasses of `config.model`: a field with a line of documentation is
a key. Each key may be absent or `null`, as defaults are merged before an object is built; so may
Codapi's own keys be `0` or `""`. Only processes that read config files import this module: pydantic
takes 0.1 s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from codapi_flask.config.model import BoxSpec, Command, Config, Preload, Step
from codapi_flask.config.problems import join, shown
from codapi_flask.config.values import Address, Directory, Origin, Text, Token, Variables, Word

TEXTS = {
    "literal_error": "must be {expected}, not {given}",
    "model_type": "must be an object, not {given}",
    "dict_type": "must be an object, not {given}",
    "tuple_type": "must be a list, not {given}",
}
"""Texts for pydantic's types of errors; other errors bring the messages of `config.values`."""

TITLE = "title"
"""The key beside a sandbox's commands whose text is the sandbox's title."""

SECRETS = "auth"
"""The key of the top file whose values no text shows."""


class _Blank:
    """Reads a blank value, `0` or `""`, as `null`."""

    def __init__(self, value: int | str) -> None:
        self._value = value

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Return the type's schema behind the reading of the blank value."""
        function = {"type": "no-info", "function": self._read}
        return {"type": "function-before", "function": function, "schema": handler(source)}

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Return the type's JSON Schema, which also accepts the blank value."""
        found = handler(schema)
        return {**found, "anyOf": [*found["anyOf"], {"const": self._value}]}

    def _read(self, given: Any) -> Any:
        # `false` equals 0, but is a mistake
        is_blank = given == self._value and not isinstance(given, bool)
        return None if is_blank else given


@dataclass(frozen=True)
class _Key:
    type: Any
    doc: str
    default: Any = None


def _keys_of(spec: type, **types: Any) -> dict[str, _Key]:
    """Return the keys of a dataclass; `types` are those that files have instead of its own."""
    hints = get_type_hints(spec, include_extras=True)
    return {
        field.name: _Key(
            types.get(field.name, hint),
            hint.__metadata__[-1],
            # an empty text stands for an absent one; a type of files has other values
            None if field.name in types or field.default in (MISSING, "") else field.default,
        )
        for field in fields(spec)
        if get_origin(hint := hints[field.name]) is Annotated
    }


def _model(name: str, keys: Mapping[str, _Key], codapis: str = "") -> type[BaseModel]:
    """Return a model; `codapis` are the keys for which Codapi reads `0` or `""` as absent."""

    def type_of(field: str) -> Any:
        hint = keys[field].type
        if field not in codapis.split():
            return hint | None
        is_number = hint.__origin__ in (int, float)
        return Annotated[hint | None, _Blank(0 if is_number else "")]

    definitions: dict[str, Any] = {
        field: (type_of(field), Field(default=key.default, description=key.doc))
        for field, key in keys.items()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid"), **definitions)


PRELOAD = _model("preload", _keys_of(Preload))
BOX = _model(
    "box",
    _keys_of(BoxSpec, env=Variables, preload=PRELOAD),
    codapis="name image runtime cpu memory storage network volume nproc",
)
STEP = _model("step", _keys_of(Step), codapis="box version user action timeout noutput")
STEPS: Any = tuple[STEP, ...]  # type: ignore[valid-type]
COMMAND = _model(
    "command", _keys_of(Command, before=STEP, steps=STEPS, after=STEP), codapis="engine entry"
)
HTTP = _model("http", {"hosts": _Key(dict[str, Address], "hosts of the http engine")})
AUTH = _model(
    "auth",
    {
        "tokens": _Key(tuple[Token, ...], "tokens, one of which every execution needs"),
        "tokens_file": _Key(Word, "a file of tokens, separated by white space"),
    },
)
CORS = _model(
    "cors",
    {"origins": _Key(tuple[Origin, ...], "origins of the pages that may call")},
)
DOCKER = _model(
    "docker",
    {
        "bin": _Key(Text, "ignored: the server runs no Docker command"),
        "tmp": _Key(Directory, "Codapi's name for work_dir"),
    },
    codapis="bin tmp",
)
TOP = _model(
    "config",
    {
        **_keys_of(Config),
        "box": _Key(BOX, "defaults of all boxes"),
        "step": _Key(STEP, "defaults of all steps"),
        "http": _Key(HTTP, "the http engine"),
        "auth": _Key(AUTH, "who may use the server"),
        "cors": _Key(CORS, "which web pages may use the server"),
        "docker": _Key(DOCKER, "Codapi's settings of Docker"),
    },
    codapis="pool_size",
)


@cache
def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of the config files, by kind of file.

    `config` is the top file, `box` a file with one box, `boxes` one with all, `commands` a
    sandbox's.
    """
    kinds: dict[str, Any] = {
        "config": TOP,
        "box": BOX,
        "boxes": dict[str, BOX],  # type: ignore[valid-type]
        "commands": dict[str, COMMAND],  # type: ignore[valid-type]
    }
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schemas = {name: dialect | TypeAdapter(kind).json_schema() for name, kind in kinds.items()}
    for schema in schemas.values():
        own = {"$schema": {"type": "string", "description": "the schema, for editors"}}
        schema["properties"] = own | schema.get("properties", {})
    commands = schemas["commands"]
    title = {"type": ["string", "null"], "description": "the sandbox's title"}
    commands["properties"][TITLE] = {"anyOf": [title, commands["additionalProperties"]]}
    return schemas


def check(model: type[BaseModel], given: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the valid values of an object of a config file, and key and text of each error.

    `null` is an absent value, as in Codapi, and so is what Codapi reads as one. A list with an
    invalid item is invalid as a whole. Invalid values are deleted from `given`.
    """
    wrong = []
    try:
        right = model.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        wrong = [(join(*each["loc"]), _text(model, each)) for each in errors]
        # inner values first: their places lead through outer ones
        for place in sorted((each["loc"] for each in errors), key=len, reverse=True):
            _delete(given, place)
        right = model.model_validate(given if isinstance(given, dict) else {})
    return right.model_dump(exclude_unset=True, exclude_none=True), wrong


def _text(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        return "unknown key; known are " + ", ".join(_object_at(model, place[:-1]).model_fields)
    text = TEXTS.get(error["type"], "{message}, not {given}")
    if model is TOP and place[:1] == (SECRETS,):
        text = text.removesuffix(", not {given}")
    values = error.get("ctx", {})
    return text.format(message=error["msg"], given=shown(error["input"]), **values)


def _object_at(hint: Any, place: Sequence[str | int]) -> type[BaseModel]:
    """Return the model of the object at a place inside of what `hint` is the type of."""
    while not (isinstance(hint, type) and issubclass(hint, BaseModel)):
        # of `X | None`, `tuple[X, ...]`, `Annotated[X, ...]`
        hint = get_args(hint)[0]
    keys = [part for part in place if isinstance(part, str)]
    return _object_at(hint.model_fields[keys[0]].annotation, keys[1:]) if keys else hint


def _delete(given: Any, place: Sequence[str | int]) -> None:
    """Delete the innermost key that leads to a place."""
    depths = [depth for depth, part in enumerate(place) if isinstance(part, str)]
    if depths:
        for part in place[: depths[-1]]:
            given = given[part]
        given.pop(place[depths[-1]], None)


if __name__ == "__main__":
    # make schemas: writes them into a folder
    for kind, document in json_schemas().items():
        text = json.dumps(document, indent=2) + "\n"
        (Path(sys.argv[1]) / f"{kind}.json").write_text(text)
