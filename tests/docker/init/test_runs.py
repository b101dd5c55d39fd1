"""Programs in a box with init: how they end, and the results that init reports."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codapi_flask.init import InitConnection, RunDone, Stage
from tests.support.initbox import Box
from tests.support.server import wait_for

pytestmark = pytest.mark.docker

FAMILY = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
"""
STORM = """
import os
print("go", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
ORPHANS = """
import os
print("go", flush=True)
while True:
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_run_reports_the_exit_code(box: Box, code: int) -> None:
    done = box.sh(f"exit {code}").done
    assert (done.code, done.signal, done.status) == (code, None, code)


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV", "INT", "HUP", "PIPE", "XCPU"])
def test_run_reports_the_signal(box: Box, name: str) -> None:
    done = box.sh(f"kill -{name} $$").done
    assert (done.code, done.signal) == (None, getattr(signal, f"SIG{name}"))


def test_output_of_any_size_is_complete(box: Box) -> None:
    result = box.sh("head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2")
    assert (len(result.stdout), len(result.stderr)) == (5000000, 3000000)


def test_output_of_a_short_run_is_complete(box: Box) -> None:
    assert {box.run(["echo", "hi"]).stdout for _ in range(300)} == {"hi\n"}


@pytest.mark.parametrize("script", [FAMILY, FAMILY.replace("os.setsid()", "pass")])
def test_exit_of_the_first_process_kills_the_others(box: Box, script: str) -> None:
    start = time.monotonic()
    result = box.python(script + "print('done')")
    assert (result.status, result.stdout) == (0, "done\n")
    # their end of the pipes is closed, and the next run sees none of them
    assert time.monotonic() - start < 20
    look = "import os; print(sum(name.isdigit() for name in os.listdir('/proc')))"
    assert box.python(look).stdout == "2\n"


@pytest.mark.parametrize("script", [FAMILY + "time.sleep(1000)", STORM, ORPHANS])
def test_kill_ends_all_processes_and_leaves_the_box_usable(box: Box, script: str) -> None:
    result = box.python(script, timeout=0.5)
    assert result.done.signal == signal.SIGKILL
    assert result.done.wall_ns < 2.5e9
    assert box.run(["echo", "again"]).stdout == "again\n"


def test_late_kill_does_nothing(box: Box) -> None:
    assert box.run(["true"]).status == 0
    box.init.kill()
    assert box.run(["echo", "hi"]).stdout == "hi\n"


def test_orphans_are_reaped_while_the_program_runs(box: Box) -> None:
    script = """
        import os, time
        def fork():
            while True:
                try:
                    return os.fork()
                except BlockingIOError:
                    # init is behind
                    time.sleep(0.01)
        for _ in range(1000):
            if fork() == 0:
                fork()
                os._exit(0)
            os.wait()
        """
    assert box.python(textwrap.dedent(script)).stderr == ""


def test_stopped_processes_are_killed(box: Box) -> None:
    result = box.sh("sleep 1000 & kill -STOP $!; kill -STOP $$", timeout=0.5)
    assert result.done.signal == signal.SIGKILL


def test_cpu_time_counts_killed_and_orphaned_processes(box: Box) -> None:
    burn = """
        import os, time
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while time.process_time() < 0.3:
                    pass
                os.write(write, b"x")
                time.sleep(1000)
            os._exit(0)
        os.read(read, 1)
        """
    done = box.python(textwrap.dedent(burn)).done
    assert done.cpu_ns is not None
    assert 0.3e9 < done.cpu_ns < 1.5e9
    assert done.wall_ns > 0.3e9
    quick = box.sh("sleep 0.5").done
    assert quick.cpu_ns is not None
    assert quick.cpu_ns < 0.3e9
    assert quick.wall_ns > 0.5e9


def test_memory_is_that_of_the_runs_largest_process(box: Box) -> None:
    script = "import os\nif os.fork() == 0: b'x' * 30_000_000; os._exit(0)\nos.wait()"
    assert 30_000 < box.python(script).done.memory_kib < 60_000
    assert box.run(["true"]).done.memory_kib < 10_000


@pytest.mark.parametrize(
    "script",
    [
        "x = bytearray(100_000_000)",
        "import os\nif os.fork() == 0: x = bytearray(100_000_000)\nos.wait()",
        "file = open('/dev/shm/x', 'wb')\nwhile True: file.write(bytes(1 << 20))",
    ],
)
def test_oom_kills_are_counted(start_box: Callable[..., Box], script: str) -> None:
    box = start_box(shm_size=256 << 20)
    assert box.python(script).done.oom_kills >= 1
    assert box.is_running()


def test_oom_kills_of_an_earlier_run_are_not_counted(box: Box) -> None:
    assert box.python("x = bytearray(100_000_000)").done.oom_kills == 1
    assert box.run(["true"]).done.oom_kills == 0


def test_second_concurrent_run_ends_the_box(box: Box) -> None:
    box.start(["sleep", "1000"])
    box.start(["sleep", "1000"])
    with pytest.raises(ConnectionError):
        box.answer()


@pytest.mark.parametrize("message", [b"x", b"KK", b"R\0\1\0\0\0root\0true\0", b"C\0"])
def test_malformed_message_ends_the_box(box: Box, message: bytes) -> None:
    box.init._connection.send(message)
    with pytest.raises(ConnectionError):
        box.answer()
    wait_for(lambda: not box.is_running(), 2)


@pytest.mark.parametrize("script", ["", "sleep 1000", "trap '' TERM; sleep 1000 & sleep 1000"])
def test_box_dies_with_its_connection(box: Box, script: str) -> None:
    run = box.start(["sh", "-c", f"echo on; {script}"]) if script else None
    if run:
        run.line()
    box.init.close()
    wait_for(lambda: box.id not in [c["Id"] for c in box.api.containers(all=True)], 2)


HOLDER = """
import sys, time
from pathlib import Path
from tests.support.initbox import Box
box = Box(Path(sys.argv[1]), "codapi/python")
run = box.start(["sh", "-c", "while :; do sleep 0.01 & done"])
print(box.id, flush=True)
time.sleep(1000)
"""


def test_box_dies_with_the_process_that_holds_it(tmp_path: Path, box: Box) -> None:
    argv = [sys.executable, "-c", HOLDER, tmp_path / "held"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        held = holder.stdout.readline().strip()
        holder.kill()
    wait_for(lambda: held not in [c["Id"] for c in box.api.containers(all=True)], 2)


def test_killed_box_raises_at_its_connection(box: Box) -> None:
    run = box.start(["sh", "-c", "echo on; sleep 1000"])
    run.line()
    box.api.kill(box.id)
    with pytest.raises(ConnectionError):
        box.answer()


def test_connection_works_after_a_handoff(box: Box) -> None:
    own, peer = socket.socketpair()
    socket.send_fds(own, [b"x"], [box.init.fileno()])
    _, files, _, _ = socket.recv_fds(peer, 1, 1)
    box.init.close()
    box.init = InitConnection(socket.socket(fileno=files[0]))
    assert box.run(["echo", "hi"]).stdout == "hi\n"
    own.close()
    peer.close()


def test_full_box_refuses_a_run_and_stays(start_box: Callable[..., Box]) -> None:
    box = start_box(pids_limit=1)
    result = box.run(["true"])
    assert (result.done.stage, result.done.status) == (Stage.SYSTEM, 125)
    assert isinstance(result.done, RunDone)
    assert not select.select([box.init], [], [], 0)[0]
