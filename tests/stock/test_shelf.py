import math
from collections import deque

import pytest

from codapi_flask.config.model import BoxSpec, Preload
from codapi_flask.daemon.daemon import Image
from codapi_flask.stock.demand import BURST, GRACE, MAX_GRACE, MEMORY, REPLACEMENT, RefillDelay
from codapi_flask.stock.room import OVERHEAD, Room
from codapi_flask.stock.shelf import BACKOFF, MAX_BACKOFF, RECENT, Shelf

PRELOAD = Preload(command=("python",), user="sandbox")


class FakeBox:
    """A started box, without a container."""

    def __init__(self, box, image="1"):
        self.spec, self.image = box, Image(image)
        self.is_alive, self.is_discarded = True, False

    def discard(self):
        self.is_discarded = True


class FakeQueue(deque):
    """A queue within this process; while it is `full`, put fails."""

    full = False

    def __init__(self, _):
        super().__init__()

    def put(self, box):
        if self.full:
            raise BlockingIOError
        self.append(box)

    def take(self):
        return self.popleft() if self else None


@pytest.fixture
def make_shelf(clock):
    def make(size=16, memory=math.inf, **boxes):
        configs = {name: BoxSpec(name=name, image=name, **keys) for name, keys in boxes.items()}
        shelf = Shelf(configs, Room(configs, size, memory), clock, FakeQueue)
        shelf.configs = configs
        return shelf

    return make


def stays(box):
    if not box.is_alive:
        box.discard()
    return box.is_alive


def fill(shelf, name, count=1):
    boxes = [FakeBox(shelf.configs[name]) for _ in range(count)]
    for box in boxes:
        shelf.put(box)
    return boxes


def idle(shelf, name):
    return shelf.counts()[name, "idle"]


def use(shelf, name, count=1):
    """Take so many boxes at once, of which none comes back."""
    for _ in range(count):
        shelf.took(name)
        shelf.take(name)
    shelf.used(name, count)


def reuse(shelf, name, count=1):
    """Use so many boxes at once; those that wait come back."""
    taken = []
    for _ in range(count):
        shelf.took(name)
        taken.append(shelf.take(name))
    for box in filter(None, taken):
        shelf.used(name)
        shelf.put(box)
    shelf.used(name, taken.count(None))


def test_next_to_start_before_any_use_is_none(make_shelf):
    assert make_shelf(sh={}).next_to_start() is None


def test_shelf_starts_boxes_up_to_the_floor(make_shelf):
    shelf = make_shelf(sh={"warm": 2})
    fill(shelf, "sh")
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_shelf_replaces_a_used_box(make_shelf):
    shelf = make_shelf(sh={})
    use(shelf, "sh")
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_shelf_keeps_as_many_boxes_as_were_in_use_at_once(make_shelf):
    shelf = make_shelf(sh={})
    use(shelf, "sh", 3)
    fill(shelf, "sh", 2)
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_box_being_started_is_not_started_twice(make_shelf):
    shelf = make_shelf(sh={})
    use(shelf, "sh")
    shelf.starting["sh"] += 1
    assert shelf.next_to_start() is None


def test_reusable_box_in_use_is_not_replaced(make_shelf):
    shelf = make_shelf(sh={"uses": 10}, once={})
    shelf.took("sh")
    assert shelf.next_to_start() is None
    shelf.took("once")
    assert shelf.next_to_start() == "once"


@pytest.mark.parametrize(
    ("wanted", "there", "is_short"),
    [(1, 0, False), (2, 1, False), (2, 0, True), (8, 4, False), (8, 3, True)],
)
def test_shelf_is_short_of_several_boxes_below_half(make_shelf, wanted, there, is_short):
    shelf = make_shelf(sh={}, failing={"warm": 9})
    shelf.failed("failing")
    use(shelf, "sh", wanted)
    fill(shelf, "sh", there)
    assert shelf.is_short is is_short


