import json

import pytest


def test_right_config_is_counted(codapi, root):
    ended = codapi("check", "--root", str(root()))
    assert ended == (0, "the config is right: 2 sandboxes, 2 commands, 2 boxes\n", "")


def test_every_problem_is_shown_with_file_and_key(codapi, root):
    here = root(boxes={"sh": {"image": "codapi/sh", "memory": "much", "nproc": 0.5}})
    status, stdout, stderr = codapi("check", "--root", str(here))
    assert (status, stdout) == (1, "")
    assert "configs/boxes.json: sh.memory: must be" in stderr
    assert "configs/boxes.json: sh.nproc: must be" in stderr
    assert "configs/commands/python.json: run.steps[0].box: no box named 'python'" in stderr


def test_problems_as_json(codapi, root):
    status, stdout, _ = codapi("check", "--json", "--root", str(root(boxes={"sh": {}})))
    assert status == 1
    assert "configs/boxes.json: sh.image: no image is given" in json.loads(stdout)["problems"]


@pytest.mark.parametrize(
    ("key", "value", "source"),
    [
        (
            "step.command",
            '["sh", "main.sh", ":args"]',
            "configs/commands/sh.json: run.steps[0].command",
        ),
        ("step.timeout", "7", "configs/config.json: step.timeout"),
        ("box.memory", "80", "configs/boxes.json: sh.memory"),
        ("box.nproc", "32", "configs/config.json: box.nproc"),
        ("box.network", '"none"', "the server's default"),
    ],
)
def test_explanation_tells_where_each_value_comes_from(codapi, root, key, value, source):
    boxes = {"sh": {"image": "codapi/sh", "memory": 80}, "python": {"image": "codapi/python"}}
    here = root(boxes, step={"timeout": 7}, box={"nproc": 32})
    status, stdout, _ = codapi("check", "--explain", "sh", "run", "--root", str(here))
    assert status == 0
    assert f"  {key} = {value}  {source}\n" in stdout


def test_explanation_of_an_unknown_command_fails(codapi, root):
    ended = codapi("check", "--explain", "sh", "fly", "--root", str(root()))
    assert ended == (1, "", "codapi: there is no command fly of sh in the config\n")
