"""A program is the same in a box with init as in the same box of plain Docker."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable

import pytest

from codapi_flask.init import Stage
from tests.support.initbox import Box

pytestmark = pytest.mark.docker

WHO = """
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig(Pnd|Blk|Ign)|ShdPnd|CoreDumping|THP)' \
    /proc/self/status
env | grep -v ^HOSTNAME= | sort
/bin/pwd
umask
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup | sed s,/docker/.*,,
ls /proc/self/fd
ps -o pgid= -o sid= -p $$ 2>/dev/null
test "$(cut -d' ' -f5 /proc/$$/stat)" = $$ && echo leads its group
test "$(cut -d' ' -f6 /proc/$$/stat)" = $$ && echo leads its session
"""


def plain(image: str, user: str, script: str, *options: str) -> str:
    """Return the script's output in a plain container."""
    argv = ["docker", "run", "--rm", "--network=none", "--read-only", f"--user={user}"]
    argv += ["--security-opt=no-new-privileges", "--entrypoint=", *options, image]
    result = subprocess.run([*argv, "sh", "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


CAPABILITIES: list[tuple[list[str], list[str]]] = [
    ([], ["ALL"]),
    ([], []),
    (["NET_ADMIN"], []),
    (["NET_RAW", "SETUID"], ["ALL"]),
    ([], ["KILL", "CHOWN", "SETPCAP"]),
    (["SYS_PTRACE"], ["SETGID"]),
]
MORE_USERS = [
    "twin",
    "1000",
    "lonely",
    "1234",
    "sandbox:first",
    "4711",
    "4711:4712",
    "4711:second",
    "root",
    "0:31",
]


@pytest.mark.parametrize("user", ["sandbox", "root"])
@pytest.mark.parametrize(("add", "drop"), CAPABILITIES)
def test_program_has_the_same_rights_as_in_docker(
    start_box: Callable[..., Box], users: str, user: str, add: list[str], drop: list[str]
) -> None:
    box = start_box(users, cap_add=add, cap_drop=drop)
    options = [*(f"--cap-add={name}" for name in add), *(f"--cap-drop={name}" for name in drop)]
    assert box.sh(WHO, user).stdout == plain(users, user, WHO, *options)


@pytest.mark.parametrize("user", MORE_USERS)
def test_user_matches_docker(start_box: Callable[..., Box], users: str, user: str) -> None:
    expected = plain(users, user, WHO, "--cap-drop=ALL")
    assert start_box(users).sh(WHO, user).stdout == expected


def test_limits_are_inherited_as_in_docker(start_box: Callable[..., Box], users: str) -> None:
    limits = [
        {"Name": "nofile", "Soft": 96, "Hard": 128},
        {"Name": "core", "Soft": 0, "Hard": 0},
        {"Name": "stack", "Soft": 4 << 20, "Hard": 4 << 20},
        {"Name": "fsize", "Soft": 1 << 20, "Hard": 1 << 20},
    ]
    options = [f"--ulimit={limit['Name']}={limit['Soft']}:{limit['Hard']}" for limit in limits]
    box = start_box(users, ulimits=limits)
    assert box.sh(WHO, "sandbox").stdout == plain(users, "sandbox", WHO, "--cap-drop=ALL", *options)


def test_program_has_long_time_slices(box: Box) -> None:
    """proc(5): from Linux 6.12 on, where the kernel shows it."""
    shown = box.sh("cat /proc/self/sched", "sandbox").stdout
    turns = re.findall(r"^se\.slice *: *(\d+)$", shown, re.MULTILINE)
    version = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
    assert turns == (["10000000"] if version >= (6, 12) else turns)


def test_variables_of_the_run_override_the_images(box: Box) -> None:
    argv = ["sh", "-c", "echo $HOME $PYTHONUNBUFFERED $NEW $PATH"]
    result = box.run(argv, "sandbox", env=["NEW=new", "PYTHONUNBUFFERED=2", "HOME=/image"])
    assert result.stdout.startswith("/image 2 new /opt/venv/bin:")


@pytest.mark.parametrize(
    ("user", "stage", "text"),
    [
        ("nosuch", Stage.USER, "unable to find user nosuch: no matching entries in passwd file"),
        ("0:nosuch", Stage.GROUP, "unable to find group nosuch: no matching entries in group file"),
    ],
)
def test_unknown_user_is_reported_as_by_docker(
    box: Box, user: str, stage: Stage, text: str
) -> None:
    done = box.run(["true"], user).done
    assert (done.stage, done.status, done.problem("true", user)) == (stage, 125, text)
    argv = ["docker", "run", "--rm", "--network=none", f"--user={user}", "codapi/python", "true"]
    result = subprocess.run(argv, capture_output=True, text=True)
    assert text in result.stderr
    assert result.returncode == done.status


@pytest.mark.parametrize("program", ["nope", "/nope", "/etc/passwd", "/etc", ""])
def test_program_that_cannot_be_executed_has_dockers_status(box: Box, program: str) -> None:
    argv = ["docker", "run", "--rm", "--network=none", "--entrypoint=", "codapi/python", program]
    result = subprocess.run(argv, capture_output=True, text=True)
    done = box.run([program]).done
    assert done.stage is Stage.EXEC
    assert done.status == result.returncode
    assert f'exec: "{program}": ' in done.problem(program, "1000")


def test_path_is_searched_in_the_variables_of_the_run(box: Box) -> None:
    assert box.run(["ls", "-d", "/"], env=["PATH=relative::/nowhere:/bin"]).stdout == "/\n"
    assert box.run(["ls"], env=["PATH="]).status == 127


def test_streams_can_be_opened_by_name(box: Box) -> None:
    script = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"
    result = box.run(["sh", "-c", script], stdin=b"in\n")
    assert (result.stdout, result.stderr) == ("in\nout\n", "err\n")


def test_init_needs_nothing_of_the_image(start_box: Callable[..., Box], bare: str) -> None:
    box = start_box(bare)
    result = box.run(["/tool"], "1000:1000")
    assert (result.status, result.stderr[:15]) == (2, "usage: init box")
    assert box.run(["tool"], env=["PATH=/"]).status == 2
    assert box.run(["/tool"], "sandbox").done.stage is Stage.USER
    assert box.reset().stage is Stage.WRITABLE  # the last run had no user
    assert box.run(["/tool"], "1000").status == 2
    assert box.reset().ok
