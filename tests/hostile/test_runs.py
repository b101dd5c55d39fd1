"""Runs of one request that attack the later ones, and args that attack the program's own ones."""

from __future__ import annotations

import json
import string

import pytest

from codapi_flask.models import Input
from tests.hostile import test_memory, test_processes, test_reuse
from tests.support.instance import PYTHON

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

BOX = {"tmpfs": ["/tmp", "/dev/shm:size=1g", "/more:mode=700,uid=1000"]}
LOOK = Input(b"x" * (1 << 20), ("sh", "/programs/look"))
TIMEOUT, KILLED = "code execution timeout", "out of memory (64 MiB)\nexit status 137"
PLANTED = "echo evil > {0}/json.py; mkfifo {0}/f; ln -s /etc {0}/l; chmod 0 {0}/json.py"
ATTACKS = [
    (test_processes.ENDLESS["a fork bomb in C"], TIMEOUT),
    (test_processes.ENDLESS["stopping all"], TIMEOUT),
    (test_processes.ENDING["daemons that hold stdout"][0], "on\n"),
    (test_memory.BOMBS["heap"], KILLED),
    (test_memory.BOMBS["/dev/shm"], KILLED),
    (test_processes.ENDING["killing all"][0], "on\n"),
    (test_reuse.NOT_UNDONE["a port that waits"], ""),
    (["sh", "-c", ";".join(PLANTED.format(place) for place in ("/tmp", "/dev/shm", "/more"))], ""),
]
"""What the runs execute, and what they answer."""

ARGV = "import json, sys; print(json.dumps(sys.argv[1:]))"
OPTIONS = [f"-{letter}" for letter in string.ascii_letters] + [f"+{letter}" for letter in "cox"]


def test_run_after_an_attack_finds_a_box_as_new(execute, image):
    """The fixtures check the host afterwards."""
    runs = [each for argv, _ in ATTACKS for each in (Input(args=tuple(argv)), LOOK)]
    step = {"box": "box", "command": ["sh", "main.sh", ":args"], "timeout": 1.5}
    boxes = {"box": {"image": image, **BOX}}
    files = {"": 'exec "$@"'}
    execution = execute(
        step, boxes=boxes, files=files, entry="main.sh", runs=runs, runs_timeout=300
    )
    attacks, looks = execution.results[::2], execution.results[1::2]
    assert [(each.ok, each.stdout, each.stderr) for each in looks] == [
        (True, "main.sh\n", "")
    ] * len(ATTACKS)
    assert [each.stdout or each.stderr for each in attacks] == [text for _, text in ATTACKS]


@pytest.mark.parametrize("argv", [["python", "-c", ARGV], ["python", "-I", "-c", ARGV, "--"]])
@pytest.mark.parametrize("args", [OPTIONS[:64], ["--", "-c", "print(1)"], ["-m", "http.server"]])
def test_args_that_look_like_options_are_the_programs(run, argv, args):
    execution = run(*argv, ":args", box=PYTHON, input=Input(args=tuple(args)))
    assert json.loads(execution.stdout) == ["--"] * argv.count("--") + args


@pytest.mark.parametrize("options", [[], ["-e"]])
def test_args_of_a_script_are_no_options_of_its_shell(run, options):
    args = ("-c", "echo injected", "-s", "+c", "--", "$(id)")
    execution = run(
        *("sh", *options, "main.sh", ":args"),
        files={"": "printf '%s.' \"$@\""},
        entry="main.sh",
        input=Input(args=args),
    )
    assert execution.stdout == "".join(f"{text}." for text in args)


def test_largest_args_and_stdin_reach_the_program(run):
    args = ("é" * 4000, *"x" * 63)
    code = "import sys; print(sum(len(a.encode()) for a in sys.argv[1:]), len(sys.stdin.read()))"
    execution = run("python", "-c", code, ":args", box=PYTHON, input=Input(b"x" * (1 << 20), args))
    assert execution.stdout == f"8063 {1 << 20}\n"
