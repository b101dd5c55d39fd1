import os
import resource
from contextlib import closing, contextmanager

import pytest

from codapi_flask.boxes import handoff, pipes
from codapi_flask.boxes.handoff import MESSAGE_MAX
from codapi_flask.config.model import BoxSpec
from codapi_flask.stock.handoff_queue import HandoffQueue
from tests.support.boxes import make_box

SH = BoxSpec(name="sh", image="sh")


@pytest.fixture
def row():
    with closing(HandoffQueue(SH)) as row:
        yield row


@pytest.fixture
def make(tmp_path):
    """Return a factory of boxes told apart by `container`; `inits` are their other ends."""
    inits = []

    def make(container="container"):
        box, init = make_box(tmp_path, SH)
        box.container = container
        inits.append(init)
        return box

    make.inits = inits
    yield make
    for init in inits:
        init.close()


def test_boxes_leave_the_queue_in_order(row, make):
    for name in ("first", "second"):
        row.put(make(name))
    taken = [row.take(), row.take()]
    assert [box.container for box in taken] == ["first", "second"]
    assert row.take() is None
    for box in taken:
        box.discard()


def test_box_keeps_its_state_through_the_queue(row, make):
    box = make()
    box.uses, path = 7, box.lease.path
    row.put(box)
    found = row.take()
    assert (found.uses, found.lease.path, found.kind, found.is_alive) == (7, path, "warm", True)
    found.discard()
    assert make.inits[0].recv(1) == b""
    assert not path.exists()


def test_length_excludes_boxes_taken_by_other_processes(row, make):
    for name in ("a", "a-longer-name", "b"):
        row.put(make(name))
    assert len(row) == 3
    handoff.receive(row.end, SH).discard()
    assert len(row) == 2
    row.take().discard()
    row.put(make())
    assert len(row) == 2
    while box := row.take():
        box.discard()
    assert len(row) == 0


def test_boxes_die_with_the_last_end_of_the_queue(row, make):
    row.put(make())
    end = os.dup(row.end.fileno())
    row.close()
    with pytest.raises(BlockingIOError):
        make.inits[0].recv(1, 0x40)  # MSG_DONTWAIT
    os.close(end)
    assert make.inits[0].recv(1) == b""


def test_put_into_a_full_queue_discards_the_box(row, make):
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            row.put(make("x" * (MESSAGE_MAX - 500)))
    count = len(row)
    assert count == len(make.inits) - 1 > 1
    assert make.inits[-1].recv(1) == b""


def test_put_of_an_oversized_box_discards_it(row, make):
    box = make("x" * MESSAGE_MAX)
    with pytest.raises(OSError, match="too long"):
        row.put(box)
    assert len(row) == 0
    assert make.inits[0].recv(1) == b""
    assert not box.lease.path.exists()


@pytest.mark.parametrize("free", range(handoff.MAX_DESCRIPTORS))
def test_take_without_enough_descriptors_discards_the_box(row, make, free):
    box = make()
    box.waits, (box.kept, ends) = True, pipes.open_pipes()
    pipes.close(ends)
    row.put(box)
    with descriptors(free):
        assert row.take() is None
    assert make.inits[0].recv(1) == b""
    assert len(row) == 0


@contextmanager
def descriptors(most):
    """Leave that many descriptors free, or fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
