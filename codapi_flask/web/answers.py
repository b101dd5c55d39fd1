"""The form of every answer, and what a refused request reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from werkzeug.http import http_date

from codapi_flask.errors import Kind, RequestError
from codapi_flask.models import INTERNAL_ERROR, STARTING, UNAVAILABLE, Execution

RETRY_AFTER = "1"
"""Seconds after which a refused client may try again; an execution rarely takes longer."""

TEXTS = {
    400: "malformed request: this is not HTTP/1.1, or has bad chunks, or too many, or no end",
    408: "the request did not come in time",
    413: "the request is larger than {max_body} bytes",
    431: "malformed request: the head is too large",
    500: INTERNAL_ERROR,
    503: "too many requests are being sent",
}
"""What a client reads for each status that the transport sends; any path may answer with them."""

BUSY = "busy: try again later"

MEANINGS = {
    200: "The command was executed, or the sandbox has nothing to execute it with.",
    304: "The answer is still that of the client's If-None-Match.",
    400: "The request is malformed or empty, two of its names are one file's, or it asks for what"
    " the command does not allow.",
    401: "The server has tokens, and the request has none of them.",
    404: "The path, the sandbox or the command is unknown.",
    405: "The path does not support the method.",
    408: "The request did not come in time.",
    413: "The body is too large.",
    415: "The body is not JSON by its media type, or is compressed.",
    429: "All workers are busy.",
    431: "The head is too large.",
    500: "The server failed; the cause is in its log.",
    503: "Docker is down, a service is starting, or too many requests are being sent.",
}
"""When a client gets each status: all that the server sends."""

STATUSES: dict[Kind, int] = {
    "no box": 200,  # the sandbox's answer, not an error, as in Codapi
    "malformed": 400,
    "unauthorized": 401,
    "unknown": 404,
    "too large": 413,
    "unsupported": 415,
    "busy": 429,
}
"""What a client gets for each mistake in its request."""

FAULTS = {INTERNAL_ERROR: 500, STARTING: 503, UNAVAILABLE: 503}
"""What a client gets for each fault of the server, by its text; a missing image is 200."""

HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": RETRY_AFTER},
    503: {"Retry-After": RETRY_AFTER},
}
"""What an answer's head says beyond its status."""


def busy(id: str) -> RequestError:
    """Return the refusal of a job that no worker is idle for."""
    return RequestError("busy", BUSY, id)


def too_large(max_body: int) -> RequestError:
    """Return the refusal of a body of more than `max_body` bytes."""
    return RequestError("too large", TEXTS[413].format(max_body=max_body))


def refusal(error: RequestError) -> Execution:
    """Return the answer to a refused request."""
    return Execution(error.id, stderr=error.text)


def encode(status: int, execution: Execution, headers: Mapping[str, str]) -> bytes:
    """Return a whole HTTP answer, as it is sent."""
    content = json.dumps(execution.answer())
    fields = {
        "Date": http_date(),
        **HEADERS.get(status, {}),
        **headers,
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return "\r\n".join([head, *lines, "", content]).encode()
