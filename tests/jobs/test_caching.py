import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.errors import Busy, ServerFault
from codapi_flask.jobs import caching
from codapi_flask.jobs.caching import CachingExecutor
from codapi_flask.jobs.executor import run
from codapi_flask.models import Execution, Job, Outcome, Printed, Report
from tests.support.server import wait_for

STEPS = (Step(box="sh"),)
CONFIG = Config(
    boxes={"sh": BoxSpec(name="sh", image="codapi/sh")},
    commands={"sh": {"run": Command(steps=STEPS), "cached": Command(steps=STEPS, cache=60)}},
)
IDS = {"codapi/sh": "sha256:1"}
PRINTED = Printed(0, "stdout", "hello\n")


def execution(outcome, id=""):
    return Execution.of(id, Report([replace(outcome, image="sha256:1", box="sh")]), 12)


HELLO = execution(Outcome("hello\n"))


class FakeRun:
    """Yields a printed text if its job is live, then waits for its result or for `cancel`."""

    def __init__(self, job, results):
        self.job, self.results = job, results
        self.is_cancelled, self.goes_on = False, threading.Event()
        self.acknowledged = 0

    def __iter__(self):
        if self.job.is_live:
            yield PRINTED
        assert self.goes_on.wait(20)
        if self.is_cancelled:
            yield Execution.cancelled(self.job.id, 0)
        elif isinstance(self.results, Exception):
            raise self.results
        else:
            yield replace(self.results, id=self.job.id)

    def acknowledge(self, size):
        self.acknowledged += size

    def cancel(self):
        self.is_cancelled = True
        self.goes_on.set()


class FakePool:
    """Executes every job with the same result, at once or when the test lets it."""

    def __init__(self):
        self.result, self.waits, self.runs = HELLO, False, []

    def start(self, job):
        started = FakeRun(job, self.result)
        if not self.waits:
            started.goes_on.set()
        self.runs.append(started)
        return started

    def needs_worker(self, job):
        return True


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def ids():
    return dict(IDS)


@pytest.fixture
def executor(pool, ids):
    return CachingExecutor(CONFIG, pool, lambda: ids)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(40) as threads:
        yield threads


def job(id="sh_cached_1", text="echo hello", command="cached", **more):
    return Job(id, "sh", command, "", {"": text}, **more)


def start(threads, executor, given):
    """Iterate over a job's run in a thread; return the run and what it will have yielded."""
    started = executor.start(given)
    return started, threads.submit(list, started)


def start_shared(threads, executor, pool, count=2, **more):
    """Start equal jobs, the first of which leads; return their runs and results."""
    pool.waits = True
    started = [start(threads, executor, job("leader", **more))]
    wait_for(lambda: pool.runs)
    started += [start(threads, executor, job(f"follower_{i}")) for i in range(count - 1)]
    wait_for(lambda: executor.requests["merge"] == count - 1)
    return started


def only(future):
    [found] = future.result(20)
    return found


def test_equal_job_gets_the_remembered_execution(executor, pool):
    first, second = run(executor, job("a")), run(executor, job("b"))
    assert first == replace(HELLO, id="a")
    assert replace(second, duration=0) == replace(HELLO, id="b", duration=0, is_cached=True)
    assert len(pool.runs) == 1
    assert executor.requests == {"hit": 1, "merge": 0, "miss": 1}


def test_command_without_a_cache_is_executed_each_time(executor, pool):
    for id in "ab":
        assert not run(executor, job(id, command="run")).is_cached
    assert len(pool.runs) == 2
    assert executor.requests.total() == 0


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(exit_code=1, reason="exit"),
        Outcome(exit_code=None, reason="timeout"),
        Outcome("hello", truncated=("stdout",)),
        Outcome("hello", truncated=("stderr",)),
    ],
)
def test_failed_or_cut_execution_is_not_remembered(executor, pool, outcome):
    pool.result = execution(outcome)
    for id in "ab":
        assert run(executor, job(id)) == replace(pool.result, id=id)
    assert executor.usage() == (0, 0)


