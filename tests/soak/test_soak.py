"""Thousands of executions of all kinds, with more clients than workers and with kills."""

from __future__ import annotations

import itertools

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.slow]

MEMORY = 5
"""MiB that a process may grow by, however many executions there are."""

DESCRIPTORS = 8
"""Descriptors that a process may gain, however many executions there are."""


def test_answers_match_their_programs(soak):
    assert soak.load.unexplained() == []


def test_kills_fail_no_more_jobs_than_they_may(soak):
    for outcome, most in soak.load.allowed().items():
        assert soak.load.count(outcome) <= most


def test_most_concurrent_programs_equal_the_pool_size(soak):
    assert soak.watch.most == soak.load.pool_size


def test_surviving_processes_do_not_grow(soak):
    for before, after in itertools.pairwise(soak.states.values()):
        for pid in before.processes.keys() & after.processes:
            old, new = before.processes[pid], after.processes[pid]
            assert new.memory - old.memory < MEMORY, new
            assert new.descriptors - old.descriptors < DESCRIPTORS, new


def test_log_holds_no_traceback(soak):
    assert "Traceback" not in soak.log


def test_server_leaves_nothing(soak):
    assert soak.left == []
