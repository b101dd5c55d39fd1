"""Thousands of executions of all kinds, with more clients than workers and with kills."""

from __future__ import annotations

import itertools

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.slow]

MEMORY = 5
"""MiB that a process may grow by, however many executions there are."""

DESCRIPTORS = 8
"""The same for its descriptors."""


def test_every_answer_is_what_its_program_must_print(soak):
    assert soak.load.unexplained() == []


def test_kills_cost_no_more_than_what_the_killed_had_to_do(soak):
    for outcome, most in soak.load.allowed().items():
        assert soak.load.count(outcome) <= most


def test_as_many_programs_run_at_once_as_there_are_workers_and_never_more(soak):
    assert soak.watch.most == soak.load.pool_size


def test_processes_that_live_on_do_not_grow(soak):
    for before, after in itertools.pairwise(soak.states.values()):
        for pid in before.processes.keys() & after.processes:
            old, new = before.processes[pid], after.processes[pid]
            assert new.memory - old.memory < MEMORY, new
            assert new.descriptors - old.descriptors < DESCRIPTORS, new


def test_the_log_tells_of_no_mistake_of_ours(soak):
    assert "Traceback" not in soak.log


def test_nothing_is_left_over(soak):
    assert soak.left == []
