import pytest

from codapi_flask.errors import ConfigError, FileError, RequestError


def test_config_error_lists_one_problem_per_line():
    error = ConfigError(f"a.json: x{i}: wrong" for i in range(3))
    assert str(error).splitlines() == error.problems == [f"a.json: x{i}: wrong" for i in range(3)]


def test_request_error_id_defaults_to_a_dash():
    assert RequestError("unknown", "unknown sandbox").id == "-"
    assert RequestError("busy", "busy", "sh_run_1").id == "sh_run_1"


@pytest.mark.parametrize(
    ("name", "shown"), [("../x", "../x"), ("y" * 100, "y" * 100), ("y" * 101, "y" * 100 + "…")]
)
def test_file_error_shortens_a_long_name(name, shown):
    assert str(FileError(name, "invalid name")) == f"files[{shown}]: invalid name"
