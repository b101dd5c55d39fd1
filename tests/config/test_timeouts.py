"""The deadlines that follow from the config's `start_timeout`."""

import json
from dataclasses import asdict

import pytest

from codapi_flask.config.load import load_config
from codapi_flask.config.model import Command, Step
from codapi_flask.config.timeouts import VARIABLE, Timeouts

FIXED = {"heartbeat", "http", "reset", "send"}
"""What depends on clients and on other hosts, or only costs speed."""


def test_default_start_timeout_gives_the_default_timeouts(root):
    assert load_config(root()).timeouts == Timeouts()


def test_deadlines_follow_a_long_start_timeout(root):
    slow, usual = asdict(load_config(root(start_timeout=60)).timeouts), asdict(Timeouts())
    assert slow["box"] == slow["call"] == slow["margin"] == 60
    for name, seconds in usual.items():
        assert (slow[name] > 3 * seconds) is (name not in FIXED)


def test_short_start_timeout_shortens_nothing_else(root):
    quick, usual = asdict(load_config(root(start_timeout=2)).timeouts), asdict(Timeouts())
    assert quick.pop("box") == 2
    del usual["box"]
    assert quick == usual


def test_slow_start_does_not_make_a_worker_count_as_hung(root):
    timeouts = load_config(root(start_timeout=60)).timeouts
    # the longest that a step may take: its box's start, its program, its box's removal
    slow = 60 + 5 + timeouts.kill + 60
    assert Command(steps=(Step(box="a", timeout=5),)).time_budget(timeouts) > slow


@pytest.mark.parametrize("start", [1, 10, 60])
def test_environment_of_tests_precedes_the_config(root, monkeypatch, start):
    monkeypatch.setenv(VARIABLE, json.dumps({"box": 3}))
    assert load_config(root(start_timeout=start)).timeouts.box == 3
