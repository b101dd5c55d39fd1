"""The docker engine: executes the steps of a command in one work directory."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from codapi_flask import files
from codapi_flask.boxes import outputs
from codapi_flask.boxes.service import Bulletin
from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.daemon.container import Container
from codapi_flask.engines.context import WorkerContext
from codapi_flask.engines.detached import Detached
from codapi_flask.engines.services import ready_container
from codapi_flask.engines.workspace import Workspace
from codapi_flask.errors import Abandoned, NotReady, NotRunning, ServerFault
from codapi_flask.models import Input, Job, LeftOut, Outcome, Report
from codapi_flask.program import Program

END_PATIENCE, FAILURE_PATIENCE = 2.0, 0.1
"""Seconds in which a detached program's output ends: if its box seems to have ended, and if a step
failed, perhaps for lack of it."""

READY_INTERVAL = 0.1
"""Seconds between two tries of a box's `ready`."""

LISTEN_TIMEOUT, LISTEN_INTERVAL = 1.0, 0.02
"""Seconds in which a detached server without `ready` listens, and between two looks."""

KILLED = 128 + signal.SIGKILL
"""The exit status of a killed program, and of a shell whose last program was."""

MAX_SHOWN = 500
"""Characters of a detached program's last output that the log repeats, and of a last try's."""

STILL_RUNNING = "a step failed, and a detached program may still write until the last step"

log = logging.getLogger("codapi")


class DockerEngine:
    """Executes steps in boxes of the Docker daemon."""

    def __init__(self, config: Config, context: WorkerContext) -> None:
        self._config, self._context = config, context
        self._workspace: Workspace | None = None
        self._walk: _Walk | None = None

    def execute(self, job: Job, command: Command) -> Report:
        """Execute before, the steps until one fails, and after unless one failed."""
        texts = {name: files.decode(name, text) for name, text in job.files.items()}
        runs = {
            step: self._config.boxes[step.box_name(job.version)]
            for step in command.all_steps()
            if step.action == "run"
        }
        services = {
            step: ready_container(self._context, box)
            for step in command.all_steps()
            # as a container's name, it does not follow the request's version
            if (box := self._config.boxes.get(step.box_name("")))
            and box.service
            and step.action == "exec"
        }
        first = command.all_steps()[0]
        self._workspace = workspace = Workspace(
            self._context, None if first.detach else runs.get(first)
        )
        if command.entry:
            named = {name or command.entry: text for name, text in texts.items()}
            files.write(workspace.directory, named)
        for box in runs.values():
            files.copy(Path(self._config.root), box.files, workspace.directory)
        stdin = b"".join(texts.values())
        limit = self._config.runs_timeout
        before = outputs.stamps(workspace.directory) if job.outputs else {}
        self._walk = walk = _Walk(
            self._context, workspace, runs, services, job, command, stdin, limit
        )
        report = Report(walk.walk(), walk.results if job.runs else None)
        if job.outputs:
            found, left_out = walk.read_outputs(before)
            report = replace(report, files=found, left_out=left_out)
        # before the answer: the client's next request may need the box
        if walk.is_over and workspace.give_back():
            self._workspace = None
        return report

    def is_over(self) -> bool:
        """Whether the last execution has no `after` step that is due."""
        return not self._walk or self._walk.is_over

    def finish(self) -> Outcome:
        """Execute the `after` step of an execution that failed, then end its detached boxes."""
        return self._walk.finish() if self._walk else Outcome()

    def is_clean(self) -> bool:
        """Whether the last execution gave its box back, or is cleaned up."""
        return self._workspace is None

    def clean_up(self) -> None:
        """Remove the box of the last execution, and its directory."""
        workspace, self._workspace, self._walk = self._workspace, None, None
        if workspace:
            workspace.close()


