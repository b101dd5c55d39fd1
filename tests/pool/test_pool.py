import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.lease import Lease
from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.config.timeouts import Timeouts
from codapi_flask.errors import Busy
from codapi_flask.jobs.executor import run
from codapi_flask.models import Input, Job
from codapi_flask.pool import worker
from codapi_flask.pool.child import WorkerChild
from codapi_flask.pool.idle import choose
from codapi_flask.pool.pool import CHECK_INTERVAL, Pool
from codapi_flask.process import Child
from tests.support.gate import serving
from tests.support.server import wait_for

COMMANDS = {
    "web": {"run": Command(engine="http")},
    "sh": {"run": Command(steps=(Step(box="sh", timeout=5),))},
}


@pytest.fixture
def gate():
    with serving() as gate:
        yield gate


@pytest.fixture
def start_pool(gate, tmp_path):
    """Return a factory of pools whose command asks the gate."""
    pools = []

    def start(**config):
        hosts = {"gate": gate.address}
        instance = Instance(Lease.make(tmp_path, "i", tmp_path).path)
        pools.append(Pool(Config(hosts=hosts, commands=COMMANDS, **config), instance))
        pools[-1].wait_until_ready()
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


@pytest.fixture
def threads():
    with ThreadPoolExecutor() as threads:
        yield threads


def job(path, id="web_run_1"):
    return Job(id, "web", "run", "", {"": f"GET http://gate{path}"})


def start(threads, gate, pool, count):
    """Start jobs that wait at the gate, and return when all do."""
    before = len(gate.waiting)
    answers = [threads.submit(run, pool, job("/wait", f"web_run_{i}")) for i in range(count)]
    wait_for(lambda: len(gate.waiting) == before + count)
    return answers


def test_worker_executes_a_job(start_pool):
    execution = run(start_pool(pool_size=1), job("/"))
    assert (execution.id, execution.ok, execution.fault) == ("web_run_1", True, "")
    assert execution.stdout.startswith("HTTP/1.0 200 OK")


@pytest.mark.parametrize(
    ("runs", "seconds"), [((), 5), ((Input(),), 7000), ((Input(),) * 32, 7000)]
)
def test_worker_has_the_time_of_all_runs(start_pool, runs, seconds):
    pool = start_pool(pool_size=1, runs_timeout=7000, timeouts=Timeouts(box=1, margin=10))
    given = Job("sh_run_1", "sh", "run", "", {"": ""}, runs=runs)
    child = pool.begin(given, pool._idle.ticket())
    left = child.deadline - time.monotonic()
    assert not [*child.events(given, lambda: None)][-1].ok
    pool.end(child)
    assert seconds + 11 < left <= seconds + 12


def test_worker_executes_one_job_after_another(start_pool):
    pool = start_pool(pool_size=1)
    assert [run(pool, job("/", str(i))).id for i in range(20)] == [str(i) for i in range(20)]


def test_pool_runs_a_job_per_worker_and_refuses_the_rest(start_pool, gate, threads):
    pool = start_pool(pool_size=2)
    answers = start(threads, gate, pool, 2)
    # a refusal releases no worker
    for _ in range(5):
        with pytest.raises(Busy):
            run(pool, job("/"))
    assert pool.busy() == 2
    assert pool.is_full()
    gate.opened.set()
    assert [answer.result().ok for answer in answers] == [True, True]
    assert pool.busy() == 0
    assert not pool.is_full()
    gate.opened.clear()
    start(threads, gate, pool, 2)
    with pytest.raises(Busy):
        run(pool, job("/"))
    gate.opened.set()


def test_queued_job_gets_the_next_idle_worker(start_pool, gate, threads):
    pool = start_pool(pool_size=1, queue_size=1, queue_timeout=20)
    [first] = start(threads, gate, pool, 1)
    assert not pool.is_full()
    second = threads.submit(run, pool, job("/"))
    wait_for(pool.is_full)
    with pytest.raises(Busy):
        run(pool, job("/"))
    gate.opened.set()
    assert first.result().ok
    assert second.result().ok


def test_queued_job_is_refused_after_the_queue_timeout(start_pool, gate, threads):
    pool = start_pool(pool_size=1, queue_size=1, queue_timeout=0.05)
    start(threads, gate, pool, 1)
    assert not pool.is_full()
    with pytest.raises(Busy):
        run(pool, job("/"))
    gate.opened.set()


def workers(pool):
    return [child.pid for child in pool._workers]


def test_dying_worker_fails_only_its_own_job_and_is_replaced(start_pool, gate, threads):
    pool = start_pool(pool_size=2)
    answers = start(threads, gate, pool, 2)
    victim = workers(pool)[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: any(answer.done() for answer in answers))
    gate.opened.set()
    faults = [answer.result().fault for answer in answers]
    assert sorted(faults) == ["", f"worker {victim} died"]
    wait_for(lambda: len(workers(pool)) == 2 and victim not in workers(pool))
    assert pool.lost == 1
    gate.opened.clear()
    start(threads, gate, pool, 2)
    gate.opened.set()


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        # ProcessLookupError: the process ended between open and read
        return False


