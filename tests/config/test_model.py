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


def test_time_budget_covers_the_time_until_detached_boxes_are_ready():
    boxes = {"a": BoxSpec(name="a", image="i", ready=("true",), ready_timeout=20)}
    config, waits = Config(boxes=boxes), Step(box="a", detach=True)
    command = Command(before=waits, steps=(waits, Step(box="a")))
    assert config.time_budget(command) == command.time_budget(config.timeouts) + 2 * 20
    plain = Command(steps=(Step(box="a"),))
    assert config.time_budget(plain) == plain.time_budget(config.timeouts)


def test_command_time_budget_covers_the_runs_of_the_last_step():
    command = Command(steps=(Step(box="a", timeout=5), Step(box="b", timeout=0.5)))
    assert command.time_budget(Timeouts(box=3, margin=7), 30) == 5 + 30 + 4 * 3 + 7


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (("a", ":args"), ["a", "x:name", ":args", ""]),
        (("a", ":args", ":name"), ["a", "x:name", ":args", "", "id"]),
        (("a", ":args:", "x:args", ":ARGS"), ["a", ":args:", "x:args", ":ARGS"]),
        ((), []),
    ],
)
def test_step_puts_args_in_place_unchanged(command, argv):
    assert Step(box="a", command=command).argv("id", ["x:name", ":args", ""]) == argv


def test_step_without_args_has_nothing_in_their_place():
    assert Step(box="a", command=("a", ":args", "b:name")).argv("id", []) == ["a", "bid"]


FIRST, ARGS = Step(box="a"), Step(box="a", command=("b", ":args"))


@pytest.mark.parametrize(
    ("command", "stdin", "args", "runs"),
    [
        (Command(steps=(FIRST,)), True, False, True),
        (Command(steps=(ARGS,)), True, True, True),
        (Command(steps=(ARGS, FIRST)), True, True, True),
        (Command(steps=(Step(box="a", stdin=True),)), False, False, True),
        (Command(steps=(Step(box="a", stdin=True), FIRST)), True, False, True),
        (Command(steps=(ARGS, Step(box="a", action="exec"))), True, True, True),
        (Command(steps=(ARGS, Step(box="a", action="stop"))), False, True, False),
        (Command(steps=(FIRST, Step(box="a", detach=True))), False, False, False),
        (Command(engine="http"), False, False, False),
        (Command(engine="http", steps=(ARGS,)), False, False, False),
    ],
)
def test_command_takes_what_its_last_step_can_use(command, stdin, args, runs):
    assert (command.takes_stdin, command.takes_args) == (stdin, args)
    assert command.input_step is (command.steps[-1] if runs else None)


def test_config_names_each_image_once():
    images = {"sh": "codapi/sh", "python": "codapi/python", "bash": "codapi/sh"}
    boxes = {name: BoxSpec(name=name, image=image) for name, image in images.items()}
    assert Config(boxes=boxes).images() == ["codapi/sh", "codapi/python"]
