"""init's tools in small root boxes: deleting what others made, killing what others started."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from codapi_flask.init import binary
from tests.server import wait_for

pytestmark = pytest.mark.docker


def docker(*args: str | Path) -> str:
    result = subprocess.run(["docker", *map(str, args)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def tool(*options: str, command: list[str]) -> None:
    """Run init in a root box with nothing but the named capabilities."""
    limits = ["--rm", "--network=none", "--read-only", "--user=0:0", "--cap-drop=ALL"]
    limits += ["--security-opt=no-new-privileges", f"--volume={binary()}:/init:ro"]
    docker("run", *limits, *options, "--entrypoint=/init", "codapi/sh", *command)


def test_files_that_a_boxs_user_made_are_deleted(tmp_path: Path) -> None:
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
    """Return a container that is not ours, with a process of its own beside process 1."""
    script = "sleep 1000 & exec sleep 2000"
    run = ["run", "--detach", "--rm", "--network=none", "codapi/sh", "sh", "-c", script]
    container = docker(*run)
    # the shell has become the second one
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
def test_an_exec_is_killed_with_what_it_started(service: str, script: str) -> None:
    before = commands(service)
    argv = ["docker", "exec", "--user=1000", service, "sh", "-c", script]
    with subprocess.Popen(argv) as running:
        started = wait_for(
            lambda: [line for line in commands(service) if f"sh -c {script[:10]}" in line]
        )
        wait_for(lambda: "sleep 3000" in docker("top", service, "-o", "pid,args"))
        tool("--pid=host", "--cap-add=KILL", command=["kill", started[0].split()[0]])
        assert running.wait(5) == 137
    assert wait_for(lambda: commands(service) == before)
