import logging

import pytest

from codapi_flask.pool.backoff import LONGEST, Backoff


@pytest.fixture
def starts(clock):
    return Backoff("worker", clock)


def test_pauses_double_up_to_the_longest(starts):
    pauses = []
    for _ in range(12):
        starts.failed("exit status 1")
        pauses.append(round(starts.left, 1))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, *[LONGEST] * 3]


def test_pause_is_over_after_its_time(starts, clock):
    assert starts.left == 0
    starts.failed("exit status 1")
    clock.now += 0.11
    assert starts.left == 0


def test_one_failure_is_no_problem_but_two_are(starts):
    starts.failed("exit status 1")
    assert starts.has_failed
    assert starts.problem == ""
    starts.failed("exit status 2")
    assert starts.problem == "a worker cannot start: exit status 2"


def test_success_ends_problem_and_pause(starts):
    for _ in range(9):
        starts.failed("exit status 1")
    starts.worked()
    assert (starts.problem, starts.left, starts.has_failed) == ("", 0, False)
    starts.failed("exit status 1")
    assert starts.left == pytest.approx(0.1)


def test_failures_are_logged_once_a_minute_and_so_is_their_end(starts, clock, caplog):
    caplog.set_level(logging.INFO, "codapi")
    for _ in range(3600):
        clock.now += 1
        starts.failed("exit status 1")
        starts.worked()
    levels = [record.levelno for record in caplog.records]
    assert levels.count(logging.ERROR) == levels.count(logging.INFO) == 60
