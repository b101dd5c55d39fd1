"""Requests: what a client asks for, checked.

Only the web process may import this module: pydantic takes 0.1 s and 8 MiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from codapi_flask.config.problems import join
from codapi_flask.errors import RequestError

EMPTY = {"sandbox": "", "command": "", "files": {}}
"""The required fields of a document that lacks them, as in Codapi."""

MAX_ARGS, MAX_ARGS_SIZE = 64, 8192
"""Limits on a list of args: texts, and bytes of all together in UTF-8."""

MAX_RUNS = 32

TEXTS = {
    "list_type": f"must be a list of 1 to {MAX_RUNS} objects",
    "too_short": f"must be a list of 1 to {MAX_RUNS} objects",
    "too_long": f"must be a list of 1 to {MAX_RUNS} objects",
    "model_type": "must be an object",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
}
"""What a client reads for each of pydantic's error types."""

NULLABLE_STRING: JsonDict = {"type": ["string", "null"]}
NULLABLE_BOOLEAN: JsonDict = {"type": ["boolean", "null"]}
# admission refuses all else as empty
NOT_BLANK: JsonDict = {
    "anyOf": [
        {"minProperties": 2},
        {
            "minProperties": 1,
            "additionalProperties": {"type": "string", "pattern": r"[^\s\x1c-\x1f\x85]"},
        },
    ]
}
RUNS_AND_INPUT: JsonDict = {
    "required": ["runs"],
    "properties": {"runs": {"type": "array"}},
    "anyOf": [
        {"required": ["stdin"], "properties": {"stdin": {"type": "string", "minLength": 1}}},
        {"required": ["args"], "properties": {"args": {"type": "array", "minItems": 1}}},
    ],
}


def _check_files(files: object) -> dict[str, str]:
    """Check that all contents are strings: pydantic would take 20 times as long for many files."""
    if not isinstance(files, dict):
        raise PydanticCustomError("files_type", "must be an object of names and texts")
    if not all(isinstance(text, str) for text in files.values()):
        raise PydanticCustomError("content_type", "every file's content must be a string")
    return files


def _check_args(args: object) -> Sequence[str]:
    """Check a list of args; `null` is an empty one."""
    if args is None:
        return ()
    problem = ""
    if not isinstance(args, list) or not all(isinstance(text, str) for text in args):
        problem = "must be a list of strings"
    elif len(args) > MAX_ARGS:
        problem = f"must have at most {MAX_ARGS} texts"
    elif any("\0" in text for text in args):
        problem = "must not contain NUL"
    elif sum(len(text.encode("utf-8", "surrogatepass")) for text in args) > MAX_ARGS_SIZE:
        problem = f"must have at most {MAX_ARGS_SIZE} bytes in UTF-8, all texts together"
    if problem:
        raise PydanticCustomError("args", "{problem}", {"problem": problem})
    return args  # type: ignore[return-value]


Stdin = Annotated[str | None, Field(examples=["1 2\n"])]
Args = Annotated[
    Sequence[str],
    PlainValidator(
        _check_args,
        json_schema_input_type=Annotated[
            list[Annotated[str, Field(pattern=r"^[^\x00]*$")]] | None, Field(max_length=MAX_ARGS)
        ],
    ),
    Field(examples=[["--upper"]]),
]
STRICT = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)


class RunInput(BaseModel):
    """What one of several runs of the command's last step gets."""

    model_config = STRICT

    stdin: Stdin = None
    """The stdin of this run: text, or a data: URL."""

    args: Args = ()
    """Arguments of this run."""


class Request(BaseModel):
    """Which command of which sandbox to run on which files."""

    model_config = STRICT | ConfigDict(json_schema_extra={"not": RUNS_AND_INPUT})

    sandbox: str = Field(examples=["python"])
    """What to use."""

    command: str = Field(examples=["run"])
    """What to do with it."""

    files: Annotated[
        dict[str, str], PlainValidator(_check_files, json_schema_input_type=dict[str, str])
    ] = Field(examples=[{"": "print(42)"}], json_schema_extra=NOT_BLANK)
    """Names and contents (text, or a data: URL as in RFC 2397), in the client's order; the empty
    name is the command's entry file. A single file must not be blank."""

    version: str = Field("", json_schema_extra=NULLABLE_STRING)
    """Version of the boxes; absent or empty: the unversioned ones."""

    details: bool = Field(False, json_schema_extra=NULLABLE_BOOLEAN)
    """Whether the answer has the field `details`."""

    stdin: Stdin = None
    """The stdin of the command's last step: text, or a data: URL. A step that reads the files
    takes none."""

    args: Args = ()
    """Arguments, for the commands whose config has a place for them: up to 8192 bytes in UTF-8,
    all together."""

    runs: Annotated[list[RunInput], Field(min_length=1, max_length=MAX_RUNS)] | None = None
    """Executes the command's last step once for each; not beside `stdin` and `args`."""

    outputs: bool = Field(False, json_schema_extra=NULLABLE_BOOLEAN)
    """Whether the answer has the field `files`: those that the program wrote, as far as the
    command allows that."""

    @classmethod
    def parse(cls, document: object) -> Request:
        """Read a request from a decoded JSON document; unknown fields are ignored.

        An absent field and `null` are empty, as in Codapi.

        Raises:
            RequestError: the document is not an object or a field is of the wrong type.
        """
        if not isinstance(document, dict):
            raise RequestError("malformed", "the request must be a JSON object")
        given = {name: value for name, value in document.items() if value is not None}
        try:
            return cls.model_validate({**EMPTY, **given})
        except ValidationError as error:
            raise RequestError("malformed", _explain(error)) from None


def _explain(error: ValidationError) -> str:
    """Return the first problem, behind its field; the client's text is not repeated."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{join(*first['loc'])}: {TEXTS.get(first['type'], first['msg'])}"
