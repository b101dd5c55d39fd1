import math
from pathlib import Path

import pytest

from codapi_flask.config.model import BoxSpec, Config
from codapi_flask.stock.room import MAX_SIZE, OVERHEAD, Room, memory_limit, warnings


def config(warm=0, **top):
    return Config(boxes={"sh": BoxSpec(name="sh", image="sh", warm=warm)}, **top)


def most(config):
    """Return how many boxes the room of a config holds."""
    room = Room.of(config.boxes, config)
    return next(count for count in range(3000) if not room.holds({"sh": count + 1}))


@pytest.fixture
def descriptors(monkeypatch):
    """Return a function that sets the limit on descriptors."""
    return lambda count: monkeypatch.setattr("resource.getrlimit", lambda _: (count, count))


@pytest.mark.parametrize(
    ("top", "limit", "held"),
    [
        ({"stock_memory": 1 << 20}, -1, MAX_SIZE),
        ({"stock_memory": 1 << 20}, 1024, 256),
        ({"stock_memory": 1 << 20, "stock_size": 16}, 1024, 16),
        ({"stock_memory": 1 << 20, "stock_size": 1000}, 1024, 256),
        ({"stock_memory": 10 * OVERHEAD}, -1, 10),
        ({"stock_memory": 0}, -1, 0),
        ({"stock_size": 0}, -1, 0),
    ],
)
def test_room_is_bounded_by_the_least_of_its_limits(descriptors, top, limit, held):
    descriptors(limit)
    assert most(config(**top)) == held


def test_memory_limit_by_default_is_a_quarter_of_what_is_available():
    lines = Path("/proc/meminfo").read_text().splitlines()
    [available] = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    assert math.isclose(memory_limit(config()), available / 1024 / 4, rel_tol=0.1)


@pytest.mark.parametrize(
    ("size", "limit", "is_told"),
    [(None, 1024, False), (256, 1024, False), (257, 1024, True), (1000, -1, False)],
)
def test_warnings_name_a_size_beyond_the_descriptors(descriptors, size, limit, is_told):
    descriptors(limit)
    said = list(warnings(config(stock_size=size)))
    assert any("takes 2 descriptors of the 512 that" in text for text in said) == is_told


@pytest.mark.parametrize(("warm", "is_told"), [(2, False), (3, True)])
def test_warnings_name_warm_boxes_beyond_the_memory(warm, is_told):
    said = list(warnings(config(warm, stock_memory=2 * OVERHEAD)))
    assert any(f"{3 * OVERHEAD} MiB" in text for text in said) == is_told
