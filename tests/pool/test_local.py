"""LocalRun with a fake engine: results, errors and cleanup, without Docker."""

from __future__ import annotations

import pytest

from codapi_flask.config.model import Command
from codapi_flask.errors import Abandoned, Cancelled, FileError, NoImage, ServerFault
from codapi_flask.models import Job, Outcome, Report
from codapi_flask.pool.local import LocalRun

JOB = Job("sh_run_1", "sh", "run", "", {})


class FakeEngine:
    """An engine with a given result and, if set, a given cleanup error."""

    def __init__(self, result=None, cleanup=None):
        self._result, self._cleanup = result or Outcome("hello"), cleanup
        self.cleanups = 0

    def execute(self, job, command):
        if isinstance(self._result, Exception):
            raise self._result
        return Report([self._result])

    def is_over(self):
        return True

    def is_clean(self):
        return False

    def clean_up(self):
        self.cleanups += 1
        if self._cleanup:
            raise self._cleanup


class Ended:
    """An executor whose runs cannot be cancelled."""

    def end(self, run):
        pass


def run_of(engine):
    return LocalRun(JOB, Command(), engine, Ended())


def test_run_yields_the_execution_before_the_cleanup():
    engine = FakeEngine()
    events = iter(run_of(engine))
    assert next(events).stdout == "hello"
    assert engine.cleanups == 0
    assert list(events) == []
    assert engine.cleanups == 1


@pytest.mark.parametrize(
    ("error", "stderr", "fault"),
    [
        (FileError("a", "invalid name"), "files[a]: invalid name", ""),
        (ServerFault("no image"), "internal error", "no image"),
        (
            NoImage("codapi/go", "go"),
            "sandbox sh is not installed: make images NAMES=go",
            "no image codapi/go for the box go: build or pull it",
        ),
        (OSError(28, "disk full"), "internal error", "[Errno 28] disk full"),
        (Cancelled(), "cancelled", ""),
    ],
)
def test_run_error_becomes_fields_of_the_execution(error, stderr, fault):
    engine = FakeEngine(error)
    [execution] = run_of(engine)
    assert (execution.ok, execution.stderr, execution.fault) == (False, stderr, fault)
    assert engine.cleanups == 1


def test_run_unknown_error_appears_only_in_the_fault():
    [execution] = run_of(FakeEngine(KeyError("x")))
    assert execution.stderr == "internal error"
    assert "KeyError: 'x'" in execution.fault


def test_abandoned_run_yields_nothing_and_cleans_up():
    engine = FakeEngine(Abandoned())
    with pytest.raises(Abandoned):
        list(run_of(engine))
    assert engine.cleanups == 1


@pytest.mark.parametrize("kind", [ServerFault, OSError, RecursionError, KeyError])
def test_cleanup_error_is_logged_and_ignored(caplog, kind):
    [execution] = run_of(FakeEngine(cleanup=kind("x")))
    assert execution.ok
    [record] = caplog.records
    assert record.message.startswith("id=sh_run_1 cannot clean up, the sweeper will")
