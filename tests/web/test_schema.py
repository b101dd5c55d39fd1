import pytest

from codapi_flask.config.schema import json_schemas
from tests.web.test_openapi import app


@pytest.mark.parametrize("kind", json_schemas())
def test_schema_of_each_kind_of_file_is_served(kind):
    answer = app().test_client().get(f"/v1/schema/{kind}.json")
    assert (answer.status_code, answer.json) == (200, json_schemas()[kind])


def test_unknown_schema_is_not_found():
    assert app().test_client().get("/v1/schema/nothing.json").status_code == 404
