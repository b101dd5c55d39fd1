"""The keeper's boxes that are to be preloaded, with a test that plays their init."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from codapi_flask.boxes.box import Box
from codapi_flask.config.model import BoxSpec, Preload
from codapi_flask.init import Stage
from codapi_flask.init.answers import ANSWER, EXIT, SIGNAL, WAITS
from codapi_flask.models import Image
from codapi_flask.stock.preloader import MAX_FAILURES, SLOW, WITHOUT_TIME, Preloader
from tests.support.boxes import make_box
from tests.support.clock import Clock

TIMEOUT = 10.0
PRELOAD = Preload(command=("python", "wait.py"), user="sandbox")
PYTHON = BoxSpec(name="python", image="python", preload=PRELOAD)
PANDAS = BoxSpec(name="pandas", image="python", preload=PRELOAD)
PLAIN = BoxSpec(name="plain", image="python")
WAITING = ANSWER.pack(ord("P"), WAITS, Stage.NONE, 0, 1, 0, 4096, 0)
FAILED = ANSWER.pack(ord("P"), EXIT, Stage.NONE, 3, 1, 0, 0, 0)
NO_MEMORY = ANSWER.pack(ord("P"), SIGNAL, Stage.NONE, 9, 1, 0, 0, 1)


class Nursery:
    """A preloader, the inits of its boxes, and the boxes that it has let go."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory, self._selector = directory, selectors.DefaultSelector()
        self.inits: dict[Box, socket.socket] = {}
        self.ready: list[Box] = []
        self.preloader = Preloader(TIMEOUT, self._selector, self.ready.append, clock)

    def box(self, spec: BoxSpec = PYTHON) -> Box:
        """Return a box."""
        box, self.inits[box] = make_box(self._directory, spec)
        self.inits[box].settimeout(5)
        return box

    def add(self, spec: BoxSpec = PYTHON) -> Box:
        """Return a box that is to be preloaded."""
        box = self.box(spec)
        self.preloader.add(box)
        return box

    def say(self, box: Box, answer: bytes) -> None:
        """Answer as a box's init."""
        self.inits[box].send(answer)
        self.hear()

    def events(self) -> list[selectors.SelectorKey]:
        """Return the news of boxes."""
        return [key for key, _ in self._selector.select(5)]

    def hear(self) -> None:
        """Do what the keeper does with the news of boxes."""
        for key in self.events():
            key.data()

    def heard(self, box: Box) -> bytes:
        """Return what a box's init was last told: the kind of the message."""
        kind = b""
        self.inits[box].setblocking(False)
        try:
            while message := self.inits[box].recv(1 << 16):
                kind = message[:1]
        except BlockingIOError:
            return kind
        return b"closed"

    def fail(self, box: Box, answer: bytes = FAILED) -> None:
        """Have a box fail as often as it takes to do without."""
        for _ in range(MAX_FAILURES):
            self.preloader.begin(1)
            self.say(box, answer)

    def close(self) -> None:
        for box, init in self.inits.items():
            if box.fileno() >= 0:
                box.discard()
            init.close()
        self._selector.close()


@pytest.fixture
def nursery(tmp_path: Path, clock: Clock) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path, clock)
    yield nursery
    nursery.close()


def test_only_boxes_with_a_preload_that_do_not_wait_are_wanted(nursery: Nursery) -> None:
    waiting = nursery.box()
    waiting.waits = True
    wanted = [nursery.preloader.wants(box) for box in (nursery.box(), waiting, nursery.box(PLAIN))]
    assert wanted == [True, False, False]


def test_box_whose_program_waits_is_ready(nursery: Nursery) -> None:
    box = nursery.add()
    nursery.preloader.begin(1)
    assert (nursery.heard(box), nursery.ready) == (b"P", [])
    nursery.say(box, WAITING)
    assert nursery.ready == [box]
    assert box.waits
    assert nursery.preloader.counts["python"] == 0