def test_take_returns_the_longest_waiting_box(make_shelf):
    shelf = make_shelf(sh={})
    first, last = fill(shelf, "sh", 2)
    assert shelf.take("sh") is first
    assert shelf.take("sh") is last


def test_take_discards_a_dead_box(make_shelf):
    shelf = make_shelf(sh={})
    first, last = fill(shelf, "sh", 2)
    first.is_alive = False
    assert shelf.take("sh") is last
    assert first.is_discarded
    assert shelf.take("sh") is None


def test_tidy_discards_a_dead_box(make_shelf):
    shelf = make_shelf(sh={"warm": 2})
    first, last = fill(shelf, "sh", 2)
    first.is_alive = False
    shelf.tidy(stays)
    assert first.is_discarded
    assert not last.is_discarded
    assert idle(shelf, "sh") == 1


def test_tidy_evicts_unused_boxes_down_to_the_floor(make_shelf, clock):
    shelf = make_shelf(sh={}, floor={"warm": 1})
    use(shelf, "sh", 2)
    fill(shelf, "sh", 2)
    fill(shelf, "floor")
    clock.now += MEMORY * 0.7
    shelf.tidy(stays)
    assert idle(shelf, "sh") == 2
    clock.now += MEMORY * 0.7
    shelf.tidy(stays)
    assert idle(shelf, "sh") == 0
    assert idle(shelf, "floor") == 1


def test_shelf_discards_boxes_beyond_its_size(make_shelf):
    shelf = make_shelf(size=2, sh={})
    use(shelf, "sh", 5)
    boxes = fill(shelf, "sh", 3)
    assert idle(shelf, "sh") == 2
    assert sum(box.is_discarded for box in boxes) == 1
    assert shelf.next_to_start() is None


def test_reusable_boxes_wanted_are_those_in_use_at_once(make_shelf, clock):
    shelf = make_shelf(sh={"uses": 10})
    reuse(shelf, "sh", 2)
    for _ in range(5):
        reuse(shelf, "sh")
    fill(shelf, "sh")
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


@pytest.mark.parametrize(("preload", "spare"), [(None, 0), (PRELOAD, 1)])
def test_preloaded_boxes_that_come_back_have_one_to_spare(make_shelf, preload, spare):
    shelf = make_shelf(sh={"uses": 10, "preload": preload})
    reuse(shelf, "sh", 2)
    fill(shelf, "sh", 2 + spare)
    shelf.tidy(stays)
    assert idle(shelf, "sh") == 2 + spare
    assert shelf.next_to_start() is None


def test_first_preloaded_box_starts_unasked_and_stays_for_a_time(make_shelf, clock):
    shelf = make_shelf(sh={"preload": PRELOAD})
    assert shelf.next_to_start() == "sh"
    (box,) = fill(shelf, "sh")
    clock.now += MEMORY
    shelf.tidy(stays)
    assert not box.is_discarded
    clock.now += 1
    shelf.tidy(stays)
    assert box.is_discarded
    assert shelf.next_to_start() is None


@pytest.mark.parametrize(("pause", "wanted"), [(REPLACEMENT / 4, 4), (REPLACEMENT, 1)])
def test_fresh_boxes_wanted_are_those_taken_while_one_is_replaced(make_shelf, clock, pause, wanted):
    shelf = make_shelf(sh={})
    for _ in range(9):
        use(shelf, "sh")
        clock.now += pause
    fill(shelf, "sh", wanted - 1)
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_client_that_never_pauses_does_not_make_the_stock_grow_without_end(make_shelf):
    shelf = make_shelf(1000, sh={})
    for _ in range(9):
        fill(shelf, "sh", BURST)
        use(shelf, "sh", BURST + 9)
    fill(shelf, "sh", BURST - 1)
    assert shelf.next_to_start() == "sh"
    fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_box_that_is_needed_least_is_evicted_first(make_shelf, clock):
    shelf = make_shelf(size=3, many={}, new={})
    use(shelf, "many", 3)
    fill(shelf, "many", 3)
    clock.now += RECENT + 1
    use(shelf, "many")
    fill(shelf, "many")
    clock.now += RECENT - 1
    use(shelf, "new", 3)
    # one of `many` was needed lately
    for left in (2, 1):
        assert shelf.next_to_start() == "new"
        assert idle(shelf, "many") == left
        fill(shelf, "new")
    assert shelf.next_to_start() is None
    assert idle(shelf, "many") == 1


