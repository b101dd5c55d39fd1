"""init outside a box: it refuses to run as init, but offers its tools."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codapi_flask.init import binary
from tests.support.server import wait_for


def init(*args: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [str(binary()), *map(str, args)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_init_that_is_not_process_1_refuses_to_run() -> None:
    result = init("box", "1e0", "/sandbox")
    assert result.returncode == 2
    assert result.stderr == "init: this is not process 1 of a box\n"


@pytest.mark.parametrize("args", [(), ("box",), ("remove",), ("nonsense", "x"), ("kill", "1")])
def test_init_with_wrong_arguments_prints_its_usage(args: tuple[str, ...]) -> None:
    result = init(*args)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: init box")


def deep(root: Path) -> None:
    """A chain of directories far beyond what a path, or a stack, can hold."""
    directory = os.open(root, os.O_PATH)
    for _ in range(20000):
        os.mkdir("d", dir_fd=directory)
        child = os.open("d", os.O_PATH, dir_fd=directory)
        os.close(directory)
        directory = child
    os.close(directory)


def wide(root: Path) -> None:
    for name in range(10000):
        (root / str(name)).touch()


def bushy(root: Path) -> None:
    """Names in the way of those that a directory gets when it moves up."""
    for name in range(50):
        (root / str(name) / "0" / "1" / "2").mkdir(parents=True)
        (root / str(name) / "0" / "file").touch()


def odd(root: Path) -> None:
    for name in ("-rf", "new\nline", " ", "\\", "*", "~", "..x", "é" * 120, "\udcff"):
        (root / name).touch()
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    (root / "dangling").symlink_to("/nowhere")
    (root / "empty").mkdir()


@pytest.mark.parametrize("fill", [deep, wide, bushy, odd])
def test_remove_deletes_any_tree(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    fill(root)
    result = init("remove", root)
    assert (result.returncode, result.stderr) == (0, "")
    assert not root.exists()


def test_remove_follows_no_link(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (canary / "directory").mkdir(parents=True)
    (canary / "file").write_text("sing")
    before = [(path, path.stat()) for path in sorted(canary.rglob("*"))]
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    for parent in (root, root / "a", root / "a" / "b"):
        (parent / "file").symlink_to(canary / "file")
        (parent / "directory").symlink_to(canary)
    (root / "a" / "hard").hardlink_to(canary / "file")
    assert init("remove", root).returncode == 0
    assert not root.exists()
    after = [(path, path.stat()) for path in sorted(canary.rglob("*"))]
    times = [stat.st_mtime_ns for _, stat in before]
    assert [stat.st_mtime_ns for _, stat in after] == times
    assert (canary / "file").read_text() == "sing"
    (tmp_path / "link").symlink_to(canary)
    assert init("remove", tmp_path / "link").returncode == 1
    assert (canary / "file").read_text() == "sing"


def test_remove_of_a_missing_directory_reports_the_error(tmp_path: Path) -> None:
    result = init("remove", tmp_path / "nowhere")
    assert result.returncode == 1
    assert result.stderr.endswith("nowhere: No such file or directory\n")


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """Return a cgroup that is named as a container's."""
    if os.geteuid():
        pytest.skip("only root can make a cgroup")
    top = Path("/sys/fs/cgroup")
    v1 = top / "pids"
    cgroup = (v1 if v1.exists() else top) / secrets.token_hex(32)
    cgroup.mkdir()
    yield cgroup
    wait_for(lambda: not (cgroup / "cgroup.procs").read_text())
    cgroup.rmdir()


