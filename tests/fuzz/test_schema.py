"""The API is as its own description says, whatever it is asked."""

from __future__ import annotations

import pytest
import schemathesis

from tests.support.fuzz import FUZZ, GOOD
from tests.support.server import REPOSITORY

pytestmark = pytest.mark.docker

DESCRIPTION = REPOSITORY / "codapi_flask/web/openapi.json"

schema = schemathesis.openapi.from_path(DESCRIPTION)


@schema.hook
def map_body(_, body):
    """Name a command that exists where some command is named: by chance, none would."""
    if not isinstance(body, dict):
        return body
    known = {name: GOOD[name] for name in ("sandbox", "command") if isinstance(body.get(name), str)}
    return {**body, **known}


@schema.parametrize()
@FUZZ
def test_every_answer_is_as_described(case, server):
    case.call_and_validate(base_url=server.url)


def test_the_description_is_served(server):
    assert server.request("GET", "/v1/openapi.json").body == DESCRIPTION.read_bytes()