def test_boxes_in_turn_are_not_started_for_each_other(make_shelf, clock):
    names = [f"box{number}" for number in range(10)]
    shelf = make_shelf(size=4, **{name: {} for name in names})
    started = 0
    for turn in range(300):
        use(shelf, names[turn % 10])
        while name := shelf.next_to_start():
            started += 1
            fill(shelf, name)
        clock.now += RECENT / 20
    # what is taken is replaced
    assert started <= 300 * 0.4 + 4


def test_nothing_is_evicted_for_a_start_while_jobs_run(make_shelf, clock):
    shelf = make_shelf(size=1, old={}, new={})
    use(shelf, "old")
    fill(shelf, "old")
    clock.now += RECENT + 1
    use(shelf, "new")
    assert shelf.next_to_start(may_evict=False) is None
    assert idle(shelf, "old") == 1
    assert shelf.next_to_start() == "new"
    assert idle(shelf, "old") == 0


def test_box_that_comes_back_evicts_one_that_is_needed_less(make_shelf, clock):
    shelf = make_shelf(size=1, old={"uses": 9}, new={"uses": 9})
    use(shelf, "old")
    (old,) = fill(shelf, "old")
    clock.now += 1
    shelf.took("new")
    shelf.used("new")
    (new,) = fill(shelf, "new")
    assert old.is_discarded
    assert not new.is_discarded
    (older,) = fill(shelf, "old")
    assert older.is_discarded


def test_place_of_a_reusable_box_in_use_is_kept(make_shelf):
    shelf = make_shelf(size=1, sh={"uses": 9}, other={"uses": 9})
    reuse(shelf, "other")
    (box,) = fill(shelf, "sh")
    shelf.took("sh")
    shelf.take("sh")
    assert shelf.next_to_start() is None
    shelf.used("sh")
    shelf.put(box)
    assert not box.is_discarded


def test_shelf_keeps_what_its_memory_holds(make_shelf):
    shelf = make_shelf(memory=2 * OVERHEAD + 1, sh={})
    use(shelf, "sh", 3)
    for _ in range(2):
        assert shelf.next_to_start() == "sh"
        fill(shelf, "sh")
    assert shelf.next_to_start() is None


def test_weighed_boxes_take_their_own_memory_too(make_shelf):
    shelf = make_shelf(memory=3 * OVERHEAD + 10, sh={}, pandas={})
    use(shelf, "pandas", 2)
    shelf.weigh("pandas", 10 << 10)
    fill(shelf, "pandas")
    # no room for another, but for one that is smaller
    assert shelf.next_to_start() is None
    use(shelf, "sh", 2)
    assert shelf.next_to_start() == "sh"


def test_large_box_evicts_as_many_as_it_needs_or_none(make_shelf, clock):
    shelf = make_shelf(memory=3 * OVERHEAD, sh={}, large={})
    shelf.weigh("large", OVERHEAD << 10)
    use(shelf, "sh", 3)
    fill(shelf, "sh", 3)
    clock.now += RECENT
    use(shelf, "sh")
    fill(shelf, "sh")
    clock.now += RECENT
    use(shelf, "large", 2)
    assert shelf.next_to_start() == "large"
    assert idle(shelf, "sh") == 1
    fill(shelf, "large")
    assert shelf.next_to_start() is None
    assert idle(shelf, "sh") == 1


def test_floor_is_kept_beyond_the_memory(make_shelf):
    shelf = make_shelf(memory=OVERHEAD, floor={"warm": 3}, sh={})
    for _ in range(3):
        assert shelf.next_to_start() == "floor"
        (box,) = fill(shelf, "floor")
        assert not box.is_discarded
    use(shelf, "sh")
    assert shelf.next_to_start() is None


