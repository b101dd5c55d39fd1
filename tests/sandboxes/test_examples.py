"""Each example of a sandbox is answered as it says (`make sandboxes` tries all of them)."""

from __future__ import annotations

import json
import time

import pytest

from codapi_flask.client.examples import Example
from tests.sandboxes.conftest import OUTCOMES, TIMES, Served
from tests.support.server import Server

pytestmark = [pytest.mark.docker, pytest.mark.slow]

REPEATS = 4
"""Runs of each hello: the first may be cold."""

REFILL = 1.0
"""Seconds until a box waits for the next run."""


def test_example_is_answered_as_it_says(sandboxes: Server, example: Example):
    OUTCOMES[example.sandbox].append(False)
    answer = _exec(sandboxes, example)
    assert [*example.problems(answer)] == [], answer
    if example.name == "hello":
        TIMES[example.sandbox].append(_served(answer))
        for _ in range(REPEATS - 1):
            time.sleep(REFILL)
            TIMES[example.sandbox].append(_served(_exec(sandboxes, example)))
    OUTCOMES[example.sandbox][-1] = True


def _exec(server: Server, example: Example) -> dict:
    body = json.dumps({**example.request, "details": True})
    return server.request("POST", "/v1/exec", body, {"content-type": "application/json"}).json()


def _served(answer: dict) -> Served:
    return Served(answer["details"]["steps"][-1]["box"] or "", answer["duration"])