@pytest.fixture
def family(cgroup: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a starter of Python programs, each the leader of a session, as a `docker exec` is.

    They belong to the container of `cgroup`, unless `inside` is false.
    """
    started = []

    def start(program: str, inside: bool = True) -> subprocess.Popen[str]:
        move = f"open('{cgroup}/cgroup.procs', 'w').write('0')\n" if inside else ""
        argv = [sys.executable, "-c", f"import os, time\n{move}{program}"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


ORPHAN = """
if os.fork() == 0:
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(1000)
    os._exit(0)
os.wait()
time.sleep(1000)
"""
OTHER_SESSION = """
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
time.sleep(1000)
"""
DEAF = """
import signal
for number in set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(1000)
"""
STORM = """
print(os.getpid(), flush=True)
while True:
    # at most some 50 at a time, to spare the host
    if os.fork() == 0:
        for _ in range(50):
            if os.fork() == 0:
                time.sleep(0.01)
                os._exit(0)
        os._exit(0)
    os.wait()
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("program", [ORPHAN, OTHER_SESSION, DEAF, STORM])
def test_kill_ends_a_process_and_its_descendants(
    program: str, family: Callable[..., subprocess.Popen[str]], cgroup: Path
) -> None:
    process, stranger = family(program), family(DEAF)
    assert process.stdout
    assert stranger.stdout
    stranger.stdout.readline()
    pid = int(process.stdout.readline())
    result = init("kill", str(process.pid), cgroup.name)
    assert (result.returncode, result.stderr) == (0, "")
    assert process.wait(5) == -signal.SIGKILL
    assert not is_alive(pid)
    # no process holds its stdout any more
    assert process.stdout.read() == ""
    assert is_alive(stranger.pid)


def test_kill_of_an_exited_process_succeeds(
    family: Callable[..., subprocess.Popen[str]], cgroup: Path
) -> None:
    process = family("pass")
    process.wait(5)
    assert init("kill", str(process.pid), cgroup.name).returncode == 0


def test_kill_leaves_a_process_outside_the_container_alone(
    family: Callable[..., subprocess.Popen[str]], cgroup: Path
) -> None:
    process = family(DEAF, inside=False)
    assert process.stdout
    process.stdout.readline()
    assert init("kill", str(process.pid), cgroup.name).returncode == 0
    assert is_alive(process.pid)


@pytest.mark.parametrize("pid", ["0", "1", "-1", "x", "", "4194304", "99999999999"])
def test_kill_with_an_invalid_pid_is_refused(pid: str) -> None:
    result = init("kill", pid, "f" * 64)
    said = f"init: not a process of a container: {pid}, {'f' * 64}\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_kill_among_many_processes_is_quick(
    family: Callable[..., subprocess.Popen[str]], cgroup: Path
) -> None:
    process = family(
        "for _ in range(200):\n    if os.fork() == 0: time.sleep(1000)\n"
        "print('all', flush=True)\ntime.sleep(1000)"
    )
    assert process.stdout
    assert process.stdout.readline() == "all\n"
    start = time.monotonic()
    assert init("kill", str(process.pid), cgroup.name).returncode == 0
    assert process.wait(5) == -signal.SIGKILL
    assert time.monotonic() - start < 10


# the child outlives the signal, else `wait` may return before the signal arrives
SIGNALLED = """
trap 'echo said; exit 4' TERM
(sleep 0.1; kill -TERM $PPID; exec sleep 2 >/dev/null 2>&1) &
wait
"""


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["sh", "-c", "echo said; exit 3"], 3, "said\n"),
        (["sh", "-c", "kill -9 $$"], 137, ""),
        (
            ["sh", "-c", SIGNALLED],
            4,
            "said\n",
        ),
        (["nowhere"], 127, ""),
        (["/"], 126, ""),
    ],
)
def test_plain_forwards_signals_and_the_exit_status(
    argv: list[str], status: int, said: str
) -> None:
    result = init("plain", "0", *argv)
    assert (result.returncode, result.stdout) == (status, said)


@pytest.mark.parametrize(
    ("argv", "why"), [(["nowhere"], "No such file or directory"), (["/"], "Permission denied")]
)
def test_plain_reports_why_a_program_cannot_be_executed(argv: list[str], why: str) -> None:
    assert init("plain", "0", *argv).stderr == f"init: exec {argv[0]}: {why}\n"
