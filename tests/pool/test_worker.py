"""A worker's clean-up: nothing that it meets ends the worker."""

from __future__ import annotations

import pytest

from codapi_flask.errors import ServerFault
from codapi_flask.models import Job
from codapi_flask.pool import worker

JOB = Job("sh_run_1", "sh", "run", "", {})


class Broken:
    """An engine that cannot clean up."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def clean_up(self) -> None:
        raise self._error


@pytest.mark.parametrize("kind", [ServerFault, OSError, RecursionError, KeyError])
def test_clean_up_error_is_logged_and_passed_over(caplog, kind):
    worker.clean_up(JOB, Broken(kind("x")))
    [record] = caplog.records
    assert record.message.startswith("id=sh_run_1 cannot clean up, the sweeper will")
