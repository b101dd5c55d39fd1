from collections import deque

import pytest

from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.daemon import Image
from codapi_flask.stock.demand import GRACE, MAX_GRACE, MEMORY, RefillDelay
from codapi_flask.stock.shelf import BACKOFF, MAX_BACKOFF, Shelf


class FakeBox:
    """A started box, without a container."""

    def __init__(self, box, image="1"):
        self.spec, self.image = box, Image(image)
        self.is_alive, self.is_discarded = True, False

    def discard(self):
        self.is_discarded = True


class FakeRow(deque):
    """Boxes that wait, in this process; a row that is `full` takes no more."""

    full = False

    def __init__(self, _):
        super().__init__()

    def put(self, box):
        if self.full:
            raise BlockingIOError
        self.append(box)

    def take(self):
        return self.popleft() if self else None


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_shelf(clock):
    def make(size=16, **boxes):
        configs = {name: BoxSpec(name=name, image=name, **keys) for name, keys in boxes.items()}
        shelf = Shelf(configs, size, clock, FakeRow)
        shelf.configs = configs
        return shelf

    return make


def fill(shelf, name, count=1):
    boxes = [FakeBox(shelf.configs[name]) for _ in range(count)]
    for box in boxes:
        shelf.put(box)
    return boxes


def idle(shelf, name):
    return shelf.counts()[name, "idle"]


def use(shelf, name, count=1):
    for _ in range(count):
        shelf.took(name)
        shelf.take(name)
    shelf.used(name, count)


def test_nothing_is_wanted_before_anything_was_used(make_shelf):
    assert make_shelf(sh={}).next_to_start() is None


def test_a_floor_is_wanted_from_the_start(make_shelf):
    shelf = make_shelf(sh={"warm": 2})
    fill(shelf, "sh")
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_a_box_that_was_used_is_kept_warm(make_shelf):
    shelf = make_shelf(sh={})
    use(shelf, "sh")
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_as_many_are_kept_as_were_in_use_at_once(make_shelf):
    shelf = make_shelf(sh={})
    use(shelf, "sh", 3)
    fill(shelf, "sh", 2)
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_what_is_being_started_is_not_started_twice(make_shelf):
    shelf = make_shelf(sh={})
    use(shelf, "sh")
    shelf.starting["sh"] += 1
    assert shelf.next_to_start() is None


def test_reused_boxes_that_are_out_come_back(make_shelf):
    shelf = make_shelf(sh={"uses": 10}, once={})
    shelf.took("sh")
    assert shelf.next_to_start() is None
    shelf.took("once")
    assert shelf.next_to_start() == "once"


def test_the_box_that_waits_for_the_longest_time_is_handed_out_first(make_shelf):
    shelf = make_shelf(sh={})
    first, last = fill(shelf, "sh", 2)
    assert shelf.take("sh") is first
    assert shelf.take("sh") is last


def test_a_dead_box_is_never_handed_out(make_shelf):
    shelf = make_shelf(sh={})
    first, last = fill(shelf, "sh", 2)
    first.is_alive = False
    assert shelf.take("sh") is last
    assert first.is_discarded
    assert shelf.take("sh") is None


def test_the_dead_are_thrown_away(make_shelf):
    shelf = make_shelf(sh={"warm": 2})
    first, last = fill(shelf, "sh", 2)
    first.is_alive = False
    shelf.tidy()
    assert first.is_discarded
    assert not last.is_discarded
    assert idle(shelf, "sh") == 1


def test_what_nobody_uses_any_more_is_given_up(make_shelf, clock):
    shelf = make_shelf(sh={}, floor={"warm": 1})
    use(shelf, "sh", 2)
    fill(shelf, "sh", 2)
    fill(shelf, "floor")
    clock.now += MEMORY * 0.7
    shelf.tidy()
    assert idle(shelf, "sh") == 2
    clock.now += MEMORY * 0.7
    shelf.tidy()
    assert idle(shelf, "sh") == 0
    assert idle(shelf, "floor") == 1


def test_the_shelf_is_never_overfull(make_shelf):
    shelf = make_shelf(size=2, sh={})
    use(shelf, "sh", 5)
    boxes = fill(shelf, "sh", 3)
    assert idle(shelf, "sh") == 2
    assert sum(box.is_discarded for box in boxes) == 1
    assert shelf.next_to_start() is None


def test_the_name_that_was_not_used_for_the_longest_time_yields(make_shelf, clock):
    shelf = make_shelf(size=2, old={}, older={}, new={})
    for name in ("older", "old"):
        use(shelf, name)
        fill(shelf, name)
        clock.now += 1
    use(shelf, "new")
    assert shelf.next_to_start() == "new"
    assert idle(shelf, "older") == 0
    assert idle(shelf, "old") == 1


