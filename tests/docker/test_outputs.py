"""Files that programs write and clients get back."""

from __future__ import annotations

import base64

import pytest

from tests.docker.test_directory import SERVER_USERS
from tests.support.instance import PYTHON

pytestmark = pytest.mark.docker

WRITABLE = {"volume": "%s:/sandbox"}
BOXES = {"sh": WRITABLE}
ALL = {"outputs": ["**"]}


def files_of(execution):
    """Return the contents of the files, and name and reason of each that is left out."""
    assert execution.fault == ""
    urls = execution.files.items()
    contents = {name: base64.b64decode(url.partition(",")[2]).decode() for name, url in urls}
    return contents, [(each.name, each.reason) for each in execution.left_out]


def sh(program, **step):
    return {"box": "sh", "command": ["sh", "-c", program], **step}


@pytest.fixture(params=["plain", "cold", "warm"])
def kind(request) -> str:
    """Return the kind of boxes: all that can be writable."""
    return request.param


def test_written_files_come_back_unlike_those_of_the_request(execute):
    program = "cat main a data > new; echo 2 > b; mkdir -p e/f; echo 3 > e/f/g; rm a; echo 4 > a"
    files = {"": "entry", "a": "1", "d/g": "5"}
    root = {"lib/data": "6"}
    boxes = {"sh": {**WRITABLE, "files": ["lib/*"]}}
    execution = execute(
        sh(program, **ALL), files=files, entry="main", boxes=boxes, root=root, wants_files=True
    )
    new = {"a": "4\n", "b": "2\n", "e/f/g": "3\n", "new": "entry16"}
    assert files_of(execution) == (new, [])


def test_files_come_back_only_if_asked(execute):
    execution = execute(sh("echo 1 > a", **ALL), boxes=BOXES)
    assert execution.ok
    assert files_of(execution) == ({}, [])


@pytest.mark.parametrize(
    ("end", "stderr"),
    [
        ("exit 3", "exit status 3"),
        ("kill -9 $$", "exit status 137"),
        ("sleep 60", "code execution timeout"),
        ("head -c 3M /dev/zero > big; sleep 60", "disk limit exceeded (1 MiB)"),
    ],
)
def test_failed_program_gives_back_what_it_wrote(execute, end, stderr):
    boxes = {"sh": {**WRITABLE, "work_size": 1, "ulimit": ["fsize=-1", "nofile=96"]}}
    step = sh(f"echo 1 > a; {end}", timeout=1, outputs=["a"])
    execution = execute(step, boxes=boxes, wants_files=True)
    assert execution.stderr == stderr
    assert files_of(execution) == ({"a": "1\n"}, [])


def test_patterns_of_executed_steps_count(execute):
    def step(name, end="", **step):
        return sh(f"echo {name} > {name}; {end}", **step)

    before, after = step("0", outputs=["1"]), step("9", outputs=["8"])
    steps = [step("1", outputs=["0"]), step("2"), step("3", "exit $(cat 1)", outputs=["3"])]
    later = [step("4", outputs=["2"]), step("8", outputs=["9"])]
    options = {"before": before, "after": after, "boxes": BOXES, "wants_files": True}
    failed = execute(*steps, *later, **options)
    assert failed.stderr == "exit status 1"
    assert set(files_of(failed)[0]) == {"0", "1", "3"}
    assert set(files_of(execute(*steps[:2], *later, **options))[0]) == {"0", "1", "2", "8", "9"}


def test_files_of_children_and_detached_programs_come_back(execute):
    detached = sh("while true; do echo x >> a; done", detach=True)
    write = "while true; do echo y >> b; done & until test -s a -a -s b; do sleep 0.01; done"
    step = sh(write, **ALL)
    for end in ("", "; exit 1"):
        last = sh(f"test -s a -a -s b{end}")
        execution = execute(detached, step, last, boxes=BOXES, wants_files=True)
        contents, left_out = files_of(execution)
        assert (execution.ok, set(contents), left_out) == (not end, {"a", "b"}, [])


def test_detached_program_that_still_runs_is_told(execute):
    before, after = sh("sleep 60", detach=True), sh("echo 2 > c")
    failing = sh("echo 1 > a; exit 1", **ALL)
    reason = "a step failed, and a detached program may still write until the last step"
    execution = execute(failing, before=before, after=after, boxes=BOXES, wants_files=True)
    assert files_of(execution) == ({}, [(".", reason)])
    # without a detached program, the answer has the files, but not those of the last step
    execution = execute(failing, after=after, boxes=BOXES, wants_files=True)
    assert files_of(execution) == ({"a": "1\n"}, [])


def test_limits_of_the_config_hold(execute):
    program = "head -c 1024 /dev/zero > a; echo 1 > b; echo 2 > c; echo 3 > d"
    step = sh(program, outputs=["*"], outputs_size=1, outputs_count=2)
    contents, left_out = files_of(execute(step, boxes=BOXES, wants_files=True))
    assert set(contents) == {"a"}
    assert left_out == [(name, "too large (limit: 1 KiB in all)") for name in "bcd"]


CLOSED = """
import os
for name, mode in {"open": 0o644, "private": 0o600, "closed": 0}.items():
    open(name, "w").close()
    os.chmod(name, mode)
open("usual", "w").close()
os.makedirs("usual directory")
open("usual directory/file", "w").close()
os.makedirs("directory/inner")
os.chmod("directory", 0)
"""


@SERVER_USERS
def test_unreadable_files_are_told(run, uid):
    execution = run("python", "-c", CLOSED, box={**PYTHON, **WRITABLE}, wants_files=True, **ALL)
    contents, left_out = files_of(execution)
    usual = {"open", "usual", "usual directory/file"}
    if not uid:
        # root may read all
        assert (set(contents), left_out) == ({*usual, "closed", "private"}, [])
        return
    assert set(contents) == usual
    denied = "unreadable: permission denied"
    assert left_out == [(name, denied) for name in ("closed", "directory", "private")]