def test_dying_idle_worker_fails_no_job_and_is_replaced(start_pool):
    pool = start_pool(pool_size=2)
    victim = workers(pool)[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not is_alive(victim))
    assert [run(pool, job("/", str(i))).ok for i in range(5)] == [True] * 5
    wait_for(lambda: len(workers(pool)) == 2 and all(map(is_alive, workers(pool))))


@pytest.mark.parametrize("fault", [EOFError, BlockingIOError])
def test_failed_process_start_is_retried(start_pool, monkeypatch, fault):
    pool, begin, faults = start_pool(pool_size=1), Child.__init__, [fault]

    def fail_once(*args):
        if faults:
            # the fork server ends before it answers, or the system has no room for a process
            raise faults.pop()
        begin(*args)

    monkeypatch.setattr(Child, "__init__", fail_once)
    os.kill(*workers(pool), signal.SIGKILL)
    wait_for(lambda: pool.lost == 1 and not pool.is_full())
    assert run(pool, job("/")).ok
    assert not faults


@pytest.mark.docker
def test_pool_startup_survives_failed_worker_starts(start_pool, monkeypatch):
    begin, faults = Child.__init__, [BlockingIOError] * 2

    def fail_twice(self, main, *args):
        # the keeper has started by then
        if faults and main is worker.main:
            raise faults.pop()
        begin(self, main, *args)

    monkeypatch.setattr(Child, "__init__", fail_twice)
    pool = start_pool(pool_size=1)
    wait_for(lambda: workers(pool))
    assert run(pool, job("/")).ok
    # the pool reads the keeper's first message, and later ones
    wait_for(lambda: not pool.problem())
    os.kill(pool._keeper.child.pid, signal.SIGKILL)
    keeper = pool._keeper.child
    wait_for(lambda: pool._keeper.child not in (None, keeper) and not pool.problem())


@pytest.mark.parametrize("queue_size", [0, 1])
def test_pool_whose_processes_cannot_start_fails_jobs_at_once(start_pool, queue_size):
    # what cannot be sent to a process
    box = BoxSpec(name="sh", image=threading.Lock())
    pool = start_pool(boxes={"sh": box}, queue_size=queue_size, queue_timeout=20)
    wait_for(lambda: "a worker cannot start: TypeError: cannot pickle" in pool.problem())
    assert not pool.is_full()
    assert run(pool, job("/")).fault == pool.problem()


def test_worker_with_an_unreadable_answer_is_replaced(start_pool, monkeypatch):
    pool = start_pool(pool_size=1)
    victim = workers(pool)
    with monkeypatch.context() as patch:
        patch.setattr(WorkerChild, "events", lambda *_: (each[0] for each in [[]]))
        with pytest.raises(IndexError):
            run(pool, job("/"))
    wait_for(lambda: workers(pool) not in ([], victim) and not pool.is_full())
    assert run(pool, job("/")).ok


def test_pool_close_ends_all_processes(tmp_path):
    pool = Pool(Config(pool_size=2), Instance(Lease.make(tmp_path, "i", tmp_path).path))
    pool.wait_until_ready()
    pids = [*workers(pool), pool._keeper.child.pid]
    assert all(map(is_alive, pids))
    pool.close()
    assert not any(map(is_alive, pids))


@dataclass
class Idle:
    """A worker without a job."""

    name: str
    sandbox: str = ""
    cleans_up: bool = False


@pytest.mark.parametrize(
    ("idle", "chosen"),
    [
        ([], None),
        ([Idle("first"), Idle("last")], "last"),
        ([Idle("fits", "sh"), Idle("last", "python")], "fits"),
        ([Idle("fits", "sh"), Idle("fits too", "sh")], "fits too"),
        ([Idle("clean"), Idle("last", cleans_up=True)], "clean"),
        ([Idle("clean"), Idle("fits", "sh", cleans_up=True)], "clean"),
        ([Idle("longest", cleans_up=True), Idle("last", "sh", cleans_up=True)], "longest"),
    ],
)
def test_choose_prefers_the_worker_that_is_ready_first(idle, chosen):
    best = choose(idle, "sh")
    assert (best and best.name) == chosen


def test_cancelled_job_is_not_executed_again_by_another_worker(start_pool, gate, threads):
    pool = start_pool(pool_size=2)
    started = pool.start(job("/wait"))
    events = threads.submit(list, started)
    wait_for(lambda: gate.waiting)
    # it lies in the pipe of a worker that dies
    os.kill(started._child.pid, signal.SIGSTOP)
    started.cancel()
    os.kill(started._child.pid, signal.SIGKILL)
    [execution] = events.result()
    assert execution.reason == "cancelled"
    assert len(gate.waiting) == 1


def test_cancelled_request_of_the_http_engine_is_broken_off(start_pool, gate, threads):
    pool = start_pool(pool_size=1)
    started = pool.start(job("/wait"))
    events = threads.submit(list, started)
    wait_for(lambda: gate.waiting)
    started.cancel()
    [execution] = events.result(5)
    assert execution.reason == "cancelled"
    assert not pool.is_full()