def test_floors_do_not_yield(make_shelf, clock):
    shelf = make_shelf(size=1, floor={"warm": 1}, new={})
    fill(shelf, "floor")
    clock.now += 1
    use(shelf, "new")
    assert shelf.next_to_start() is None
    assert idle(shelf, "floor") == 1


def test_a_size_of_nothing_keeps_nothing(make_shelf):
    shelf = make_shelf(size=0, sh={})
    use(shelf, "sh")
    assert shelf.next_to_start() is None
    (box,) = fill(shelf, "sh")
    assert box.is_discarded


def test_a_row_that_is_full_grows_later(make_shelf, clock):
    shelf = make_shelf(sh={"warm": 1})
    shelf.rows["sh"].full = True
    fill(shelf, "sh")
    assert shelf.next_to_start() is None
    clock.now += BACKOFF
    assert shelf.next_to_start() == "sh"


def test_what_waits_makes_no_failure_forgotten(make_shelf, clock):
    shelf = make_shelf(sh={"warm": 3})
    fill(shelf, "sh", 2)
    shelf.failed("sh")
    shelf.tidy()
    clock.now += BACKOFF
    shelf.failed("sh")
    shelf.tidy()
    clock.now += BACKOFF
    assert shelf.next_to_start() is None
    clock.now += BACKOFF
    assert shelf.next_to_start() == "sh"


def test_what_is_too_much_is_not_thrown_away_twice(make_shelf, clock):
    shelf = make_shelf(sh={"warm": 3})
    use(shelf, "sh", 5)
    fill(shelf, "sh", 5)
    clock.now += 2 * MEMORY
    take = shelf.rows["sh"].take
    # with each that is dropped, a worker takes another
    drop = shelf._drop
    shelf._drop = lambda name: (drop(name), take())
    shelf.tidy()
    assert idle(shelf, "sh") == 3


def test_workers_may_take_boxes_while_the_dead_are_sought(make_shelf):
    shelf = make_shelf(sh={"warm": 2})
    fill(shelf, "sh", 2)
    row = shelf.rows["sh"]
    row.put = lambda box: row.clear()
    shelf.tidy()
    assert idle(shelf, "sh") == 0


def test_a_start_that_failed_is_tried_again_later_and_later(make_shelf, clock):
    shelf = make_shelf(sh={"warm": 1})
    pauses = []
    for _ in range(9):
        failed_at = clock.now
        shelf.failed("sh")
        while shelf.next_to_start() is None:
            clock.now += 0.5
        pauses.append(clock.now - failed_at)
    assert pauses[:3] == [1, 2, 4]
    assert pauses[-1] == MAX_BACKOFF


def test_others_are_started_while_one_fails(make_shelf):
    shelf = make_shelf(broken={"warm": 2}, sh={"warm": 1})
    shelf.failed("broken")
    assert shelf.next_to_start() == "sh"


def test_boxes_of_a_replaced_image_retire(make_shelf):
    shelf = make_shelf(sh={"warm": 2}, other={"warm": 1})
    away, old = fill(shelf, "sh", 2)
    (kept,) = fill(shelf, "other")
    assert shelf.take("sh") is away
    shelf.retire({"sh": "2", "other": "1"})
    assert old.is_discarded
    assert not kept.is_discarded
    shelf.put(away)
    assert away.is_discarded
    new = FakeBox(shelf.configs["sh"], image="2")
    shelf.put(new)
    assert not new.is_discarded


PROCESSORS = 2


@pytest.fixture
def grace(clock):
    return RefillDelay(PROCESSORS, clock)


def test_nothing_waits_for_nobody(grace):
    assert grace.is_over


def test_a_refill_waits_for_who_begins(grace, clock):
    grace.give(1)
    assert not grace.is_over
    clock.now += GRACE
    assert grace.is_over


@pytest.mark.parametrize(
    ("running", "is_over"), [(PROCESSORS, True), (PROCESSORS + 1, False)], ids=["few", "a crowd"]
)
def test_only_a_crowd_gets_more_time(grace, clock, running, is_over):
    grace.give(1)
    clock.now += GRACE / 2
    grace.give(running)
    clock.now += GRACE * 0.6
    assert grace.is_over is is_over


def test_a_crowd_that_does_not_end_lets_refills_through(grace, clock):
    starts = 0
    for _ in range(200):
        starts += grace.is_over
        grace.give(PROCESSORS + 1)
        clock.now += GRACE / 10
    lasted = 200 * GRACE / 10
    assert starts >= lasted // MAX_GRACE