class _Walk:
    """One execution's walk through its steps."""

    def __init__(
        self,
        context: WorkerContext,
        workspace: Workspace,
        runs: dict[Step, BoxSpec],
        services: dict[Step, Container],
        job: Job,
        command: Command,
        stdin: bytes,
        runs_timeout: float,
    ) -> None:
        self._context, self._workspace, self._runs = context, workspace, runs
        self._services = services
        self._job, self._command, self._stdin = job, command, stdin
        self._runs_timeout = runs_timeout
        self._outcomes: list[Outcome] = []
        # of each of the job's runs: its outcome, and its milliseconds
        self.results: list[tuple[Outcome, int]] = []
        self._executed: list[Step] = []
        # the detached boxes that run, and the indices of their steps' outcomes
        self._running: dict[str, int] = {}
        self._after = command.after
        self._live = context.live if job.is_live else None

    @property
    def is_over(self) -> bool:
        """Whether no `after` step is due."""
        return self._after is None

    def walk(self) -> list[Outcome]:
        """Execute the steps until one fails, and `after` if none does; the last outcome decides.

        After a failure, whose answer must not wait for it, `after` is due: `finish` executes it.
        """
        try:
            self._until_one_fails()
            if self._outcomes[-1].ok:
                after = self._execute_after()
                if not after.ok:
                    self._outcomes.append(after)
            return self._outcomes
        except Abandoned:
            self._after = None
            raise
        finally:
            if self.is_over:
                self._workspace.end_detached()

    def finish(self) -> Outcome:
        """Execute `after` if it is due, and end the detached boxes."""
        try:
            return self._execute_after()
        finally:
            self._workspace.end_detached()

    def read_outputs(
        self, before: Mapping[str, outputs.Stamp]
    ) -> tuple[dict[str, str], list[LeftOut]]:
        """Return the files that the executed steps have for the client, and what is left out.

        Files that are as `before` are no outputs. There are none while a detached program may
        write: the answer does not wait until `finish` ends it.
        """
        if self._workspace.has_detached:
            return {}, [LeftOut(outputs.HERE, STILL_RUNNING)]
        return outputs.read(self._workspace.directory, self._executed, before)

    def _execute_after(self) -> Outcome:
        after, self._after, self._live = self._after, None, None
        if not after:
            return Outcome()
        with self._context.cancel.held():
            return self._step(after, Input())

    def _until_one_fails(self) -> None:
        for step in (self._command.before, *self._command.steps):
            if step:
                is_repeated = self._job.runs and step is self._command.input_step
                each = (
                    self._each_run(step) if is_repeated else self._observed(step, self._job.input)
                )
                self._outcomes.append(each)
                self._look_at_detached()
                if not self._outcomes[-1].ok:
                    return

    def _each_run(self, step: Step) -> Outcome:
        """Execute a step for each of the job's runs; return the first failure, else the last."""
        deadline = time.monotonic() + self._runs_timeout
        for number, input in enumerate(self._job.runs):
            start = time.monotonic()
            if start < deadline:
                outcome = self._observed(step, input, number, min(step.timeout, deadline - start))
            else:
                outcome = _failure(
                    f"not executed: the runs took {self._runs_timeout:g} s: send fewer"
                )
            self.results.append((outcome, round((time.monotonic() - start) * 1000)))
        outcomes = [outcome for outcome, _ in self.results]
        return next((outcome for outcome in outcomes if not outcome.ok), outcomes[-1])

    def _observed(
        self, step: Step, input: Input, run: int | None = None, timeout: float = 0
    ) -> Outcome:
        """Execute a step, and tell the client of a live job what happens."""
        if not self._live:
            return self._step(step, input, timeout)
        self._live.begin(len(self._outcomes), run)
        outcome = self._step(step, input, timeout)
        self._live.end(outcome.truncated)
        return outcome

    def _stdin_of(self, step: Step, input: Input) -> bytes | None:
        if step.detach:
            # its program runs on after the step
            return None
        if step.stdin and step is self._command.steps[0]:
            return self._stdin
        return input.stdin if input.stdin and step is self._command.input_step else None

    def _step(self, step: Step, input: Input, timeout: float = 0) -> Outcome:
        self._executed.append(step)
        argv, stdin = step.argv(self._job.id, input.args), self._stdin_of(step, input)
        timeout, live = timeout or step.timeout, None if step.detach else self._live
        program = Program(argv, step.user, stdin, timeout, step.noutput, live)
        if step.action == "run":
            outcome = self._run(step, program)
            return replace(outcome, box=self._runs[step].name)
        name = step.box.replace(":name", self._job.id)
        return replace(self._act(name, step, program), box=step.box)

    def _run(self, step: Step, program: Program) -> Outcome:
        box, name = self._runs[step], self._job.id
        if not step.detach:
            # the bare id is the name of a detached box of this execution
            name = f"{name}-{len(self._outcomes) + len(self.results)}"
            try:
                return self._workspace.run(name, box, program)
            except NotRunning as error:
                return _failure(str(error))
        if self._workspace.detached(name):
            name = f"{name}-{len(self._outcomes)}d"
        detached = self._workspace.detach(name, box, program)
        outcome = Outcome()
        if box.ready:
            outcome = self._until_ready(detached, program.user)
        elif self._context.daemon.box_image(box).is_server:
            self._until_listening(detached)
        if outcome.ok:
            self._running[name] = len(self._outcomes)
        return outcome

    def _until_ready(self, detached: Detached, user: str) -> Outcome:
        """Try a box's `ready` until it succeeds; fail if the box ends or takes too long."""
        box, why = detached.box, ""
        deadline = time.monotonic() + box.ready_timeout
        while (left := deadline - time.monotonic()) > 0:
            probe = Program(box.ready, user, timeout=left)
            try:
                outcome = self._workspace.exec(detached.container, True, probe)
            except NotRunning:
                if ended := detached.ended(END_PATIENCE):
                    text = f"box {box.name} ends before it is ready"
                    return _failure(text) if ended.ok else ended
            else:
                if outcome.ok:
                    return Outcome()
                if outcome.reason == "error":
                    return outcome
                if outcome.reason != "timeout":
                    why = (outcome.stdout + outcome.stderr).strip()[-MAX_SHOWN:]
            time.sleep(READY_INTERVAL)
            self._context.cancel.check()
        within = f"box {box.name} is not ready within {box.ready_timeout:g} s"
        return _failure(f"{within}: {why}" if why else within)

    def _until_listening(self, detached: Detached) -> None:
        """Give a server some time until it listens: the next step probably needs it."""
        deadline = time.monotonic() + LISTEN_TIMEOUT
        while time.monotonic() < deadline and detached.container.listens() is False:
            time.sleep(LISTEN_INTERVAL)
            self._context.cancel.check()

    def _act(self, name: str, step: Step, program: Program) -> Outcome:
        own, service = self._workspace.detached(name), self._services.get(step)
        container = own.container if own else service or self._context.daemon.find(name)
        try:
            if step.action == "exec":
                outcome = self._workspace.exec(container, own is not None, program)
                if service and outcome.exit_code == KILLED:
                    Bulletin(self._context.instance, step.box_name("")).doubt()
                return outcome
            if own:
                own.is_stopped = True
            return self._workspace.stop(container, step.timeout)
        except (NotRunning, ServerFault) as error:
            # the daemon has other errors for a box that is just ending
            ended = own.ended(END_PATIENCE) if own else None
            if ended:
                return _failure(f"box {step.box} is not running: exit status {ended.exit_code}")
            if isinstance(error, ServerFault):
                raise
            if service:
                Bulletin(self._context.instance, step.box_name("")).doubt()
                raise NotReady(step.box) from error
            if own or name == self._job.id:
                return _failure(f"box {step.box} is not running")
            raise ServerFault(f"{error}: the {step.action} step needs it") from error

    def _look_at_detached(self) -> None:
        """Put how detached programs ended into the outcomes of their steps, and into the log.

        One that could not be started decides: its outcome becomes the last.
        """
        for name, index in [*self._running.items()]:
            detached = self._workspace.detached(name)
            patience = _patience(self._outcomes[-1])
            if not detached or not (ended := detached.ended(patience)):
                continue
            del self._running[name]
            self._outcomes[index] = ended
            level = logging.INFO if ended.ok else logging.WARNING
            # repr: it may hold what the client sent
            output = repr((ended.stdout + ended.stderr)[-MAX_SHOWN:])
            text = "id=%s box %s: the detached program ended with exit status %s: %s"
            log.log(level, text, self._job.id, ended.box, ended.exit_code, output)
            if not detached.began:
                del self._outcomes[index + 1 :]
                self.results.clear()
                return


def _patience(outcome: Outcome) -> float:
    """Return the seconds in which a detached program may end after a step with this outcome."""
    if outcome.ok:
        return 0
    # as a program in a box that ends
    return END_PATIENCE if outcome.exit_code == KILLED else FAILURE_PATIENCE


def _failure(text: str) -> Outcome:
    return Outcome(stderr=text, exit_code=None, reason="error")