def test_fault_is_not_remembered(executor, pool):
    pool.result = Execution.failed("", "a worker died", 0)
    run(executor, job())
    pool.result = HELLO
    assert run(executor, job()).ok


def test_execution_in_a_replaced_image_is_not_remembered(executor, pool, ids):
    ids["codapi/sh"] = "sha256:2"
    run(executor, job())
    assert executor.usage()[0] == 0


@pytest.mark.parametrize("known", [{}, {"codapi/other": "sha256:1"}])
def test_nothing_is_remembered_or_shared_while_images_are_unknown(executor, pool, ids, known):
    run(executor, job())
    ids.clear()
    ids.update(known)
    for _ in range(2):
        assert not run(executor, job()).is_cached
    assert executor.needs_worker(job())
    assert len(pool.runs) == 3


def test_equal_jobs_wait_for_one_execution(executor, pool, threads):
    started = start_shared(threads, executor, pool, 30)
    pool.runs[0].goes_on.set()
    executions = [only(future) for _, future in started]
    assert len(pool.runs) == 1
    assert len({each.id for each in executions}) == 30
    assert [each.is_cached for each in executions] == [False, *[True] * 29]
    assert {each.stdout for each in executions} == {"hello\n"}
    assert executor.requests == {"hit": 0, "merge": 29, "miss": 1}


def test_failure_is_shared_but_not_remembered(executor, pool, threads):
    pool.result = execution(Outcome(exit_code=3, reason="exit"))
    started = start_shared(threads, executor, pool)
    pool.runs[0].goes_on.set()
    assert {only(future).stderr for _, future in started} == {"exit status 3"}
    assert executor.usage()[0] == 0


@pytest.mark.parametrize("failure", [Busy(), ServerFault("no worker can start")])
def test_jobs_that_share_an_execution_share_its_refusal(executor, pool, threads, failure):
    pool.result = failure
    started = start_shared(threads, executor, pool)
    pool.runs[0].goes_on.set()
    for _, future in started:
        with pytest.raises(type(failure)):
            future.result(20)


def test_refusal_at_the_start_is_shared(executor, pool):
    def refuse(_):
        raise Busy

    pool.start = refuse
    with pytest.raises(Busy):
        run(executor, job())
    assert executor.needs_worker(job())


def test_unexpected_error_ends_all_that_wait(executor, pool, threads):
    pool.result = RuntimeError()
    started = start_shared(threads, executor, pool)
    pool.runs[0].goes_on.set()
    for (_, future), error in zip(started, (RuntimeError, ServerFault), strict=True):
        with pytest.raises(error):
            future.result(20)


# cancelling


def is_cancelled(future):
    return only(future).reason == "cancelled"


def test_cancelled_leader_does_not_end_what_others_wait_for(executor, pool, threads):
    (leader, first), (_, second) = start_shared(threads, executor, pool)
    leader.cancel()
    assert not pool.runs[0].is_cancelled
    pool.runs[0].goes_on.set()
    assert is_cancelled(first)
    assert only(second).stdout == "hello\n"
    # and is remembered
    assert run(executor, job()).is_cached


def test_cancelled_follower_leaves_at_once(executor, pool, threads):
    (_, first), (follower, second) = start_shared(threads, executor, pool)
    follower.cancel()
    assert is_cancelled(second)
    assert not pool.runs[0].is_cancelled
    pool.runs[0].goes_on.set()
    assert only(first).ok


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_execution_ends_once_the_last_that_waits_is_cancelled(executor, pool, threads, order):
    started = start_shared(threads, executor, pool, 3)
    for place in order:
        assert not pool.runs[0].is_cancelled
        started[place][0].cancel()
        # a second time counts no more
        started[place][0].cancel()
    assert pool.runs[0].is_cancelled
    assert all(is_cancelled(future) for _, future in started)


