import pytest

from codapi_flask.errors import ConfigError, FileError, RequestError


def test_a_config_error_lists_all_problems_a_line_each():
    error = ConfigError(f"a.json: x{i}: wrong" for i in range(3))
    assert str(error).splitlines() == error.problems == [f"a.json: x{i}: wrong" for i in range(3)]


def test_a_request_error_has_no_id_unless_it_is_given_one():
    assert RequestError(404, "unknown sandbox").id == "-"
    assert RequestError(429, "busy", "sh_run_1").id == "sh_run_1"


@pytest.mark.parametrize(
    ("name", "shown"), [("../x", "../x"), ("y" * 100, "y" * 100), ("y" * 101, "y" * 100 + "…")]
)
def test_a_file_error_names_the_file_but_not_at_any_length(name, shown):
    assert str(FileError(name, "invalid name")) == f"files[{shown}]: invalid name"
