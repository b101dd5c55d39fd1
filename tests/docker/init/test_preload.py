"""Programs that init starts ahead of a run, and that become its first process."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codapi_flask.boxes.pipes import open_pipes
from codapi_flask.init import Stage
from tests.support.initbox import Box, Preload
from tests.support.server import wait_for

pytestmark = pytest.mark.docker

PYTHON = "/usr/bin/python3"

READ = """
data = b""
while part := os.read(3, 65536):
    data += part
argv = data.decode().split("\\0")[:-1]
"""
"""Reads the arguments, up to the end."""

GO_ON = READ + "os.close(3); exec(argv[1])"

WAIT = "import os, sys, time; os.write(4, b'x'); os.close(4)" + GO_ON


COUNT, ALONE = "set -- /proc/[0-9]*; echo $#", "2\n"
"""Counts the processes: init and this shell, if there are no others."""


def waiting(box: Box, script: str = WAIT, **options: str) -> Preload:
    """Preload a Python script, which then waits."""
    preload = box.preload([PYTHON, "-c", script], **options)
    assert box.news().waits
    return preload


def test_program_that_waits_becomes_that_of_the_run(box: Box) -> None:
    preload = waiting(box, "import os; before = os.getpid()\n" + WAIT)
    script = "print(before == os.getpid(), argv[2:], sys.stdin.read()); sys.exit(3)"
    result = preload.start([PYTHON, script, "a", "", "é b"]).finish(stdin=b"typed")
    assert (result.status, result.stderr) == (3, "")
    assert result.stdout == "True ['a', '', 'é b'] typed\n"
    assert result.done.preloaded


def test_run_without_a_preload_has_not_waited(box: Box) -> None:
    assert not box.sh("true").done.preloaded


def test_arguments_of_the_largest_message_arrive(box: Box) -> None:
    script = "print(len(argv), sum(map(len, argv[2:])))"
    args = ["x" * 64] * 1000
    assert waiting(box).run([PYTHON, script, *args]).stdout == "1002 64000\n"
    args = ["x" * (65_500 - len(script) - len(PYTHON))]
    assert waiting(box).run([PYTHON, script, *args]).stdout.startswith("3 65")


@pytest.mark.parametrize(
    ("user", "env", "argv"),
    [
        ("1001", (), [PYTHON, "-c", "print('usual')"]),
        ("1000", ("A=b",), [PYTHON, "-c", "print('usual')"]),
        ("1000", (), ["python3", "-c", "print('usual')"]),
        ("1000", (), ["sh", "-c", "echo usual"]),
    ],
    ids=["user", "environment", "path", "program"],
)
def test_run_that_does_not_fit_starts_as_usual(
    box: Box, user: str, env: tuple[str, ...], argv: list[str]
) -> None:
    result = waiting(box).run(argv, user, env)
    assert (result.stdout, result.status, result.done.preloaded) == ("usual\n", 0, False)
    assert box.sh(COUNT).stdout == ALONE


def test_run_before_the_program_waits_starts_as_usual(box: Box) -> None:
    preload = box.preload([PYTHON, "-c", "import time; time.sleep(1000)"])
    result = preload.run([PYTHON, "-c", "print('usual')"])
    assert (result.stdout, result.done.preloaded) == ("usual\n", False)


def test_run_with_pipes_of_its_own_ends_what_waits(box: Box) -> None:
    waiting(box)
    assert box.sh(COUNT).stdout == ALONE
    assert waiting(box).run([PYTHON, "print(1)"]).stdout == "1\n"


def test_counters_of_a_run_begin_when_it_goes_on(box: Box) -> None:
    busy = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n"
    done = waiting(box, busy + WAIT).run([PYTHON, "time.sleep(0.1)"]).done
    assert done.cpu_ns is not None
    assert done.cpu_ns < 2e8
    assert 1e8 <= done.wall_ns < 5e8


def test_news_has_the_memory_of_the_box(box: Box) -> None:
    box.preload([PYTHON, "-c", "kept = b'x' * (20 << 20)\n" + WAIT])
    small = box.news().memory_kib
    assert small is not None
    assert 20 << 10 < small < 32 << 10


def test_program_that_waits_has_only_its_descriptors(box: Box) -> None:
    script = "import os; before = sorted(map(int, os.listdir('/proc/self/fd')))\n" + WAIT
    show = "print(before, sorted(map(int, os.listdir('/proc/self/fd'))))"
    # one more is that of the directory
    assert waiting(box, script).run([PYTHON, show]).stdout == "[0, 1, 2, 3, 4, 5] [0, 1, 2, 3]\n"


def test_run_and_its_family_end_with_the_program(box: Box) -> None:
    preload = waiting(box, "import os, time\nif os.fork() == 0: time.sleep(1000)\n" + WAIT)
    fork = "if os.fork() == 0: os.setsid(); time.sleep(1000)"
    assert preload.run([PYTHON, fork]).status == 0
    assert box.sh(COUNT).stdout == ALONE


def test_run_that_waited_is_killed_at_its_timeout(box: Box) -> None:
    done = waiting(box).start([PYTHON, "time.sleep(1000)"]).finish(timeout=0.2).done
    assert (done.signal, done.preloaded) == (9, True)


def test_box_is_as_new_after_a_run_that_waited(start_box: Callable[..., Box]) -> None:
    box = start_box(tmpfs={"/tmp": "size=32m"})
    assert waiting(box).run([PYTHON, "pass"]).done.is_clean
    assert not waiting(box).run([PYTHON, "open('/tmp/x', 'w')"]).done.is_clean
    assert box.reset().ok


@pytest.mark.parametrize(
    ("argv", "code", "number", "stage"),
    [
        (["sh", "-c", "exit 3"], 3, None, Stage.NONE),
        (["sh", "-c", "kill -TERM $$"], None, 15, Stage.NONE),
        (["nope"], None, None, Stage.EXEC),
        (["sh", "-c", "exec 4>&-; sleep 1000"], None, 9, Stage.NONE),
        (["sh", "-c", "sleep 1000 & exit 5"], 5, None, Stage.NONE),
    ],
    ids=["exit", "signal", "missing", "closed", "family"],
)
def test_end_of_what_does_not_wait_is_told(
    box: Box, argv: list[str], code: int | None, number: int | None, stage: Stage
) -> None:
    preload = box.preload(argv)
    news = box.news()
    assert (news.waits, news.code, news.signal, news.stage) == (False, code, number, stage)
    assert preload.run(["sh", "-c", COUNT]).stdout == ALONE


def test_unknown_user_of_a_preload_is_told(box: Box) -> None:
    preload = box.preload(["true"], "nobody-here")
    news = box.news()
    assert (news.stage, news.problem("true", "nobody-here")[:19]) == (
        Stage.USER,
        "unable to find user",
    )
    assert preload.run(["echo", "usual"]).stdout == "usual\n"


def test_missing_program_of_a_preload_is_told_as_of_a_run(box: Box) -> None:
    box.preload(["nope"])
    assert box.news().errno == errno.ENOENT


def test_preload_beyond_the_memory_is_told(box: Box) -> None:
    box.preload([PYTHON, "-c", "x = b'x' * (90 << 20)\n" + WAIT])
    news = box.news()
    assert (news.signal, news.problem(PYTHON, "1000")) == (9, "out of memory")
    assert box.sh("echo alive").stdout == "alive\n"


FLOOD = "import os\nwhile True: os.write(1, bytes(65536))"
STORM = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


@pytest.mark.parametrize("script", ["import time; time.sleep(1000)", FLOOD, STORM])
def test_hanging_preload_is_killed(box: Box, script: str) -> None:
    box.preload([PYTHON, "-c", script])
    time.sleep(0.2)
    box.init.kill()
    assert box.news().signal == 9
    assert box.sh(COUNT).stdout == ALONE


def test_death_of_a_program_that_waits_is_told(box: Box) -> None:
    die = "import signal; signal.alarm(1)\n" + WAIT
    preload = waiting(box, die)
    assert box.news().signal == 14
    assert preload.run(["echo", "usual"]).stdout == "usual\n"


def test_kill_without_a_preload_is_ignored(box: Box) -> None:
    box.init.kill()
    assert waiting(box).run([PYTHON, "print(1)"]).stdout == "1\n"


def test_reset_ends_what_waits(box: Box) -> None:
    waiting(box)
    assert box.reset().ok
    assert box.sh(COUNT).stdout == ALONE


def test_program_is_preloaded_again_after_a_failure(box: Box) -> None:
    for _ in range(3):
        box.preload(["false"])
        assert box.news().code == 1
    assert waiting(box).run([PYTHON, "print(1)"]).stdout == "1\n"


@pytest.mark.parametrize("state", ["running", "waiting", "without"])
def test_message_out_of_turn_ends_the_box(box: Box, state: str) -> None:
    if state == "running":
        box.start(["sleep", "1000"])
    elif state == "waiting":
        waiting(box)
    ends = () if state == "without" else open_pipes()[1]
    (box.init.preload if ends else box.init.run)(["sleep", "1000"], "1000", ends)
    wait_for(lambda: not box.is_running())


def test_hundred_preloads_leave_nothing_open_in_init(box: Box) -> None:
    def descriptors() -> list[str]:
        # init closes the last ones after its answer
        assert box.reset().ok
        pid = box.init.pid
        return sorted(path.name for path in Path(f"/proc/{pid}/fd").iterdir())

    waiting(box).run([PYTHON, "pass"])
    before = descriptors()
    for number in range(100):
        preload = box.preload([PYTHON, "-Ic", WAIT] if number % 3 else ["false"])
        box.news()
        if number % 2:
            preload.run([PYTHON if number % 4 == 1 else "true", "pass"])
        else:
            box.sh("true")
    assert descriptors() == before


def test_program_that_waits_takes_no_processor_time(box: Box) -> None:
    waiting(box)
    init = box.init.pid
    (pid,) = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    spent = Path(f"/proc/{pid}/schedstat").read_text()
    time.sleep(2)
    assert Path(f"/proc/{pid}/schedstat").read_text() == spent
