"""The references: `docker run` on the command line, and programs without any sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from benchmarks.programs import Program
from codapi_flask.config.model import BoxSpec, Step

STDOUT = 1
TIMEOUT = 60
"""Seconds after which `docker run` counts as hung: a busy daemon can deadlock."""


class DockerRun:
    """`docker run --rm` on the command line, with the default limits of a box."""

    def __init__(self, program: Program, directory: Path) -> None:
        box, step = BoxSpec(name="", image=program.image), Step(box="")
        options = {
            "runtime": box.runtime,
            "cpus": box.cpu,
            "memory": f"{box.memory}m",
            "memory-swap": f"{box.memory}m",
            "network": box.network,
            "read-only": "true",
            "volume": box.volume % directory,
            "cap-drop": box.cap_drop[0],
            "ulimit": box.ulimit[0],
            "pids-limit": box.nproc,
            "security-opt": "no-new-privileges",
            "log-driver": "none",
            "user": step.user,
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        self._argv = ["docker", "run", "--rm", *given, program.image, *program.argv]

    def call(self) -> float:
        """Run it; return the seconds that it took."""
        start = time.monotonic()
        subprocess.run(self._argv, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT)
        return time.monotonic() - start

    def loops(self, clients: int, until: float) -> list[float]:
        """Run it in `clients` loops until an instant; return the instants when each run ended."""
        with ThreadPoolExecutor(clients) as executor:
            loops = [executor.submit(_loop, self.call, until) for _ in range(clients)]
            return [end for loop in loops for end in loop.result()]


class Bare:
    """The same program, from the same image, forked and executed without any sandbox.

    The process that forks has only moved into the root directory of a container of the image.
    """

    def __init__(self, program: Program, container: str, clients: int) -> None:
        found = json.loads(subprocess.check_output(["docker", "inspect", container]))[0]
        place = f"/proc/{found['State']['Pid']}/root", found["Config"]["WorkingDir"]
        env = dict(variable.split("=", 1) for variable in found["Config"]["Env"])
        # a pool of one process for `call`: in a larger one, any process would get the call
        self._single, self._many = (
            ProcessPoolExecutor(count, get_context("spawn"), _enter, (*place, env, program.argv))
            for count in (1, clients)
        )
        # starts the processes, which start with their first task
        self.loops(clients, 0)

    def call(self) -> float:
        """Run it; return the seconds that it took."""
        return self._single.submit(_execute).result()

    def loops(self, clients: int, until: float) -> list[float]:
        """As in `DockerRun`, with the number of loops given to the constructor."""
        loops = [self._many.submit(_loop, _execute, until) for _ in range(clients)]
        return [end for loop in loops for end in loop.result()]

    def close(self) -> None:
        """End the processes."""
        self._single.shutdown()
        self._many.shutdown()


@contextmanager
def references(program: Program, clients: int = 8) -> Iterator[tuple[DockerRun, Bare]]:
    """Yield the references of a program."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / program.file).write_text(program.text)
        volume = f"--volume={directory}:/sandbox:ro"
        start = ["docker", "run", "--detach", "--rm", "--network=none", volume, program.image]
        # it ends by itself if this process is killed
        container = subprocess.check_output([*start, "sleep", "3600"], text=True).strip()
        try:
            bare = Bare(program, container, clients)
            try:
                yield DockerRun(program, directory), bare
            finally:
                bare.close()
        finally:
            subprocess.run(
                ["docker", "rm", "--force", container], check=True, stdout=subprocess.DEVNULL
            )


_argv: tuple[str, ...] = ()


def _enter(root: str, directory: str, env: Mapping[str, str], argv: tuple[str, ...]) -> None:
    """Prepare this process to execute the program in a container's root directory."""
    global _argv
    os.chroot(root)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(env)
    _argv = argv


def _execute() -> float:
    """Execute the program; return the seconds that it took."""
    quiet = (os.POSIX_SPAWN_OPEN, STDOUT, "/dev/null", os.O_WRONLY, 0)
    start = time.monotonic()
    pid = os.posix_spawnp(_argv[0], _argv, os.environ, file_actions=[quiet])
    _, status = os.waitpid(pid, 0)
    took = time.monotonic() - start
    assert status == 0, f"{_argv}: status {status}"
    return took


def _loop(call: Callable[[], float], until: float) -> list[float]:
    ends: list[float] = []
    while not ends or ends[-1] < until:
        call()
        ends.append(time.monotonic())
    return ends
