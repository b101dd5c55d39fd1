"""Real boxes with init, and programs run in them as by a worker."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.types import LogConfig

from codapi_flask.boxes import pipes
from codapi_flask.boxes.box import Answer
from codapi_flask.init import (
    MOUNT,
    InitConnection,
    Listener,
    Preloaded,
    ResetDone,
    RunDone,
    binary,
    options,
)
from codapi_flask.streams import Cancel, pump

LIMIT = 8 << 20
"""Bytes that are kept of an output."""

SECONDS = 20.0
"""Seconds that anything may take before a test fails."""


@dataclass(frozen=True)
class Result:
    """The result of a program."""

    done: RunDone
    stdout: str
    stderr: str

    @property
    def status(self) -> int:
        """Return its exit status."""
        return self.done.status


class Box:
    """A container with init as process 1. As a context manager, it dies at the end."""

    def __init__(
        self,
        directory: Path,
        image: str,
        cap_add: Sequence[str] = (),
        cap_drop: Sequence[str] = ("ALL",),
        program: Path | None = None,
        config: dict[str, Any] | None = None,
        **limits: Any,
    ) -> None:
        """Start one; `limits` go into docker-py's host config, `config` beside it."""
        self.api = docker.APIClient(version="auto")
        listener = Listener(directory, program or binary())
        needs = options(cap_add, cap_drop)
        host_config: dict[str, Any] = {
            "auto_remove": True,
            "cap_add": needs.cap_add,
            "cap_drop": needs.cap_drop,
            "log_config": LogConfig(type=LogConfig.types.NONE),
            "mem_limit": 64 << 20,
            "memswap_limit": 64 << 20,
            "network_mode": "none",
            "pids_limit": 65,
            "read_only": True,
            "security_opt": ["no-new-privileges"],
        }
        mounts = [f"{listener.directory}:{MOUNT}:ro", *limits.pop("binds", [])]
        try:
            self.id = self.api.create_container(
                image,
                needs.command,
                entrypoint=needs.entrypoint,
                user="0:0",
                stop_signal="SIGKILL",
                host_config=self.api.create_host_config(**host_config | limits | {"binds": mounts}),
                **{"network_disabled": True} | (config or {}),
            )["Id"]
            self.api.start(self.id)
            self.init: InitConnection = listener.accept(time.monotonic() + SECONDS)
        finally:
            listener.close()

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        self.init.close()
        with suppress(docker.errors.APIError):
            self.api.remove_container(self.id, force=True)
        self.api.close()

    def start(self, argv: Sequence[str], user: str = "1000", env: Sequence[str] = ()) -> Run:
        """Start a program; more than one at a time is an error."""
        return Run(self.init, argv, user, env)

    def run(
        self,
        argv: Sequence[str],
        user: str = "1000",
        stdin: bytes = b"",
        env: Sequence[str] = (),
        timeout: float = SECONDS,
    ) -> Result:
        """Run a program to its end, or kill it after `timeout` seconds."""
        return self.start(argv, user, env).finish(stdin, timeout)

    def sh(self, script: str, user: str = "1000", timeout: float = SECONDS) -> Result:
        """Run a shell script."""
        return self.run(["sh", "-c", script], user, timeout=timeout)

    def python(self, script: str, user: str = "1000", timeout: float = SECONDS) -> Result:
        """Run a Python script."""
        return self.run(["/usr/bin/python3", "-Ic", script], user, timeout=timeout)

    def preload(self, argv: Sequence[str], user: str = "1000", env: Sequence[str] = ()) -> Preload:
        """Start a program that is to wait for the next run."""
        return Preload(self.init, argv, user, env)

    def news(self) -> Preloaded:
        """Wait for the news of what is preloaded."""
        answer = self.answer()
        assert isinstance(answer, Preloaded)
        return answer

    def reset(self) -> ResetDone:
        """Reset the box."""
        self.init.reset()
        answer = self.answer()
        assert isinstance(answer, ResetDone)
        return answer

    def answer(self) -> RunDone | ResetDone | Preloaded:
        """Wait for an answer of init."""
        assert select.select([self.init], [], [], SECONDS)[0], "init does not answer"
        answer = self.init.receive()
        assert answer is not None
        return answer

    def is_running(self) -> bool:
        """Tell whether the daemon knows the box."""
        try:
            return bool(self.api.inspect_container(self.id)["State"]["Running"])
        except docker.errors.NotFound:
            return False


class Preload:
    """A program that waits, or is about to."""

    def __init__(
        self, init: InitConnection, argv: Sequence[str], user: str, env: Sequence[str]
    ) -> None:
        self._init = init
        self.ends, program_ends = pipes.open_pipes()
        init.preload(argv, user, program_ends, env)
        pipes.close(program_ends)

    def start(self, argv: Sequence[str], user: str = "1000", env: Sequence[str] = ()) -> Run:
        """Start the run that it waits for."""
        return Run(self._init, argv, user, env, self.ends)

    def run(self, argv: Sequence[str], user: str = "1000", env: Sequence[str] = ()) -> Result:
        """Run that to its end."""
        return self.start(argv, user, env).finish()


class Run:
    """A program that runs."""

    def __init__(
        self,
        init: InitConnection,
        argv: Sequence[str],
        user: str,
        env: Sequence[str],
        kept: pipes.Ends | None = None,
    ) -> None:
        self._init = init
        ends: tuple[int, ...] = ()
        own = kept
        if not own:
            own, ends = pipes.open_pipes()
        self._stdin = pipes.InputPipe(own[0])
        self._stdout, self._stderr = (pipes.OutputPipe(end, LIMIT) for end in own[1:])
        init.run(argv, user, ends, env)
        pipes.close(ends)

    def line(self) -> str:
        """Return the next line of its stdout."""
        line = bytearray()
        while not line.endswith(b"\n"):
            assert select.select([self._stdout], [], [], SECONDS)[0], f"no line: {bytes(line)!r}"
            byte = os.read(self._stdout.fileno(), 1)
            assert byte, f"end of output: {bytes(line)!r}"
            line += byte
        return line.decode().rstrip("\n")

    def finish(self, stdin: bytes = b"", timeout: float = SECONDS) -> Result:
        """Wait for its end with all output, and kill it after `timeout` seconds."""
        answer, never = Answer(self._init), Cancel()
        sources = (self._stdout, self._stderr, answer)
        if not pump(never, sources, self._stdin, stdin, time.monotonic() + timeout):
            self._init.kill()
            end = time.monotonic() + SECONDS
            assert pump(never, [answer], None, b"", end), "init does not kill"
        for pipe in (self._stdout, self._stderr):
            pipe.drain()
            pipe.close()
        self._stdin.close()
        assert isinstance(answer.value, RunDone)
        return Result(answer.value, self._stdout.output.text(), self._stderr.output.text())
