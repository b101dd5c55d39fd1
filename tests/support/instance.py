"""An engine on the real daemon, as in a worker, but without server processes and HTTP."""

from __future__ import annotations

import os
import secrets
import select
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from codapi_flask.boxes import instance as codapi
from codapi_flask.boxes.box import Box, NoInit
from codapi_flask.boxes.rootbox import RootBox
from codapi_flask.config.load import load_config
from codapi_flask.config.model import BoxSpec
from codapi_flask.config.timeouts import Timeouts
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.engines.context import WorkerContext
from codapi_flask.errors import Abandoned, ServerFault
from codapi_flask.models import Execution, Input, Job
from codapi_flask.pool.local import LocalExecutor
from codapi_flask.program import Program
from codapi_flask.streams import Cancel
from tests.support.server import PATIENCE, wait_for, write_root

SOCKET = "/var/run/docker.sock"
SH, PYTHON = {"image": "codapi/sh"}, {"image": "codapi/python"}

WAIT = """
open(my $ready, ">&=", 4) && open(my $go, "<&=", 3) or die;
syswrite($ready, "x") && close($ready) or die;
local $/;
my @argv = split /\\0/, <$go>, -1;
close $go;
pop @argv;
exec { $argv[0] } @argv if @argv;
"""
"""A waiter in Perl for any program, which it executes."""

BOX_DEFAULTS: dict[str, dict[str, Any]] = {
    "plain": {"init": False},
    "cold": {},
    "warm": {},
    "reused": {"uses": 1000},
    "preloaded": {
        "uses": 1000,
        # argv[0] has to be that of most programs
        "preload": {"command": ["sh", "-c", 'exec perl -e "$1"', "sh", WAIT]},
    },
}
"""The config keys of each kind of box."""

KIND_TOLD = {"plain": "fresh", "preloaded": "reused"}
"""The kinds that the details name otherwise."""

READY_TIMEOUT = 2.0 * PATIENCE
"""Seconds after which a run begins, even if what is preloaded does not wait."""

USED = Program(["sh", "-c", "echo left > /dev/shm/left; sleep 1000 & exit 3"], "1000")
"""The program that ran earlier in a reused box."""


def docker(*arguments: str, input: str | None = None) -> str:
    """Return the output of a command of the Docker client."""
    command = ["docker", *arguments]
    return subprocess.check_output(command, input=input, text=True, timeout=60).strip()


class ReadyStock:
    """A stock that always has a box, since it starts one on demand."""

    def __init__(self, daemon: Daemon, instance: codapi.Instance, kind: str) -> None:
        self._daemon, self._instance, self._kind = daemon, instance, kind
        self.idle: defaultdict[BoxSpec, list[Box]] = defaultdict(list)
        self._never = Cancel()

    def take(self, box: BoxSpec) -> Box | None:
        if self._kind not in ("warm", "reused", "preloaded"):
            return None
        taken = self.idle[box].pop() if self.idle[box] else self._started(box)
        if taken and box.preload and not taken.waits:
            _preload(taken)
        return taken

    def _started(self, box: BoxSpec) -> Box | None:
        lease = self._instance.lease()
        try:
            started = Box.start(self._daemon, box, self._instance, lease, "warm")
        except (ServerFault, NoInit):
            lease.drop()
            return None
        if self._kind in ("reused", "preloaded"):
            started.run(USED, self._never)
            if not started.reset(30):
                # a reset that a busy machine does not finish in time discards the box
                started.close()
                lease.drop()
                return None
        return started

    def give(self, box: Box) -> None:
        self.idle[box.spec].append(box)

    def used(self, box: BoxSpec) -> None:
        pass

    def close(self) -> None:
        for boxes in self.idle.values():
            for box in boxes:
                box.close()
                box.lease.drop()


def _preload(box: Box) -> None:
    """Preload a box, and wait for its program, which may be unable to wait."""
    box.preload()
    select.select([box], [], [], READY_TIMEOUT)
    box.hear()


