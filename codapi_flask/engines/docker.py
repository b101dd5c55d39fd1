"""The docker engine: walks the steps of a command in one work directory."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from codapi_flask import files
from codapi_flask.config import START_DEADLINE, Command, Config, Step
from codapi_flask.containers import Container, Daemon, Exec, Program
from codapi_flask.errors import Abandoned, NotRunning, ServerFault
from codapi_flask.instance import Lease
from codapi_flask.models import Job, Outcome, Reason
from codapi_flask.rootbox import RootBox
from codapi_flask.streams import Stream

# how Docker's own process 1, and its exec, say that a program cannot be started
NO_PROGRAM = re.compile(
    r"\[FATAL tini \(\d+\)\] exec .+ failed: (?P<tini>.+)\n"
    r"|OCI runtime exec failed: (?:exec failed: )?.*: (?P<exec>[^:]+): unknown\s*"
)


class DockerEngine:
    """Runs steps in boxes of the daemon.

    `instance` is the directory in which each execution leases its own; when `lifeline` (a
    descriptor) becomes readable, whoever waits for us is gone.
    """

    def __init__(self, config: Config, daemon: Daemon, instance: Path, lifeline: int) -> None:
        self.config, self.daemon = config, daemon
        self.instance, self.lifeline = instance, lifeline
        images = dict.fromkeys(box.image for box in config.boxes.values())
        self.root_box = RootBox(daemon, instance, images)

    def execute(self, job: Job, command: Command) -> Outcome:
        """Execute before, the steps until one fails, and after, whatever happened."""
        with self._work_directory() as directory:
            contents = {name: files.decode(name, text) for name, text in job.files.items()}
            if command.entry:
                named = {name or command.entry: text for name, text in contents.items()}
                files.write(directory, named)
            for step in command.all_steps():
                if step.action == "run":
                    box = self.config.boxes[step.box_name(job.version)]
                    files.copy(Path(self.config.root), box.files, directory)
            return _Walk(self, job, command, directory, b"".join(contents.values())).walk()

    @contextmanager
    def _work_directory(self) -> Iterator[Path]:
        lease = Lease.make(self.instance, "x", self.instance.parent)
        directory = lease.path / "work"
        try:
            directory.mkdir()
            # a box may mount it writable, for whichever user it runs as
            directory.chmod(0o777)
            yield directory
        finally:
            try:
                self.root_box.remove_tree(lease.path)
            finally:
                lease.close()


class _Walk:
    """The way of one execution through its steps."""

    def __init__(
        self, engine: DockerEngine, job: Job, command: Command, directory: Path, stdin: bytes
    ) -> None:
        self._engine, self._job, self._command = engine, job, command
        self._directory, self._stdin = directory, stdin
        self._started: list[Container] = []
        self._detached: dict[str, Container] = {}

    def walk(self) -> Outcome:
        """Execute all steps; whatever was started is gone on return."""
        try:
            try:
                outcome = self._until_one_fails()
            except ServerFault:
                self._after()
                raise
            after = self._after()
            return outcome if not outcome.ok or after.ok else after
        finally:
            for container in self._started:
                container.remove()

    def _until_one_fails(self) -> Outcome:
        outcome = Outcome()
        first = self._command.steps[0]
        for step in (self._command.before, *self._command.steps):
            if step and outcome.ok:
                outcome = self._step(step, self._stdin if step is first else b"")
                outcome = replace(outcome, box=step.box_name(self._job.version))
        return outcome

    def _after(self) -> Outcome:
        return self._step(self._command.after, b"") if self._command.after else Outcome()

    def _step(self, step: Step, stdin: bytes) -> Outcome:
        argv = [arg.replace(":name", self._job.id) for arg in step.command]
        program = Program(argv, step.user, step.stdin, step.noutput)
        try:
            if step.action == "run":
                return self._run(step, program, stdin)
            name = step.box.replace(":name", self._job.id)
            own = self._detached.get(name)
            container = own or self._engine.daemon.find(name)
            if step.action == "exec":
                return self._exec(container, step, program, stdin, own is not None)
            container.stop(step.timeout)
            return Outcome()
        except NotRunning as error:
            if step.action != "run" and name != self._job.id:
                raise ServerFault(f"{error}: the {step.action} step needs it") from error
            return Outcome(stderr=str(error), exit_code=None, reason="error")

    def _run(self, step: Step, program: Program, stdin: bytes) -> Outcome:
        engine, deadline = self._engine, time.monotonic() + START_DEADLINE
        box = engine.config.boxes[step.box_name(self._job.version)]
        name = self._job.id
        if not step.detach or name in self._detached:
            name += f"-{len(self._started)}"
        container = engine.daemon.create(
            name, box, program, engine.instance, self._directory, deadline
        )
        self._started.append(container)
        if step.detach:
            container.start(deadline)
            self._detached[name] = container
            return Outcome()
        stream = container.attach(program, deadline)
        try:
            container.start(deadline)
            outcome = self._watch(container, stream, step, stdin)
        finally:
            stream.close()
        if outcome.exit_code and container.inspect().get("State", {}).get("OOMKilled"):
            note = f"out of memory ({box.memory} MiB)\n"
            outcome = replace(outcome, reason="memory", note=note)
        # confirms that a program which did not end in time is dead
        container.remove()
        return outcome

    def _exec(
        self, container: Container, step: Step, program: Program, stdin: bytes, own: bool
    ) -> Outcome:
        exec = container.exec(program)
        stream = exec.start(time.monotonic() + START_DEADLINE)
        try:
            outcome = self._watch(exec, stream, step, stdin)
        finally:
            stream.close()
        if outcome.reason == "timeout":
            if own:
                container.remove()
            elif pid := exec.pid():
                self._engine.root_box.kill(pid)
        return outcome

    def _watch(self, started: Container | Exec, stream: Stream, step: Step, stdin: bytes) -> Outcome:
        """Carry the program's input and output until it ends, at most for the step's time-out."""
        deadline = time.monotonic() + step.timeout
        self._pump(stream, stdin if step.stdin else None, deadline)
        code = started.wait(deadline)
        stdout, stderr = stream.stdout.text(), stream.stderr.text()
        if code is None:
            return Outcome(stdout, stderr, None, "timeout")
        if code in (126, 127) and (said := NO_PROGRAM.fullmatch(stdout + stderr)):
            why = said["tini"] or said["exec"]
            stdout, stderr = "", f"{step.command[0]}: {_REASONS.get(why, why)}"
        return Outcome(stdout, stderr, code, _reason(code))

    def _pump(self, stream: Stream, stdin: bytes | None, deadline: float) -> None:
        poll, left = select.poll(), memoryview(stdin or b"")
        poll.register(self._engine.lifeline, select.POLLIN)
        poll.register(stream, select.POLLIN | (select.POLLOUT if left else 0))
        if stdin == b"":
            stream.end_stdin()
        while (seconds := deadline - time.monotonic()) > 0:
            for descriptor, event in poll.poll(seconds * 1000):
                if descriptor == self._engine.lifeline:
                    raise Abandoned
                if event & select.POLLOUT:
                    left = left[stream.write(left) :]
                    if not left:
                        stream.end_stdin()
                        poll.modify(stream, select.POLLIN)
                if event & ~select.POLLOUT and not stream.read():
                    return


_REASONS = {
    "No such file or directory": "not found",
    "executable file not found in $PATH": "not found",
    "no such file or directory": "not found",
    "permission denied": "Permission denied",
}


def _reason(code: int) -> Reason:
    """Tell how a program ended by its exit status (128 + S stands for signal S)."""
    if code == 0:
        return "ok"
    return "signal" if code > 128 else "exit"
