"""What is examined: a host, by way of a config, a daemon, and boxes of `codapi/sh`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from codapi_flask.boxes import instance
from codapi_flask.client.local import LocalTarget
from codapi_flask.config.inventory import Host
from codapi_flask.config.load import load_config
from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import ConfigError
from codapi_flask.stock import preflight

IMAGE = "codapi/sh"
"""The image of the boxes that are tried: it has a shell, Perl, and the user `sandbox`."""

BOX = BoxSpec(name="doctor", image=IMAGE, memory=32, nproc=16)
"""The box that is tried: the defaults, with less memory and fewer processes."""

TIMEOUT = 1.0
"""Seconds until a program that does not end is killed."""

COMMANDS = {
    "run": Step(box="doctor", command=("sh", "main.sh"), timeout=10),
    "root": Step(box="doctor", command=("sh", "main.sh"), timeout=10, user="root"),
    "endless": Step(box="doctor", command=("sh", "main.sh"), timeout=TIMEOUT),
}
"""What is tried in the box, by the names of commands."""


class Untried(Exception):
    """A program could not be executed, which decides nothing about it; the text says why."""


class Subject:
    """A host, seen with the config below a root; `close` must follow.

    `problems` are those of the config; if there are any, the defaults are in force.
    """

    def __init__(self, root: Path) -> None:
        self.problems: list[str] = []
        try:
            self.config = load_config(root)
        except ConfigError as error:
            directory = os.environ.get("CODAPI_WORK_DIR", "")
            self.problems = error.problems
            self.config = Config(root=str(root), work_dir=directory)
        self._stack = ExitStack()

    def close(self) -> None:
        """Remove what the checks needed."""
        self._stack.close()

    @cached_property
    def daemon(self) -> Daemon:
        """The daemon's client.

        Raises:
            ConfigError: the environment names none that can be.
        """
        return Daemon(self.config.timeouts)

    @cached_property
    def instance(self) -> instance.Instance:
        """An instance in the work directory.

        Raises:
            ConfigError, OSError: the work directory cannot be used.
        """
        directory = instance.work_dir(self.config.work_dir)
        return self._stack.enter_context(instance.Instance.created(directory))

    @cached_property
    def host(self) -> Host:
        """What there is for the boxes of the config.

        Raises:
            ServerFault: the daemon is gone.
        """
        return preflight.host(self.daemon, self.config)

    @property
    def runtimes(self) -> list[str]:
        """The runtimes that boxes of the config use and the daemon has."""
        return sorted({box.runtime for box in self.config.boxes.values()} & {*self.host.runtimes})

    def run(self, code: str, command: str = "run", runtime: str = "") -> Mapping[str, Any]:
        """Execute a program of the shell in a box of its own; return the answer's `details`.

        They have what the answer has as `stderr`, as `told`.

        Raises:
            Untried: it could not be executed.
            TargetError: no program can.
        """
        request = {"sandbox": "doctor", "command": command, "version": runtime}
        answer = self._target.execute({**request, "files": {"": code}})
        if not answer.was_executed:
            raise Untried(answer.body["stderr"])
        told = {"told": answer.body["stderr"], "duration": answer.body["duration"]}
        return {**answer.body["details"], **told}

    @cached_property
    def _target(self) -> LocalTarget:
        boxes = {f"doctor:{name}": replace(BOX, runtime=name) for name in self.runtimes}
        commands = {
            name: Command(entry="main.sh", steps=(step,)) for name, step in COMMANDS.items()
        }
        config = replace(
            self.config, boxes={"doctor": BOX, **boxes}, commands={"doctor": commands}, titles={}
        )
        target = LocalTarget(config)
        self._stack.callback(target.close)
        return target
