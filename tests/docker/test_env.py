"""The environment that a box's config sets for programs."""

from __future__ import annotations

import pytest

from tests.support.instance import docker

pytestmark = pytest.mark.docker

ENV = {"TZ": "XYZ-3", "TEXT": "a 'b'=\n", "EMPTY": "", "LD_PRELOAD": ""}
SHOW = 'date +%z; printf "%s." "$TEXT" "${EMPTY-unset}"'
SHOWN = "+0300\na 'b'=\n.."
# a box in which root runs cannot be reused
KINDS = [("warm", "root"), *((kind, "sandbox") for kind in ("plain", "cold", "warm", "reused"))]


@pytest.mark.parametrize(("kind", "user"), KINDS)
def test_env_is_that_of_every_program(run, user):
    execution = run("sh", "-c", SHOW, box={"env": ENV}, user=user)
    assert (execution.stdout, execution.stderr) == (SHOWN, "")


def test_env_replaces_what_the_image_and_the_users_home_set(run, image):
    label = image('FROM codapi/sh\nENV HOME=/image A=image B=image PATH=/image:$PATH\nCMD ["true"]')
    env = {"A": "box", "HOME": "/box", "PATH": "/usr/bin:/bin"}
    execution = run("sh", "-c", 'echo "$A $B $HOME $PATH"', box={"image": label, "env": env})
    assert execution.stdout == "box image /box /usr/bin:/bin\n"


def test_program_is_found_in_the_path_of_env(run):
    execution = run("true", box={"env": {"PATH": "/nowhere"}})
    assert not execution.ok
    assert "true" in execution.stderr


@pytest.mark.parametrize("kind", ["plain"])
def test_exec_steps_in_a_detached_box_have_its_env(execute, service):
    show = {"action": "exec", "box": ":name", "command": ["sh", "-c", SHOW]}
    before = {"box": "sh", "command": ["sleep", "1000"], "detach": True}
    log = f"({SHOW}) > /tmp/env"
    execution = execute(
        show,
        before=before,
        after={**show, "command": ["sh", "-c", f"{log}; cat /tmp/env >&2; exit 1"]},
        boxes={"sh": {"env": ENV, "tmpfs": ["/tmp"]}},
    )
    assert execution.steps[1].stdout == SHOWN
    assert execution.steps[-1].stderr == SHOWN


@pytest.mark.parametrize("kind", ["warm"])
def test_each_step_has_the_env_of_its_box(execute):
    show = ["sh", "-c", 'echo "${A-unset}"']
    boxes = {"a": {"env": {"A": "a"}}, "b": {"env": {"A": "b"}}, "c": {}}
    for order in ("abc", "cba"):
        steps = [{"box": box, "command": show} for box in order]
        execution = execute(*steps, before=steps[2], after=steps[1], boxes=boxes)
        printed = [step.stdout.strip() for step in execution.steps]
        assert printed == [{"c": "unset"}.get(box, box) for box in order[2] + order]


def test_services_have_their_own_env(execute, service):
    show = {"action": "exec", "box": service, "command": ["env"]}
    boxes = {"sh": {"env": ENV}}
    execution = execute(show, boxes=boxes)
    assert execution.stdout == docker("exec", "--user=sandbox", service, "env") + "\n"
