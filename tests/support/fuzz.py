"""The parts of hostile requests, and the properties of every answer."""

from __future__ import annotations

import json
import os

from hypothesis import settings

from tests.support.server import Answer

FUZZ = settings(max_examples=int(os.environ.get("CODAPI_FUZZ_EXAMPLES", "60")), deadline=None)
"""The number of random examples; `make fuzz` raises it."""

GOOD = {"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}
FIELDS = {"id": str, "ok": bool, "duration": int, "stdout": str, "stderr": str}
OPTIONAL = {"details": dict, "files": dict, "results": list}
ANSWER_MAX = 200_000
"""Bytes of the largest answer: the system buffers it, so no thread waits for its reader."""


def check(answer: Answer) -> tuple[int, str]:
    """Check the properties of any answer to `POST /v1/exec`; return status and stderr."""
    body = answer.json()
    more = OPTIONAL.keys() & body.keys()
    expected = {name: OPTIONAL[name] for name in more}
    assert {name: type(value) for name, value in body.items()} == FIELDS | expected
    for result in body.get("results", ()):
        fields = {name: type(value) for name, value in result.items() if name != "details"}
        assert {"id": str} | fields == FIELDS
    assert answer.status in (200, 400, 401, 404, 405, 408, 413, 415, 429, 431)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert len(answer.body) <= ANSWER_MAX
    assert "Traceback" not in body["stderr"]
    return answer.status, body["stderr"]


def encode(document: object) -> bytes:
    """Return a document as the body of a request."""
    return json.dumps(document).encode()
