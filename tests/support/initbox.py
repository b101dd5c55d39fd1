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

from codapi_flask.boxes.box import Answer
from codapi_flask.boxes.pipes import InputPipe, OutputPipe
from codapi_flask.init import MOUNT, InitConnection, Listener, ResetDone, RunDone, binary, options
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

    def reset(self) -> ResetDone:
        """Reset the box."""
        self.init.reset()
        answer = self.answer()
        assert isinstance(answer, ResetDone)
        return answer

    def answer(self) -> RunDone | ResetDone:
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


class Run:
    """A program that runs."""

    def __init__(
        self, init: InitConnection, argv: Sequence[str], user: str, env: Sequence[str]
    ) -> None:
        self._init = init
        self._stdin, self._stdout, self._stderr = InputPipe(), OutputPipe(LIMIT), OutputPipe(LIMIT)
        ends = [pipe.program_end for pipe in (self._stdin, self._stdout, self._stderr)]
        init.run(argv, user, tuple(ends), env)
        for end in ends:
            os.close(end)

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
