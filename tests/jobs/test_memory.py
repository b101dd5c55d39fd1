import tracemalloc
from dataclasses import replace

import pytest

from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.jobs.memory import ENTRY_SIZE, Key, Keys, Memory
from codapi_flask.models import Execution, Input, Job, LeftOut, Outcome, Report

JOB = Job("sh_run_1", "sh", "run", "", {"": "echo hello", "a": "1"})
STEPS = (Step(box="sh"), Step(box="python", version="latest"))
CONFIG = Config(
    boxes={
        name: BoxSpec(name=name, image=f"codapi/{name}")
        for name in ("sh", "sh:1", "sh:2", "python")
    },
    commands={
        name: {"run": Command(steps=STEPS, cache=60), "test": Command(steps=STEPS, cache=60)}
        for name in ("sh", "bash")
    },
)
IDS = {f"codapi/{name}": f"sha256:{name}" for name in CONFIG.boxes}


def digest(job, ids=IDS):
    key = Keys(CONFIG, lambda: ids).of(job)
    return key and key.digest


@pytest.mark.parametrize(
    "fields",
    [
        {"sandbox": "bash"},
        {"command": "test"},
        {"version": "1"},
        {"files": {"": "echo hello"}},
        {"files": {"": "echo hello", "a": "2"}},
        {"files": {"": "echo hello", "b": "1"}},
        {"files": {"a": "1", "": "echo hello"}},
        {"files": {"": "echo hello\ud800", "a": "1"}},
        {"input": Input(b"x")},
        {"input": Input(args=("x",))},
        {"runs": (Input(),)},
        {"runs": (Input(), Input())},
        {"outputs": True},
    ],
)
def test_job_that_differs_has_another_key(fields):
    assert digest(replace(JOB, **fields)) not in (digest(JOB), None)


@pytest.mark.parametrize("fields", [{"id": "sh_run_2"}, {"is_live": True}])
def test_key_does_not_depend_on_what_no_answer_depends_on(fields):
    assert digest(replace(JOB, **fields)) == digest(JOB)


def test_key_depends_on_the_images_of_all_steps_and_no_others():
    for image in ("codapi/sh", "codapi/python"):
        assert digest(JOB, {**IDS, image: "sha256:new"}) != digest(JOB)
    assert digest(JOB, {**IDS, "codapi/sh:1": "sha256:new"}) == digest(JOB)
    versioned = replace(JOB, version="1")
    assert digest(versioned, {**IDS, "codapi/sh:1": "sha256:new"}) != digest(versioned)


@pytest.mark.parametrize("missing", ["codapi/sh", "codapi/python"])
def test_job_with_an_unknown_image_has_no_key(missing):
    assert digest(JOB, {name: id for name, id in IDS.items() if name != missing}) is None


def test_job_without_a_cache_has_no_key():
    steps = {"run": Command(steps=STEPS)}
    assert Keys(replace(CONFIG, commands={"sh": steps}), lambda: IDS).of(JOB) is None
    assert Keys(replace(CONFIG, cache_size=0), lambda: IDS).of(JOB) is None


def key(name, lifetime=60):
    return Key(name.encode(), frozenset(["sha256:sh"]), lifetime)


def execution(text="hello\n", image="sha256:sh"):
    return Execution("1", True, 5, text, steps=(Outcome(text, image=image),))


OLD = Outcome(image="sha256:old")
CUT = Outcome(truncated=("stdout",), image="sha256:sh")


@pytest.mark.parametrize(
    "fields",
    [
        {"ok": False},
        {"fault": "the disk is full"},
        {"steps": (CUT, Outcome(image="sha256:sh"))},
        {"steps": (OLD, Outcome(image="sha256:sh"))},
        {"steps": (Outcome(),)},
        {"results": (execution(), Execution("1", True, steps=(CUT,)))},
        {"results": (Execution("1", True, steps=(OLD,)), execution())},
        {"left_out": (LeftOut("a.png", "a link"),)},
    ],
)
def test_execution_that_is_not_worth_it_is_not_remembered(fields):
    found = Memory(1 << 20)
    found.remember(key("a"), replace(execution(), **fields))
    assert key("a") not in found


def test_remembered_execution_is_whole():
    found, results = Memory(1 << 20), (execution("a"), execution("b"))
    whole = replace(execution(), results=results, files={"a.png": "data:,a"})
    found.remember(key("a"), whole)
    assert found.find(key("a")) == whole


def test_entry_ends_with_its_time(clock):
    found = Memory(1 << 20, clock)
    found.remember(key("short", 5), execution())
    found.remember(key("long", 10), execution())
    clock.now += 4.9
    assert found.find(key("short")) == execution()
    clock.now += 0.2
    assert key("short") not in found
    assert found.find(key("short")) is None
    assert key("long") in found
    clock.now += 5
    assert found.usage() == (0, 0)


def test_least_recently_used_entry_makes_room():
    found = Memory(3 * (ENTRY_SIZE + 5500))
    for name in "abc":
        found.remember(key(name), execution(name * 5000))
    assert found.find(key("a"))
    found.remember(key("d"), execution("d" * 5000))
    assert [name for name in "abcd" if key(name) in found] == ["a", "c", "d"]


def test_entry_larger_than_the_memory_is_not_stored():
    found = Memory(20_000)
    found.remember(key("small"), execution())
    found.remember(key("large"), execution("x" * 20_000))
    assert key("large") not in found
    assert key("small") in found


@pytest.mark.parametrize(
    "text", ["x" * 500, "é" * 500, "\U0001f600" * 500, "x" * 499 + "\U0001f600"]
)
def test_size_of_entries_is_what_they_take(text):
    found = Memory(64 << 20)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2000):
            found.remember(key(f"{number:032}"), execution(text))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    count, size = found.usage()
    assert count == 2000
    assert taken == pytest.approx(size, rel=0.15)


def test_execution_with_runs_is_remembered_if_all_are_complete_and_current():
    good = Outcome("hello\n", image="sha256:sh")
    cases = {
        "good": [good, good],
        "cut": [replace(good, truncated=("stdout",)), good],
        "outdated": [replace(good, image="sha256:old"), good],
    }
    found = Memory(1 << 20)
    for name, outcomes in cases.items():
        runs = [(outcome, 5) for outcome in outcomes]
        found.remember(key(name), Execution.of("1", Report([good], runs), 10))
    assert [name for name in cases if key(name) in found] == ["good"]
    assert found.find(key("good")).results is not None
