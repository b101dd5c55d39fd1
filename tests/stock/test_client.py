import json
import os
import socket
import threading
from contextlib import closing

import pytest

from codapi_flask.boxes import handoff
from codapi_flask.boxes.handoff import MESSAGE_MAX
from codapi_flask.boxes.instance import Instance
from codapi_flask.config.model import BoxSpec, Preload
from codapi_flask.stock.client import StockClient
from codapi_flask.stock.handoff_queue import HandoffQueue
from tests.support.boxes import make_box

SH, OTHER = BoxSpec(name="sh", image="sh", uses=10), BoxSpec(name="other", image="other", uses=10)


class FakeKeeper:
    """Hands out boxes that are only a connection, and records the messages it receives."""

    def __init__(self, instance):
        self._instance = instance
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(Instance(instance).socket))
        self._listener.listen(1)
        self._worker, self.inits = None, []
        self.queues = {box.name: HandoffQueue(box) for box in (SH, OTHER)}

    def box(self, config):
        """Return a box; its init is the last of `inits`."""
        box, init = make_box(self._instance, config)
        self.inits.append(init)
        return box

    def prepare(self, config):
        """Answer the next `take` with a box, before it is asked."""
        handoff.send(self.box(config), self.worker, self.queues[config.name].end.fileno())

    @property
    def worker(self):
        if self._worker is None:
            self._worker, _ = self._listener.accept()
            self._worker.setblocking(False)
        return self._worker

    def heard(self):
        """Return the messages since the last call: the kind of each, and its box's name."""
        said = []
        try:
            while True:
                message, descriptors, _, _ = socket.recv_fds(self.worker, MESSAGE_MAX, 5)
                if not message:
                    return said
                for descriptor in descriptors:
                    os.close(descriptor)
                [(what, box)] = json.loads(message).items()
                said.append((what, box if isinstance(box, str) else box["name"]))
        except BlockingIOError:
            return said

    def close(self):
        for end in (self._listener, self._worker, *self.queues.values(), *self.inits):
            if end is not None:
                end.close()


@pytest.fixture
def keeper(tmp_path):
    with closing(FakeKeeper(tmp_path)) as keeper:
        yield keeper


@pytest.fixture
def worker(tmp_path, keeper):
    """Return a connected stock client."""
    yield from connected(tmp_path, keeper)


@pytest.fixture
def hasty_worker(tmp_path, keeper):
    """Return a client that gives every box to the keeper at once."""
    yield from connected(tmp_path, keeper, hold_max=0)


def connected(instance, keeper, **how):
    worker = StockClient(Instance(instance), **how)
    worker.used(SH)
    assert keeper.heard() == [("used", "sh")]
    yield worker
    worker.release()
    worker._disconnect()


def test_returned_box_serves_the_next_run_without_the_keeper(worker, keeper):
    keeper.prepare(SH)
    box = worker.take(SH)
    assert keeper.heard() == [("take", "sh")]
    worker.give(box)
    assert worker.take(SH) is box
    assert keeper.heard() == []
    worker.give(box)


def test_held_box_of_another_name_goes_back_to_the_keeper(worker, keeper):
    keeper.prepare(SH)
    worker.give(worker.take(SH))
    keeper.prepare(OTHER)
    other = worker.take(OTHER)
    assert other.spec.name == "other"
    assert keeper.heard() == [("take", "sh"), ("box", "sh"), ("take", "other")]
    worker.give(other)


def test_release_returns_the_held_box_to_the_keeper_once(worker, keeper):
    keeper.prepare(SH)
    worker.give(worker.take(SH))
    worker.release()
    worker.release()
    assert keeper.heard() == [("take", "sh"), ("box", "sh")]


def test_held_box_that_died_is_not_taken(worker, keeper):
    keeper.prepare(SH)
    box = worker.take(SH)
    worker.give(box)
    keeper.inits[-1].close()
    keeper.prepare(SH)
    new = worker.take(SH)
    assert new is not box
    assert new.is_alive
    worker.give(new)


