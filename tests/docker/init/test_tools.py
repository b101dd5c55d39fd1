"""init's tools in small root boxes: remove, kill and measure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
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
