import pytest

from codapi_flask.config.model import (
    BoxSpec,
    Command,
    Config,
    Step,
)
from codapi_flask.config.timeouts import Timeouts


@pytest.mark.parametrize(
    ("pinned", "asked", "name"),
    [
        ("", "", "python"),
        ("", "3.12", "python:3.12"),
        ("", "latest", "python"),
        ("3.11", "", "python:3.11"),
        ("3.11", "3.12", "python:3.11"),
        ("latest", "3.12", "python"),
    ],
)
def test_step_version_precedes_that_of_the_request(pinned, asked, name):
    assert Step(box="python", version=pinned).box_name(asked) == name


@pytest.mark.parametrize(
    ("user", "is_root"),
    [
        *((user, True) for user in ("root", "0", "0:1000", "00", "+0", ":0", "root:sandbox")),
        *((user, False) for user in ("sandbox", "1000:0", "roots", "10")),
    ],
)
def test_step_tells_whether_it_runs_as_root(user, is_root):
    assert Step(box="sh", user=user).runs_as_root == is_root


@pytest.mark.parametrize(
    ("box", "keeps_nothing"),
    [
        ({}, True),
        ({"volume": "%s:/sandbox:ro,z"}, True),
        ({"volume": "%s:/sandbox"}, False),
        ({"volume": "%s:/sandbox:rw"}, False),
        ({"writable": True}, False),
    ],
)
def test_box_without_writable_storage_keeps_nothing(box, keeps_nothing):
    assert BoxSpec(name="sh", image="sh", **box).keeps_nothing == keeps_nothing


def test_command_steps_are_in_the_order_of_execution():
    before, first, second, after = (Step(box=name) for name in "abcd")
    command = Command(before=before, steps=(first, second), after=after)
    assert command.all_steps() == (before, first, second, after)
    assert Command(steps=(first,)).all_steps() == (first,)


def test_command_time_budget_covers_all_steps():
    command = Command(steps=(Step(box="a", timeout=5), Step(box="b", timeout=0.5)))
    assert command.time_budget(Timeouts(box=3, margin=7)) == 5.5 + 4 * 3 + 7
    assert Command(engine="http").time_budget(Timeouts(http=3, margin=7)) == 3 + 7


def test_config_names_each_image_once():
    images = {"sh": "codapi/sh", "python": "codapi/python", "bash": "codapi/sh"}
    boxes = {name: BoxSpec(name=name, image=image) for name, image in images.items()}
    assert Config(boxes=boxes).images() == ["codapi/sh", "codapi/python"]