def test_box_held_beyond_hold_max_goes_back_to_the_keeper(hasty_worker, keeper):
    keeper.prepare(SH)
    hasty_worker.give(hasty_worker.take(SH))
    assert keeper.heard() == [("take", "sh"), ("box", "sh")]


def test_released_box_without_a_keeper_is_discarded(tmp_path, keeper):
    worker = StockClient(Instance(tmp_path / "nowhere"))
    box = keeper.box(SH)
    directory = box.lease.path
    worker.give(box)
    worker.release()
    assert keeper.inits[-1].recv(1) == b""
    assert not directory.exists()


def test_queued_box_is_taken_without_a_reply_from_the_keeper(worker, keeper):
    keeper.prepare(SH)
    worker.take(SH).discard()
    keeper.queues["sh"].put(keeper.box(SH))
    box = worker.take(SH)
    assert keeper.heard() == [("take", "sh"), ("took", "sh")]
    assert box.is_alive
    box.discard()


@pytest.mark.parametrize("waits", [True, False])
def test_box_that_waits_is_preferred_to_the_held_one(tmp_path, worker, keeper, waits):
    preload = Preload(command=("python",), user="sandbox")
    spec = BoxSpec(name="sh", image="sh", uses=10, preload=preload)
    keeper.prepare(spec)
    held = worker.take(spec)
    held.waits = waits
    worker.give(held)
    keeper.queues["sh"].put(keeper.box(spec))
    box = worker.take(spec)
    assert (box is held) == waits
    assert keeper.heard() == [("take", "sh")] + [("took", "sh"), ("box", "sh")] * (not waits)
    worker.give(box)


def test_queued_box_that_died_is_skipped(worker, keeper):
    keeper.prepare(SH)
    worker.take(SH).discard()
    dead = keeper.box(SH)
    directory = dead.lease.path
    keeper.queues["sh"].put(dead)
    keeper.inits[-1].close()
    keeper.queues["sh"].put(keeper.box(SH))
    box = worker.take(SH)
    assert box.is_alive
    assert not directory.exists()
    box.discard()


def test_take_from_an_empty_queue_asks_the_keeper(worker, keeper):
    keeper.prepare(SH)
    worker.take(SH).discard()
    keeper.prepare(SH)
    worker.take(SH).discard()
    assert keeper.heard() == [("take", "sh")] * 2


def die_with_a_box(keeper, worker):
    """Close the keeper while a box waits in a queue that the worker holds; return its init."""
    keeper.prepare(SH)
    worker.take(SH).discard()
    keeper.queues["sh"].put(keeper.box(SH))
    init = keeper.inits.pop()
    init.settimeout(5)
    keeper.close()
    return init


def test_wait_with_a_dead_keeper_discards_its_boxes(worker, keeper, job):
    init = die_with_a_box(keeper, worker)
    worker.wait(job[0])
    with init:
        assert init.recv(1) == b""


def test_take_with_a_dead_keeper_returns_none(worker, keeper):
    with die_with_a_box(keeper, worker) as init:
        assert worker.take(SH) is None
        assert init.recv(1) == b""


def test_handoff_queue_received_again_replaces_the_first(worker, keeper):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        keeper.prepare(SH)
        worker.take(SH).discard()
    inits = len(keeper.inits)
    assert len(os.listdir("/proc/self/fd")) == before + inits + 1


def test_wait_ends_when_a_job_arrives(worker, keeper, job):
    keeper.prepare(SH)
    worker.take(SH).discard()
    keeper.queues["sh"].put(keeper.box(SH))
    os.write(job[1], b"job")
    worker.wait(job[0])
    box = worker.take(SH)
    assert box.is_alive
    box.discard()


def test_wait_without_a_keeper_ends_when_a_job_arrives(tmp_path, job):
    worker = StockClient(Instance(tmp_path))
    threading.Timer(0.1, os.write, [job[1], b"job"]).start()
    worker.wait(job[0])
    assert os.read(job[0], 9) == b"job"


@pytest.fixture
def job():
    """Return both ends of the pipe through which jobs come."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)