def test_no_job_joins_a_cancelled_execution(executor, pool, threads):
    [(leader, first)] = start_shared(threads, executor, pool, 1)
    pool.runs[0].cancel = lambda: None
    leader.cancel()
    pool.waits = False
    assert run(executor, job()).stdout == "hello\n"
    pool.runs[0].goes_on.set()
    assert is_cancelled(first)


def test_run_cancelled_before_its_iteration_executes_nothing(executor, pool):
    started = executor.start(job())
    started.cancel()
    assert [each.reason for each in started] == ["cancelled"]
    assert pool.runs == []


def test_run_cancelled_while_it_starts_is_cancelled(executor, pool):
    begin = pool.start

    def cancel_meanwhile(given):
        started.cancel()
        return begin(given)

    pool.start, pool.waits = cancel_meanwhile, True
    started = executor.start(job())
    assert [each.reason for each in started] == ["cancelled"]


def test_run_that_has_ended_ignores_a_cancellation(executor, pool):
    started = executor.start(job())
    assert [each.ok for each in started] == [True]
    started.cancel()
    assert run(executor, job()).is_cached


# live jobs


def test_live_run_that_executes_yields_its_events(executor):
    events = list(executor.start(job(is_live=True)))
    assert events == [PRINTED, replace(HELLO, id="sh_cached_1")]


def test_remembered_or_shared_live_run_yields_the_execution_alone(executor, pool, threads):
    (_, leader), (_, follower) = start_shared(threads, executor, pool, is_live=True)
    live = start(threads, executor, job("live", is_live=True))[1]
    wait_for(lambda: executor.requests["merge"] == 2)
    pool.runs[0].goes_on.set()
    assert len(leader.result(20)) == 2
    assert only(follower).is_cached
    assert only(live).is_cached
    assert [each.is_cached for each in executor.start(job(is_live=True))] == [True]


def test_live_run_that_others_may_wait_for_waits_for_no_reader(executor, pool):
    started = executor.start(job(is_live=True))
    assert len(list(started)) == 2
    started.acknowledge(100)
    assert pool.runs[0].acknowledged == len(PRINTED.text)


def test_live_run_whose_reader_leaves_is_executed_for_others(executor, pool, threads):
    pool.waits = True
    started = executor.start(job("leader", is_live=True))
    events = iter(started)
    next(events)
    follower = start(threads, executor, job("follower"))[1]
    wait_for(lambda: executor.requests["merge"])
    started.cancel()
    assert not pool.runs[0].is_cancelled
    pool.runs[0].goes_on.set()
    assert [each.reason for each in events] == ["cancelled"]
    assert only(follower).ok


def test_live_run_whose_only_reader_leaves_is_cancelled(executor, pool):
    pool.waits = True
    started = executor.start(job(is_live=True))
    events = iter(started)
    next(events)
    started.cancel()
    assert pool.runs[0].is_cancelled
    assert [each.reason for each in events] == ["cancelled"]


# load


def test_job_beyond_those_that_may_wait_is_executed(executor, pool, threads, monkeypatch):
    monkeypatch.setattr(caching, "MAX_WAITING", 2)
    started = start_shared(threads, executor, pool, 3)
    assert executor.needs_worker(job())
    pool.waits = False
    assert not run(executor, job("more")).is_cached
    # which is remembered for the next
    assert not executor.needs_worker(job())
    pool.runs[0].goes_on.set()
    assert [only(future).ok for _, future in started] == [True, True, True]


def test_remembered_or_shared_job_needs_no_worker(executor, pool, threads):
    assert executor.needs_worker(job())
    assert executor.needs_worker(job(command="run"))
    [(_, future)] = start_shared(threads, executor, pool, 1)
    assert not executor.needs_worker(job())
    assert executor.needs_worker(job(text="echo other"))
    pool.runs[0].goes_on.set()
    assert only(future).ok
    assert not executor.needs_worker(job())