def test_no_more_boxes_are_preloaded_at_once_than_asked_for(nursery: Nursery) -> None:
    boxes = [nursery.add() for _ in range(3)]
    nursery.preloader.begin(2)
    nursery.preloader.begin(0)
    assert [nursery.heard(box) for box in boxes] == [b"P", b"P", b""]
    assert (nursery.preloader.begun, nursery.preloader.counts["python"]) == (2, 3)


def test_box_that_has_least_to_lose_is_taken_first(nursery: Nursery) -> None:
    first, second, third = (nursery.add() for _ in range(3))
    nursery.add(PANDAS)
    nursery.preloader.begin(2)
    taken = [nursery.preloader.take("python") for _ in range(4)]
    assert taken == [third, second, first, None]
    assert nursery.preloader.begun == 0


def test_dead_boxes_are_neither_taken_nor_kept(nursery: Nursery) -> None:
    dead, begun, alive = (nursery.add() for _ in range(3))
    nursery.inits[dead].close()
    nursery.preloader.tidy()
    assert nursery.preloader.counts["python"] == 2
    nursery.preloader.begin(1)
    nursery.inits[alive].close()
    assert nursery.preloader.take("python") is begun


def test_box_that_dies_before_its_turn_is_no_failure(nursery: Nursery) -> None:
    dead, alive = nursery.add(), nursery.add()
    nursery.inits[dead].close()
    nursery.preloader.begin(1)
    assert (nursery.preloader.failed["python"], nursery.preloader.begun) == (0, 1)
    assert nursery.heard(alive) == b"P"


def test_news_of_a_box_that_was_taken_in_the_same_turn_are_ignored(nursery: Nursery) -> None:
    box = nursery.add()
    nursery.preloader.begin(1)
    nursery.inits[box].send(WAITING)
    events = nursery.events()
    assert nursery.preloader.take("python") is box
    box.discard()
    for key in events:
        key.data()
    assert (nursery.ready, nursery.preloader.failed["python"]) == ([], 0)


def test_outdated_boxes_are_discarded(nursery: Nursery) -> None:
    begun, queued, current = (nursery.add() for _ in range(3))
    nursery.preloader.begin(1)
    nursery.preloader.retire({begun, queued}.__contains__)
    assert [nursery.heard(box) for box in (begun, queued, current)] == [b"closed", b"closed", b""]
    assert (nursery.preloader.begun, nursery.preloader.counts["python"]) == (0, 1)


def test_box_that_dies_while_it_is_preloaded_is_a_failure(nursery: Nursery) -> None:
    box = nursery.add()
    nursery.preloader.begin(1)
    nursery.inits[box].close()
    nursery.hear()
    assert (nursery.preloader.failed["python"], nursery.ready) == (1, [])
    assert nursery.preloader.counts["python"] == 0


def test_failure_is_tried_again_in_the_same_box(nursery: Nursery) -> None:
    box = nursery.add()
    nursery.preloader.begin(1)
    nursery.say(box, FAILED)
    assert (nursery.ready, nursery.preloader.begun) == ([], 0)
    nursery.preloader.begin(1)
    nursery.say(box, WAITING)
    assert nursery.ready == [box]


