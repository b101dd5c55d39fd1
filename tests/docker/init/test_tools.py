"""init's tools: remove, kill and measure in small root boxes, and services."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from codapi_flask.init import binary
from tests.support.server import wait_for

pytestmark = pytest.mark.docker


def docker(*args: str | Path) -> str:
    result = subprocess.run(["docker", *map(str, args)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def tool(*options: str, command: list[str]) -> None:
    """Run init in a root box with nothing but the named capabilities."""
    result = run_tool(*options, command=command)
    assert result.returncode == 0, result.stderr


def tool_status(*options: str, command: list[str]) -> int:
    """Run init likewise and return its exit status."""
    return run_tool(*options, command=command).returncode


def run_tool(*options: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    limits = ["--rm", "--network=none", "--read-only", "--user=0:0", "--cap-drop=ALL"]
    limits += ["--security-opt=no-new-privileges", f"--volume={binary()}:/init:ro"]
    argv = ["docker", "run", *limits, *options, "--entrypoint=/init", "codapi/sh", *command]
    return subprocess.run(argv, capture_output=True, text=True)


def test_remove_deletes_files_of_a_box_user(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o1777)
    script = (
        "cd /work && mkdir -p a/b/c d && touch a/b/c/file && ln -s /mount/canary link "
        "&& ln -s /mount d/up && mkfifo d/fifo && chmod 0 a/b/c a/b a d"
    )
    mount = f"--volume={work}:/work"
    docker("run", "--rm", "--network=none", "--user=1000", mount, "codapi/sh", "sh", "-c", script)
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary" / "bird").touch()
    options = [f"--volume={tmp_path}:/mount", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER"]
    tool(*options, command=["remove", "/mount/work"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bird", "canary"]


def commands(container: str) -> list[str]:
    return sorted(docker("top", container, "-o", "pid,args").split("\n")[1:])


@pytest.fixture
def service() -> Iterator[str]:
    """Return a container of another owner, with a process beside process 1."""
    script = "sleep 1000 & exec sleep 2000"
    run = ["run", "--detach", "--rm", "--network=none", "codapi/sh", "sh", "-c", script]
    container = docker(*run)
    # the shell has replaced itself with the second one
    wait_for(lambda: "sh -c" not in docker("top", container) and len(commands(container)) == 2)
    yield container
    docker("kill", container)


EXECS = {
    "a child": "sleep 3000 & sleep 3001",
    "an orphan": "(sleep 3000 &) ; sleep 3001",
    "another session": "setsid sleep 3000 & sleep 3001",
    "a storm": "while :; do sleep 3000 & sleep 0.02; done",
}


@pytest.mark.parametrize("script", EXECS.values(), ids=EXECS)
def test_kill_ends_an_exec_and_its_descendants(service: str, script: str) -> None:
    before = commands(service)
    argv = ["docker", "exec", "--user=1000", service, "sh", "-c", script]
    with subprocess.Popen(argv) as running:
        started = wait_for(
            lambda: [line for line in commands(service) if f"sh -c {script[:10]}" in line]
        )
        wait_for(lambda: "sleep 3000" in docker("top", service, "-o", "pid,args"))
        pid, id = started[0].split()[0], docker("inspect", "--format={{.Id}}", service)
        tool("--pid=host", "--cap-add=KILL", command=["kill", pid, id])
        assert running.wait(5) == 137
    assert wait_for(lambda: commands(service) == before)


def test_kill_leaves_a_process_of_another_container_alone(service: str) -> None:
    """The PID may have been reused since the server read it."""
    pid = docker("inspect", "--format={{.State.Pid}}", service)
    tool("--pid=host", "--cap-add=KILL", command=["kill", pid, "f" * 64])
    assert len(commands(service)) == 2


@pytest.mark.parametrize("command", [["kill", "1", "f" * 64], ["kill", "4242", "short"]])
def test_kill_without_a_process_of_a_container_fails(command: list[str]) -> None:
    with pytest.raises(AssertionError, match="init: not a process of a container"):
        tool("--pid=host", "--cap-add=KILL", command=command)


GROUP = 1 << 30


def _sleeps(container: str, argument: int) -> bool:
    return f"sleep {argument}" in docker("top", container, "-o", "pid,args")


KILLING = ["--pid=host", "--cap-add=KILL"]


def test_kill_group_ends_its_processes_with_their_descendants_only(service: str) -> None:
    # the second's child has another group, as that of a set-gid program
    scripts = {
        f"1000:{GROUP}": "sleep 3000 & (setsid sleep 3001 &) ; sleep 3002",
        f"0:{GROUP}": "setpriv --regid=7 --clear-groups sleep 3003 & sleep 3004",
        "1000:1000": "sleep 4000",
        f"1000:{GROUP + 1}": "sleep 4001",
    }
    for user, script in scripts.items():
        docker("exec", "--detach", f"--user={user}", service, "sh", "-c", script)
    wait_for(lambda: all(_sleeps(service, n) for n in (*range(3000, 3005), 4000, 4001)))
    id = docker("inspect", "--format={{.Id}}", service)
    tool(*KILLING, command=["kill-group", str(GROUP), id])
    assert not any(_sleeps(service, number) for number in range(3000, 3005))
    assert _sleeps(service, 4000)
    assert _sleeps(service, 4001)


def test_kill_group_leaves_other_containers_alone(service: str) -> None:
    docker("exec", "--detach", f"--user=1000:{GROUP}", service, "sleep", "3000")
    wait_for(lambda: _sleeps(service, 3000))
    tool(*KILLING, command=["kill-group", str(GROUP), "f" * 64])
    assert _sleeps(service, 3000)


@pytest.mark.parametrize("arguments", [["0", "f" * 64], ["x", "f" * 64], ["4242", "short"]])
def test_kill_group_without_a_group_of_a_container_fails(arguments: list[str]) -> None:
    result = run_tool(*KILLING, command=["kill-group", *arguments])
    assert (result.returncode, result.stderr.split(":")[:2]) == (
        2,
        ["init", " not a group of a container"],
    )


class Owner:
    """A directory with init, locked as the owner of a service does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        shutil.copy(binary(), directory / "init")
        directory.chmod(0o755)
        self._lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._containers: list[str] = []

    def start(self, *argv: str) -> str:
        """Start a service with a program; return its container."""
        options = ["--detach", "--network=none", "--user=1000:1000", "--entrypoint=/.codapi/init"]
        mount = f"--volume={self._directory}:/.codapi:ro"
        id = docker("run", *options, mount, "codapi/sh", "service", "0", *argv)
        self._containers.append(id)
        return id

    def die(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def close(self) -> None:
        """Remove the containers."""
        docker("rm", "--force", *self._containers)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """Return a living owner of services."""
    with closing(Owner(tmp_path)) as owner:
        yield owner


def _status(container: str) -> str:
    return docker("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", container)


@pytest.mark.parametrize(
    ("program", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("true", 0), ("no-such", 127)]
)
def test_service_ends_with_its_program(owner: Owner, program: str, status: int) -> None:
    service = owner.start("sh", "-c", program)
    wait_for(lambda: _status(service) == f"exited {status}")


@pytest.mark.parametrize("program", ["sleep 1000", "trap '' TERM INT HUP; sleep 1000"])
def test_service_ends_when_its_owner_dies(owner: Owner, program: str) -> None:
    service = owner.start("sh", "-c", program)
    wait_for(lambda: _sleeps(service, 1000))
    assert _status(service) == "running 0"
    owner.die()
    wait_for(lambda: _status(service) == "exited 137", 3)


def test_service_does_not_start_without_an_owner(owner: Owner) -> None:
    owner.die()
    service = owner.start("sleep", "1000")
    wait_for(lambda: _status(service) == "exited 137", 3)


def test_program_that_waits_for_the_lock_cannot_keep_a_service_alive(owner: Owner) -> None:
    service = owner.start("sleep", "1000")
    argv = ["flock", "--exclusive", "/.codapi", "sleep", "1000"]
    docker("exec", "--detach", service, *argv)
    wait_for(lambda: "flock --exclusive" in docker("top", service, "-o", "pid,args"))
    owner.die()
    wait_for(lambda: _status(service) == "exited 137", 3)


def test_program_of_the_same_user_cannot_see_into_process_1_of_a_service(owner: Owner) -> None:
    service = owner.start("sleep", "1000")
    argv = ["docker", "exec", service, "ls", "/proc/1/fd"]
    assert subprocess.run(argv, capture_output=True).returncode == 2


def test_program_of_a_service_that_somebody_stops_continues(owner: Owner) -> None:
    script = "while :; do date +%s%N > /tmp/now; sleep 0.01; done"
    service = owner.start("sh", "-c", script)
    look = ["exec", service, "cat", "/tmp/now"]
    wait_for(lambda: "sh -c" in docker("top", service))
    docker("exec", service, "sh", "-c", "kill -STOP -1")
    before = docker(*look)
    wait_for(lambda: docker(*look) not in ("", before))


def test_service_without_its_directory_fails() -> None:
    result = run_tool(command=["service", "0", "true"])
    assert result.returncode == 125
    assert "init: open /.codapi: " in result.stderr


CLOSED = "cd /work && mkdir a && head -c 300000 /dev/zero > a/file && chmod 0 a . "


@pytest.mark.parametrize(("limit", "code"), [(200_000, 3), (400_000, 0)])
def test_measure_sees_into_directories_closed_to_the_server(
    tmp_path: Path, limit: int, code: int
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)
    os.chown(work, 1000, 1000)
    mount = f"--volume={work}:/work"
    docker("run", "--rm", "--network=none", "--user=1000", mount, "codapi/sh", "sh", "-c", CLOSED)
    options = [f"--volume={tmp_path}:/mount", "--cap-add=DAC_OVERRIDE"]
    assert tool_status(*options, command=["measure", str(limit), "/mount/work"]) == code


@pytest.mark.parametrize(("depth", "code"), [(199, 0), (201, 5)])
def test_measure_of_a_too_deep_tree_has_a_status_of_its_own(
    tmp_path: Path, depth: int, code: int
) -> None:
    (tmp_path / "work" / "/".join("d" * depth)).mkdir(parents=True)
    options = [f"--volume={tmp_path}:/mount"]
    assert tool_status(*options, command=["measure", str(1 << 30), "/mount/work"]) == code


def test_measure_of_a_missing_directory_fails() -> None:
    assert tool_status(command=["measure", "1", "/nowhere"]) == 1