def test_floor_boxes_are_not_evicted(make_shelf, clock):
    shelf = make_shelf(size=1, floor={"warm": 1}, new={})
    fill(shelf, "floor")
    clock.now += 1
    use(shelf, "new")
    assert shelf.next_to_start() is None
    assert idle(shelf, "floor") == 1


def test_shelf_of_size_zero_keeps_nothing(make_shelf):
    shelf = make_shelf(size=0, sh={})
    use(shelf, "sh")
    assert shelf.next_to_start() is None
    assert not shelf.admits(FakeBox(shelf.configs["sh"]))
    (box,) = fill(shelf, "sh")
    assert box.is_discarded


def test_box_that_is_preloaded_takes_room(make_shelf):
    shelf = make_shelf(size=1, sh={})
    assert shelf.admits(FakeBox(shelf.configs["sh"]))
    shelf.preloading["sh"] = 1
    assert not shelf.admits(FakeBox(shelf.configs["sh"]))


def test_full_queue_is_refilled_after_the_backoff(make_shelf, clock):
    shelf = make_shelf(sh={"warm": 1})
    shelf.queues["sh"].full = True
    fill(shelf, "sh")
    assert shelf.next_to_start() is None
    clock.now += BACKOFF
    assert shelf.next_to_start() == "sh"


def test_tidy_keeps_the_backoff_of_failed_starts(make_shelf, clock):
    shelf = make_shelf(sh={"warm": 3})
    fill(shelf, "sh", 2)
    shelf.failed("sh")
    shelf.tidy(stays)
    clock.now += BACKOFF
    shelf.failed("sh")
    shelf.tidy(stays)
    clock.now += BACKOFF
    assert shelf.next_to_start() is None
    clock.now += BACKOFF
    assert shelf.next_to_start() == "sh"


def test_tidy_keeps_the_floor_while_workers_take_boxes(make_shelf, clock):
    shelf = make_shelf(sh={"warm": 3})
    use(shelf, "sh", 5)
    fill(shelf, "sh", 5)
    clock.now += 2 * MEMORY
    take = shelf.queues["sh"].take
    # a worker takes another box after each drop
    drop = shelf._drop
    shelf._drop = lambda name: (drop(name), take())
    shelf.tidy(stays)
    assert idle(shelf, "sh") == 3


def test_tidy_ends_when_workers_empty_the_queue(make_shelf):
    shelf = make_shelf(sh={"warm": 2})
    fill(shelf, "sh", 2)
    row = shelf.queues["sh"]
    row.put = lambda box: row.clear()
    shelf.tidy(stays)
    assert idle(shelf, "sh") == 0


def test_failed_start_is_retried_with_backoff(make_shelf, clock):
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


def test_failing_name_does_not_block_others(make_shelf):
    shelf = make_shelf(broken={"warm": 2}, sh={"warm": 1})
    shelf.failed("broken")
    assert shelf.next_to_start() == "sh"


def test_boxes_of_a_replaced_image_are_discarded(make_shelf):
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


def test_refill_without_runs_is_not_delayed(grace):
    assert grace.is_over


def test_refill_is_delayed_by_a_new_run(grace, clock):
    grace.give(1)
    assert not grace.is_over
    clock.now += GRACE
    assert grace.is_over


@pytest.mark.parametrize(
    ("running", "is_over"), [(PROCESSORS, True), (PROCESSORS + 1, False)], ids=["few", "a crowd"]
)
def test_refill_delay_is_extended_by_runs_above_the_core_count(grace, clock, running, is_over):
    grace.give(1)
    clock.now += GRACE / 2
    grace.give(running)
    clock.now += GRACE * 0.6
    assert grace.is_over is is_over


def test_refill_delay_is_bounded_under_constant_load(grace, clock):
    starts = 0
    for _ in range(200):
        starts += grace.is_over
        grace.give(PROCESSORS + 1)
        clock.now += GRACE / 10
    lasted = 200 * GRACE / 10
    assert starts >= lasted // MAX_GRACE
