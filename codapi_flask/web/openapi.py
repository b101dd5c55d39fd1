"""The API's description: an OpenAPI 3.1 document, made from the models and tables of the code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import TypeAdapter

from codapi_flask.config.offers import Offer, Sandbox
from codapi_flask.config.schema import json_schemas
from codapi_flask.jobs.request import Request
from codapi_flask.models import Execution, LeftOut, Outcome
from codapi_flask.web import answers, live
from codapi_flask.web.api import OPEN

Object = dict[str, Any]

INFO = {
    "title": "codapi_flask",
    "version": "1",
    "description": "Runs code snippets in isolated containers and returns what they print."
    " An unknown path is answered with 404, an unsupported method with 405.",
}

ETAG = {"ETag": {"schema": {"type": "string"}}}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
}
KIND = {
    "name": "kind",
    "in": "path",
    "required": True,
    "schema": {"enum": sorted(json_schemas())},
}
READY = {"name": "ready", "in": "query", "required": False, "schema": {"type": "string"}}

EVENTS: Object = {
    live.MEDIA_TYPE: {
        "schema": {
            "type": "string",
            "description": "Events progress, stdout and stderr while the command runs, each with"
            " its step; the last, result, is the Execution.",
        }
    }
}
"""The answer to a client that accepts a stream of events."""

NOTES: dict[str, Object] = {
    "duration": {"minimum": 0, "description": "Milliseconds."},
    "files": {
        "additionalProperties": {"type": "string", "pattern": "^data:[^;,]+;base64,"},
        "description": "What the programs wrote, as data: URLs by name; if the request asks for"
        " `outputs`.",
    },
    "memory_kib": {"description": "Largest resident set of one process."},
    "is_cached": {"description": "Whether the answer is that of an earlier, equal request."},
}
"""What the schema of an answer's field has beyond its type."""


@cache
def encoded() -> bytes:
    """Return the document as JSON."""
    refused = [status for status in answers.MEANINGS if status >= 400]
    refusals = {str(status): _refusal(status) for status in refused}
    components = {
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        "responses": refusals,
        "schemas": _schemas(),
    }
    document = {"openapi": "3.1.0", "info": INFO, "paths": _paths(), "components": components}
    return json.dumps(document).encode()


def _paths() -> Object:
    health, refusal = _ref("schemas/Health"), _ref("schemas/Refusal")
    executed = _json(_ref("schemas/Execution"))
    return {
        "/v1/exec": {
            "post": {
                "summary": "Run a command of a sandbox",
                "requestBody": {"required": True, "content": _json(_ref("schemas/Request"))},
                **_operation(
                    "api.exec",
                    {200: _response(answers.MEANINGS[200], {**executed, **EVENTS})},
                    answers.MEANINGS.keys() - {200, 304, 405},
                ),
            }
        },
        "/v1/sandboxes": {
            "get": {
                "summary": "What a client may use",
                "parameters": [IF_NONE_MATCH],
                **_operation(
                    "sandboxes.show",
                    {
                        200: {
                            **_response("The sandboxes.", _json(_ref("schemas/Sandboxes"))),
                            "headers": ETAG,
                        },
                        304: {"description": answers.MEANINGS[304], "headers": ETAG},
                    },
                ),
            }
        },
        "/v1/health": {
            "get": {
                "summary": "Whether the server answers; with ready=1, whether executions can work",
                "parameters": [READY],
                **_operation(
                    "ops.health",
                    {
                        200: _response("The server answers.", _json(health)),
                        # the second is the transport's
                        503: _response(
                            f"Executions cannot work. Or: {answers.MEANINGS[503]}",
                            _json({"anyOf": [health, refusal]}),
                        ),
                    },
                ),
            }
        },
        "/v1/openapi.json": {
            "get": {
                "summary": "This document",
                **_operation(
                    "ops.describe", {200: _response("The document.", _json({"type": "object"}))}
                ),
            }
        },
        "/v1/schema/{kind}.json": {
            "get": {
                "summary": "The JSON Schema of a kind of config file",
                "parameters": [KIND],
                **_operation(
                    "ops.show_schema",
                    {200: _response("The schema.", {"application/schema+json": {}})},
                    [404],
                ),
            }
        },
        "/metrics": {
            "get": {
                "summary": "The metrics, in the text format of Prometheus",
                **_operation(
                    "ops.show_metrics",
                    {200: _response("The metrics.", {CONTENT_TYPE_LATEST: {}})},
                ),
            }
        },
    }