def test_failures_in_a_row_let_the_boxes_do_without_for_a_time(
    nursery: Nursery, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    box, other = nursery.add(), nursery.add()
    nursery.fail(box)
    assert nursery.ready == [box, other]
    assert not any(nursery.preloader.wants(box) for box in (box, other))
    assert nursery.preloader.wants(nursery.box(PANDAS))
    clock.now += WITHOUT_TIME
    assert nursery.preloader.wants(box)
    assert nursery.preloader.failed == {"python": MAX_FAILURES}
    [record] = caplog.records
    assert record.getMessage() == (
        "box python: cannot preload, its programs start as usual for 300 s at a time: exit status 3"
    )


def test_same_reason_is_logged_once(
    nursery: Nursery, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for answer in (FAILED, FAILED, NO_MEMORY):
        nursery.fail(nursery.add(), answer)
        clock.now += WITHOUT_TIME
    reasons = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert reasons == ["exit status 3", "out of memory"]


def test_program_that_goes_on_waiting_ends_a_row_of_failures(nursery: Nursery) -> None:
    for _ in range(MAX_FAILURES):
        box = nursery.add()
        nursery.preloader.begin(1)
        nursery.say(box, FAILED)
        nursery.preloader.begin(1)
        nursery.say(box, WAITING)
        assert nursery.preloader.stays(box)
    assert nursery.preloader.wants(nursery.box())


def test_programs_that_end_while_they_wait_are_failures(
    nursery: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    box = nursery.add()
    for number in range(1, MAX_FAILURES + 1):
        nursery.preloader.begin(1)
        nursery.say(box, WAITING)
        nursery.inits[box].send(FAILED)
        assert nursery.preloader.stays(box) == (number == MAX_FAILURES)
    assert nursery.preloader.failed == {"python": MAX_FAILURES}
    assert caplog.records[0].getMessage().endswith(": it ends while it waits")


def test_waiting_box_is_preloaded_once_it_may_be(nursery: Nursery, clock: Clock) -> None:
    box = nursery.add()
    nursery.fail(box)
    assert nursery.preloader.stays(box)
    clock.now += WITHOUT_TIME
    assert not nursery.preloader.stays(box)
    nursery.preloader.begin(1)
    assert nursery.heard(box) == b"P"


def test_dead_box_does_not_stay(nursery: Nursery) -> None:
    box = nursery.box(PLAIN)
    assert nursery.preloader.stays(box)
    nursery.inits[box].close()
    assert not nursery.preloader.stays(box)
    assert box.fileno() < 0


def test_box_whose_program_is_not_ready_at_the_timeout_is_discarded(
    nursery: Nursery, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be paused."""
    for failed in range(MAX_FAILURES):
        box = nursery.add()
        nursery.preloader.begin(1)
        clock.now += TIMEOUT / 2
        nursery.preloader.tidy()
        preloader = nursery.preloader
        assert (preloader.failed["python"], preloader.counts["python"]) == (failed, 1)
        clock.now += TIMEOUT / 2
        nursery.preloader.tidy()
        assert nursery.heard(box) == b"closed"
    assert nursery.preloader.counts["python"] == 0
    assert caplog.records[0].getMessage().endswith(": not ready within 10 s")


def test_slow_program_keeps_no_other_box_waiting(nursery: Nursery, clock: Clock) -> None:
    slow, other = nursery.add(), nursery.add(PANDAS)
    nursery.preloader.begin(1 - nursery.preloader.begun)
    nursery.preloader.begin(1 - nursery.preloader.begun)
    assert [nursery.heard(box) for box in (slow, other)] == [b"P", b""]
    clock.now += SLOW
    nursery.preloader.begin(1 - nursery.preloader.begun)
    assert nursery.heard(other) == b"P"


def test_process_without_descriptors_does_without(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls, pipe2 = count(), os.pipe2

    def pipes(flags: int) -> tuple[int, int]:
        if next(calls) % 2:
            raise OSError(24, "Too many open files")
        return pipe2(flags)

    monkeypatch.setattr("os.pipe2", pipes)
    box = nursery.add()
    before = os.listdir("/proc/self/fd")
    nursery.preloader.begin(1)
    assert os.listdir("/proc/self/fd") == before
    assert nursery.ready == [box]
    assert "Too many open files" in caplog.text


def test_python_does_not_wait_in_an_image_with_an_entrypoint(
    nursery: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    box = nursery.add(replace(PYTHON, preload=replace(PRELOAD, python=())))
    box.image = Image("1", entrypoint=("env",))
    nursery.preloader.begin(1)
    assert nursery.ready == [box]
    assert caplog.records[0].getMessage().endswith(": the image has an entrypoint")