class Instance:
    """An instance, and an engine that runs its steps in boxes of one `kind`.

    With a `uid`, everything runs as that user of the host.
    """

    def __init__(self, kind: str, uid: int = 0, **timeouts: float) -> None:
        self.kind, self._uid = kind, uid
        self._directory = Path(tempfile.mkdtemp(prefix="codapi-test-", dir="/var/tmp"))
        work_dir = self._directory / "work"
        work_dir.mkdir(mode=0o700)
        self._stack = ExitStack()
        self.own = self._stack.enter_context(codapi.Instance.created(work_dir))
        self.path = self.own.path
        for path in (self._directory, work_dir, *work_dir.glob("**/*")):
            path.chmod(path.stat().st_mode | 0o444)
            if uid:
                os.chown(path, uid, uid)
        self.daemon = Daemon(Timeouts(reset=30, **timeouts))
        self.stock = ReadyStock(self.daemon, self.own, kind)
        self._thread = ThreadPoolExecutor(1)

    def run(
        self,
        *argv: str,
        files: Mapping[str, str] | None = None,
        entry: str = "",
        box: Mapping[str, Any] | None = None,
        root: Mapping[str, str] | None = None,
        input: Input | None = None,
        wants_files: bool = False,
        **step: Any,
    ) -> Execution:
        """Execute a command of one step, which runs a program in a box made from `codapi/sh`."""
        step = {"box": "box", "command": argv, **step}
        given: Any = {"files": files, "entry": entry, "root": root, "input": input}
        boxes = {"box": box or {}}
        return self.execute(step, boxes=boxes, wants_files=wants_files, **given)

    def execute(
        self,
        *steps: Mapping[str, Any],
        files: Mapping[str, str] | None = None,
        boxes: Mapping[str, Mapping[str, Any]] | None = None,
        version: str = "",
        root: Mapping[str, str] | None = None,
        input: Input | None = None,
        runs: Sequence[Input] = (),
        runs_timeout: float = 30,
        wants_files: bool = False,
        **command: Any,
    ) -> Execution:
        """Execute a command; `root` holds more files of the config's root.

        `wants_files` is whether the client asks for outputs.
        """
        defaults = {**SH, **BOX_DEFAULTS[self.kind]}
        commands = {"test": {"run": {"steps": steps, **command}}}
        with tempfile.TemporaryDirectory() as path:
            top = {"box": defaults, "runs_timeout": runs_timeout}
            write_root(Path(path), boxes or {"sh": {}}, commands, top)
            for name, text in (root or {}).items():
                (Path(path) / name).parent.mkdir(exist_ok=True)
                (Path(path) / name).write_text(text)
            config = load_config(Path(path))
            id = f"test_run_{secrets.token_hex(4)}"
            given = {"": ""} if files is None else files
            inputs = input or Input(), tuple(runs)
            job = Job(id, "test", "run", version, given, *inputs, outputs=wants_files)
            cancel = Cancel()
            with self._abandoned_at(cancel), acting_as(self._uid):
                root_box = RootBox(self.daemon, self.own, config.images())
                context = WorkerContext(self.daemon, root_box, self.own, self.stock, cancel)
                with closing(LocalExecutor(config, context)) as executor:
                    self._run = executor.start(job)
                    [execution] = self._run
                    return execution

    def start(self, execute: Callable[..., Execution], *args: Any, **kwargs: Any) -> Future:
        """Start an execution in the background."""
        return self._thread.submit(execute, *args, **kwargs)

    def cancel(self) -> None:
        """Cancel the current execution."""
        self._run.cancel()

    def hang_up(self) -> None:
        """Close the lifeline, as if the process that waits for the execution had ended."""
        alive, self._alive = self._alive, -1
        os.close(alive)

    def containers(self) -> list[str]:
        """Return the ids of the containers that are not in the stock."""
        waiting = {box.container for boxes in self.stock.idle.values() for box in boxes}
        found = docker("ps", "-aq", "--no-trunc", f"--filter=label=codapi.instance={self.path}")
        return [id for id in found.split() if id not in waiting]

    def leases(self) -> list[Path]:
        """Return the leases of executions."""
        waiting = {box.lease.path for boxes in self.stock.idle.values() for box in boxes}
        return [path for path in self.path.glob("x-*") if path not in waiting]

    def close(self) -> None:
        """End the instance and remove everything of it."""
        self._thread.shutdown()
        with acting_as(self._uid):
            self.stock.close()
        self.stock.idle.clear()
        try:
            wait_for(lambda: not self.containers())
        finally:
            if left := self.containers():
                docker("rm", "--force", *left)
            self._stack.close()
            shutil.rmtree(self._directory)

    @contextmanager
    def _abandoned_at(self, cancel: Cancel) -> Iterator[None]:
        """End the execution at `hang_up`."""
        lifeline, self._alive = os.pipe()
        cancel.add(lifeline, _abandon)
        try:
            yield
        finally:
            os.close(lifeline)
            if self._alive >= 0:
                self.hang_up()


def _abandon() -> None:
    raise Abandoned


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Act as another user of the host, with access to the Docker daemon."""
    if not uid:
        yield
        return
    groups = os.getgroups()
    os.setgroups([os.stat(SOCKET).st_gid])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