def _operation(
    endpoint: str, responses: Mapping[int, Object], refusals: Iterable[int] = ()
) -> Object:
    """Return what a route needs and answers.

    `refusals` are statuses beyond those of the transport, and beyond 401 where a token is needed.
    """
    is_open = endpoint in OPEN
    refused = {*answers.TEXTS, *refusals, *([] if is_open else [401])}
    all = {status: _ref(f"responses/{status}") for status in refused} | dict(responses)
    return {
        "operationId": endpoint.partition(".")[2],
        "security": [] if is_open else [{}, {"token": []}],
        "responses": {str(status): all[status] for status in sorted(all)},
    }


def _refusal(status: int) -> Object:
    headers = {
        name: {"schema": {"type": "integer" if value.isdigit() else "string"}, "example": value}
        for name, value in answers.HEADERS.get(status, {}).items()
    }
    refusal = _response(answers.MEANINGS[status], _json(_ref("schemas/Refusal")))
    return {**refusal, "headers": headers} if headers else refusal


def _response(description: str, content: Object) -> Object:
    return {"description": description, "content": content}


def _json(schema: Object) -> Object:
    return {"application/json": {"schema": schema}}


def _ref(component: str) -> Object:
    return {"$ref": f"#/components/{component}"}


def _schemas() -> Object:
    request = Request.model_json_schema(ref_template="#/components/schemas/{model}")
    answer = _fields(Execution, Execution("-").answer())
    asked = {**_fields(Execution, ["files"]), "details": _ref("schemas/Details")}
    run = {name: schema for name, schema in answer.items() if name != "id"}
    results = {"results": {"type": "array", "items": _ref("schemas/Result")}}
    nothing = {"ok": {"const": False}, "stdout": {"const": ""}}
    reason = {"stderr": {"type": "string", "minLength": 1}}
    step = _fields(Outcome, Outcome().details())
    step["box"] = _fields(Outcome, ["kind"])["kind"]
    step["truncated"] = _object({name: {"type": "boolean"} for name in ("stdout", "stderr")})
    cached = {"cached": _fields(Execution, ["is_cached"])["is_cached"]}
    steps, left_out = {"steps": _list("Outcome")}, {"files_left_out": _list("LeftOut")}
    return {
        **request.pop("$defs"),
        "Request": request,
        "Execution": _object(answer, asked | results),
        "Result": _object(run, {"details": _ref("schemas/Outcome")}),
        "Refusal": _object({**answer, **nothing, **reason}, asked),
        "Details": _object({**step, **cached, **steps}, left_out),
        "Outcome": _object(step),
        "LeftOut": _object(_fields(LeftOut, [field.name for field in fields(LeftOut)])),
        "Health": _object({"status": {"type": "string"}}),
        "Sandboxes": _object({"sandboxes": _list("Sandbox")}),
        "Sandbox": _object({**_fields(Sandbox, _names(Sandbox)), "commands": _list("Command")}),
        "Command": _object(_fields(Offer, _names(Offer))),
    }


def _fields(model: type, names: Iterable[str]) -> Object:
    """Return the schemas of a model's fields, without what only concerns its constructor."""
    schema = TypeAdapter(model).json_schema()
    # a model with a field of its own type is a reference
    schemas = schema.get("$defs", {}).get(model.__name__, schema)["properties"]
    for schema in schemas.values():
        del schema["title"]
        schema.pop("default", None)
    return {name: {**schemas[name], **NOTES.get(name, {})} for name in names}


def _names(model: type) -> list[str]:
    return [field.name for field in fields(model)]


def _list(component: str) -> Object:
    return {"type": "array", "items": _ref(f"schemas/{component}")}


def _object(required: Object, optional: Object | None = None) -> Object:
    return {
        "type": "object",
        "required": [*required],
        "additionalProperties": False,
        "properties": {**required, **(optional or {})},
    }
