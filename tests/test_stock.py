import json
import os
import socket
from contextlib import closing

import pytest

from codapi_flask.config import Box
from codapi_flask.init import Init
from codapi_flask.initbox import InitBox
from codapi_flask.instance import Lease
from codapi_flask.models import Image
from codapi_flask.stock import ADDRESS, MESSAGE_MAX, Stock

SH, OTHER = Box(name="sh", image="sh", uses=10), Box(name="other", image="other", uses=10)


class FakeKeeper:
    """Hands out boxes that are only a connection, and writes down what it is told."""

    def __init__(self, instance):
        self._instance = instance
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(instance / ADDRESS))
        self._listener.listen(1)
        self._worker, self.inits = None, []

    def box(self, config):
        """Return a box; its init is the last of `inits`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.inits.append(theirs)
        lease = Lease.make_work(self._instance)
        return InitBox(config, "container", Image("1"), lease, Init(ours), "warm")

    def prepare(self, config):
        """Answer the next `take` with a box, before it is asked."""
        self.box(config).send(self.worker)

    @property
    def worker(self):
        if self._worker is None:
            self._worker, _ = self._listener.accept()
            self._worker.setblocking(False)
        return self._worker

    def heard(self):
        """Return what was said since the last time: the name of the thing, and of the box."""
        said = []
        try:
            while True:
                message, descriptors, _, _ = socket.recv_fds(self.worker, MESSAGE_MAX, 2)
                for descriptor in descriptors:
                    os.close(descriptor)
                [(what, box)] = json.loads(message).items()
                said.append((what, box if isinstance(box, str) else box["name"]))
        except BlockingIOError:
            return said

    def close(self):
        for end in (self._listener, self._worker, *self.inits):
            if end:
                end.close()


@pytest.fixture
def keeper(tmp_path):
    with closing(FakeKeeper(tmp_path)) as keeper:
        yield keeper


@pytest.fixture
def worker(tmp_path, keeper):
    """Return a worker's stock, connected."""
    yield from connected(tmp_path, keeper)


@pytest.fixture
def hasty_worker(tmp_path, keeper):
    """Return one that gives every box to the keeper at once."""
    yield from connected(tmp_path, keeper, hold_max=0)


def connected(instance, keeper, **how):
    worker = Stock(instance, **how)
    worker.used(SH)
    assert keeper.heard() == [("used", "sh")]
    yield worker
    worker.release()
    worker._disconnect()


def test_a_box_that_is_given_back_serves_the_next_run_without_the_keeper(worker, keeper):
    keeper.prepare(SH)
    box = worker.take(SH)
    assert keeper.heard() == [("take", "sh")]
    worker.give(box)
    assert worker.take(SH) is box
    assert keeper.heard() == []
    worker.give(box)


def test_a_box_of_another_name_goes_back_to_the_keeper(worker, keeper):
    keeper.prepare(SH)
    worker.give(worker.take(SH))
    keeper.prepare(OTHER)
    other = worker.take(OTHER)
    assert other.box.name == "other"
    assert keeper.heard() == [("take", "sh"), ("box", "sh"), ("take", "other")]
    worker.give(other)


def test_a_box_that_nobody_wants_is_released_to_the_keeper_once(worker, keeper):
    keeper.prepare(SH)
    worker.give(worker.take(SH))
    worker.release()
    worker.release()
    assert keeper.heard() == [("take", "sh"), ("box", "sh")]


def test_a_box_that_died_while_it_waited_is_not_taken(worker, keeper):
    keeper.prepare(SH)
    box = worker.take(SH)
    worker.give(box)
    keeper.inits[-1].close()
    keeper.prepare(SH)
    new = worker.take(SH)
    assert new is not box
    assert new.is_alive
    worker.give(new)


def test_the_keeper_sees_a_box_again_after_a_while(hasty_worker, keeper):
    keeper.prepare(SH)
    hasty_worker.give(hasty_worker.take(SH))
    assert keeper.heard() == [("take", "sh"), ("box", "sh")]


def test_without_a_keeper_a_box_that_is_released_dies(tmp_path, keeper):
    worker = Stock(tmp_path / "nowhere")
    box = keeper.box(SH)
    directory = box.lease.path
    worker.give(box)
    worker.release()
    assert keeper.inits[-1].recv(1) == b""
    assert not directory.exists()