def test_cancelled_run_gives_up_its_place_in_the_queue_at_once(start_pool, gate, threads):
    pool = start_pool(pool_size=1, queue_size=2, queue_timeout=20)
    [first] = start(threads, gate, pool, 1)
    runs = [pool.start(job("/", f"web_run_{i}")) for i in range(2)]
    ended = []
    for number, each in enumerate(runs):
        waiting = threads.submit(lambda each: ended.extend(each), each)
        wait_for(lambda number=number: len(pool._idle._queue) == number + 1)
    assert pool.is_full()
    runs[0].cancel()
    [execution] = wait_for(lambda: list(ended))
    assert (execution.id, execution.reason) == ("web_run_0", "cancelled")
    assert not pool.is_full()
    gate.opened.set()
    assert first.result().ok
    waiting.result()
    assert ended[1].ok


def test_run_cancelled_before_its_iteration_does_not_enter_the_queue(start_pool, gate, threads):
    pool = start_pool(pool_size=1, queue_size=1, queue_timeout=20)
    start(threads, gate, pool, 1)
    cancelled = pool.start(job("/"))
    cancelled.cancel()
    [execution] = threads.submit(list, cancelled).result(5)
    assert execution.reason == "cancelled"
    gate.opened.set()


def test_cancel_does_not_wait_for_a_worker_that_cleans_up(start_pool, threads):
    pool = start_pool(pool_size=1)
    [child] = pool._workers
    os.kill(child.pid, signal.SIGSTOP)
    child.cleans_up = True
    # it fills the pipe: not even a short message has room
    started = pool.start(replace(job("/"), files={"": "x" * 214_000}))
    events = threads.submit(list, started)
    wait_for(lambda: started.fileno() >= 0)
    cancelling = threads.submit(started.cancel)
    try:
        cancelling.result(5)
    finally:
        os.kill(child.pid, signal.SIGKILL)
    assert [each.reason for each in events.result()] == ["cancelled"]


def test_runs_get_workers_in_order_of_arrival(start_pool, gate, threads):
    pool = start_pool(pool_size=1, queue_size=9, queue_timeout=20)
    start(threads, gate, pool, 1)
    runs, ended = [pool.start(job("/", str(i))) for i in range(4)], []
    for number, each in enumerate(runs):
        threads.submit(lambda each: ended.extend(each), each)
        wait_for(lambda number=number: len(pool._idle._queue) == number + 1)
    # it must not change the order of the others
    runs[2].cancel()
    gate.opened.set()
    wait_for(lambda: len(ended) == 4)
    assert [execution.id for execution in ended] == ["2", "0", "1", "3"]


def test_job_that_cannot_be_sent_costs_no_worker(start_pool):
    pool = start_pool(pool_size=1)
    with pytest.raises(TypeError):
        run(pool, replace(job("/"), files={"": threading.Lock()}))
    wait_for(lambda: not pool.is_full())
    assert run(pool, job("/")).ok


def test_worker_of_a_run_that_nobody_iterates_is_replaced(start_pool):
    pool = start_pool(pool_size=1, timeouts=Timeouts(http=0.2, margin=0.2))
    victim = workers(pool)
    pool.begin(job("/"), pool._idle.ticket())
    wait_for(lambda: workers(pool) not in ([], victim) and not pool.is_full())
    assert run(pool, job("/")).ok


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_worker_whose_cleanup_is_long_overdue_is_replaced_once(start_pool, number):
    pool = start_pool(pool_size=1)
    [victim] = pool._workers
    victim.cleans_up, victim.deadline = True, 0.0
    os.kill(victim.pid, number)
    wait_for(lambda: workers(pool) not in ([], [victim.pid]))
    assert victim not in pool._idle
    assert pool.lost == 1
    assert run(pool, job("/")).ok


def test_supervisor_pauses_after_a_fault_although_nothing_is_missing(start_pool, monkeypatch):
    pool, calls = start_pool(pool_size=1), []

    def replace(lost):
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise RuntimeError

    monkeypatch.setattr(pool, "_replace", replace)
    wait_for(lambda: len(calls) >= 4)
    assert calls[3] - calls[2] > CHECK_INTERVAL / 2


@pytest.mark.docker
def test_changed_image_is_known_before_the_supervisor_looks(start_pool):
    name, took = f"codapi/test-pool-{os.getpid()}", []
    pool = start_pool(pool_size=1, boxes={"sh": BoxSpec(name="sh", image=name)})
    wait_for(lambda: pool.problem() == "")
    try:
        for image in ("codapi/python", "codapi/sh") * 3:
            id = docker("image", "inspect", "--format", "{{.Id}}", image).strip()
            docker("tag", image, name)
            start = time.monotonic()
            wait_for(lambda: pool.images() == {name: id})  # noqa: B023
            took.append(time.monotonic() - start)
    finally:
        docker("rmi", name)
    # the median: a busy machine may delay some
    assert sorted(took)[3] < CHECK_INTERVAL / 4
    wait_for(lambda: pool.images() == {name: ""})


def docker(*words):
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout
