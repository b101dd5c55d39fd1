"""What is passed between client, server and box: job, outcome, execution."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

Reason = Literal["ok", "exit", "signal", "timeout", "memory", "cpu", "error", "cancelled"]
Kind = Literal["fresh", "warm", "reused", "cold"]
StreamName = Literal["stdout", "stderr"]

INTERNAL_ERROR = "internal error"
"""What a client reads of any other fault of the server; the log has the cause."""

UNAVAILABLE = "unavailable: Docker is down, try again later"
"""What a client reads if the Docker daemon is not there."""

STARTING = "starting: a service that the sandbox needs is not ready yet, try again in a second"
"""What a client reads while a service starts."""

OWN_IMAGE = re.compile(r"codapi/([^/:@]+)(:latest)?")
"""An image that `make images` builds, if its recipe is there."""


def not_installed(sandbox: str, image: str) -> str:
    """Return what a client reads if an image of a sandbox is not there, and how to mend it."""
    own = OWN_IMAGE.fullmatch(image)
    todo = f"make images NAMES={own[1]}" if own else "build or pull its image"
    return f"sandbox {sandbox} is not installed: {todo}"


@dataclass(frozen=True)
class Input:
    """What the last step of a command gets: its stdin, and the texts for its `:args`."""

    stdin: bytes = b""
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """An accepted request: its sandbox, command and version are names of the config.

    The last step runs once for each of `runs`, or once for `input` if there are none. `outputs` is
    whether the client wants files back, `is_live` whether it wants output as it is printed.
    """

    id: str
    sandbox: str
    command: str
    version: str
    files: Mapping[str, str]
    input: Input = Input()
    runs: tuple[Input, ...] = ()
    outputs: bool = False
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class StepBegan:
    """An event of a live run: the program of a step starts, or that of one of its runs.

    `step` is its index in the details, `run` that of the job's run, `None` without runs.
    """

    step: int
    run: int | None = None


@dataclass(frozen=True, slots=True)
class Printed:
    """An event of a live run: a step's program has printed text, in whole characters."""

    step: int
    stream: StreamName
    text: str
    run: int | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its id, the argv that it defines, and `HOME=…` of its environment.

    `is_server` tells whether it exposes TCP ports.
    """

    id: str
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    home: tuple[str, ...] = ()
    is_server: bool = False

    def argv(self, command: Sequence[str]) -> list[str]:
        """Return the argv that Docker would execute for a command."""
        return [*self.entrypoint, *(command or self.cmd)]


@dataclass(frozen=True)
class Outcome:
    """How one step ended.

    `stdout` and `stderr` are what the program printed, each cut at the step's limit;
    `truncated` names the streams that were cut. `exit_code` is that of a shell: 128 + S for a
    program ended by `signal` S, `None` if there is none (timeout, error). For the reason `error`,
    `stderr` is the error; for another failure, `note` is the server's text before the program's
    output, or after the error of a timeout.

    `start_ms` (to get the box), `wall_ms` and `cpu_ms` are milliseconds, `memory_kib` the
    largest resident set of one of the step's processes in KiB; `None` is unknown. `box` is the
    name of the box that was used and `kind` its origin: `warm` (started ahead), `reused`, `cold`
    (started for this step) or `fresh` (a plain container, without init). `image` is the id of the
    box's image, empty without a box. `fell_back` marks a plain container that replaces a box whose
    init did not report. `preloaded` tells whether the program was waiting, already started.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = 0
    signal: int | None = None
    reason: Reason = "ok"
    note: str = ""
    truncated: tuple[str, ...] = ()
    start_ms: float | None = None
    wall_ms: float | None = None
    cpu_ms: float | None = None
    memory_kib: int | None = None
    box: str = "-"
    kind: Kind | None = None
    image: str = ""
    fell_back: bool = False
    preloaded: bool = False

    @property
    def ok(self) -> bool:
        """Whether the next step may run."""
        return self.reason == "ok"

    def details(self) -> dict[str, object]:
        """Return what the answer's `details` hold of the step."""
        return {
            "exit_code": self.exit_code,
            "signal": self.signal,
            "reason": self.reason,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "truncated": {name: name in self.truncated for name in ("stdout", "stderr")},
            "wall_ms": self.wall_ms,
            "cpu_ms": self.cpu_ms,
            "memory_kib": self.memory_kib,
            "box": self.kind,
            "preloaded": self.preloaded,
        }


@dataclass(frozen=True)
class LeftOut:
    """A file that matches a step's `outputs` and that the client does not get, with the reason.

    Its name has U+FFFD where it is not UTF-8; `.` stands for the work directory as a whole.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What an engine has done.

    `steps` are the outcomes of the steps that count, the deciding one last. `runs` are those of the
    last step, one for each of the job's runs, with its milliseconds; `None` if the job has none,
    empty if another step has failed. `files` are what the client gets back, as `data:` URLs by
    name, if the job asks for `outputs`; `left_out` are what it does not get.
    """

    steps: Sequence[Outcome]
    runs: Sequence[tuple[Outcome, int]] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[LeftOut] = ()


@dataclass(frozen=True)
class Execution:
    """The result of a job.

    The first five fields are the answer; `duration` is in whole milliseconds. `steps` are the
    outcomes of the steps that count, the deciding one last, `results` the job's runs, `None` if it
    has none; `files` and `left_out` are the report's. `is_cached` marks the execution of an
    earlier, equal job. The others are for the log: `box` is the box of the deciding step, `fault`
    the cause of an internal error.
    """

    id: str
    ok: bool = False
    duration: int = 0
    stdout: str = ""
    stderr: str = ""
    reason: Reason = "error"
    box: str = "-"
    fault: str = ""
    steps: tuple[Outcome, ...] = ()
    results: tuple[Execution, ...] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    is_cached: bool = False

    @classmethod
    def of(cls, id: str, report: Report, duration: int) -> Execution:
        """Turn an engine's report into an execution: the last step decides.

        A failed program's stdout moves to stderr: the widget shows stdout if there is any, which
        would hide the error. As in Codapi, the status follows on the last line.
        """
        outcome = report.steps[-1]
        stdout, stderr = outcome.stdout, outcome.stderr
        if outcome.reason == "timeout":
            stdout, stderr = "", "code execution timeout" + outcome.note
        elif outcome.reason == "error":
            stdout = ""
        elif not outcome.ok:
            printed, status = (stdout + stderr).rstrip("\r\n"), f"exit status {outcome.exit_code}"
            ended = f"{printed} ({status})" if printed.strip() else status
            stdout, stderr = "", outcome.note + ended
        results = None
        if report.runs is not None:
            results = tuple(cls.of(id, Report([each]), ms) for each, ms in report.runs)
        return cls(
            id,
            outcome.ok,
            duration,
            stdout,
            stderr,
            reason=outcome.reason,
            box=outcome.box,
            steps=tuple(report.steps),
            results=results,
            files=report.files,
            left_out=tuple(report.left_out),
        )

    @classmethod
    def failed(cls, id: str, fault: str, start: float, stderr: str = INTERNAL_ERROR) -> Execution:
        """Return the execution of a job that a fault ended; `start` is a monotonic instant."""
        duration = round((time.monotonic() - start) * 1000)
        # some exceptions have no text
        return cls(id, duration=duration, stderr=stderr, fault=fault or "unknown")

    @classmethod
    def cancelled(cls, id: str, start: float) -> Execution:
        """Return the execution of a cancelled job; `start` is a monotonic instant."""
        duration = round((time.monotonic() - start) * 1000)
        return cls(id, duration=duration, stderr="cancelled", reason="cancelled")

    def programs(self) -> list[Outcome]:
        """Return the outcomes of all steps and runs, each once."""
        runs = [result.steps[-1] for result in self.results or ()]
        # the deciding one may be that of a run; another one may equal it
        return [step for step in self.steps if not any(step is run for run in runs)] + runs

    def answer(self, details: bool = False, outputs: bool = False) -> dict[str, object]:
        """Return the fields of the answer, and what else the client asked for.

        `outputs` adds `files`, and to the `details` the files that are left out.
        """
        answer = {"id": self.id, **self._ended()}
        if self.results is not None:
            answer["results"] = [result._result(details) for result in self.results]
        if outputs:
            answer["files"] = {**self.files}
        if details:
            nothing = Outcome(stderr=self.stderr, exit_code=None, reason=self.reason)
            last = self.steps[-1] if self.steps else nothing
            steps = [step.details() for step in self.steps]
            found = {**last.details(), "cached": self.is_cached, "steps": steps}
            if outputs:
                found["files_left_out"] = [asdict(each) for each in self.left_out]
            answer["details"] = found
        return answer

    def _result(self, details: bool) -> dict[str, object]:
        """Return what the answer's `results` hold of a run."""
        return self._ended() | ({"details": self.steps[-1].details()} if details else {})

    def _ended(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "duration": self.duration,
            "stdout": self.stdout,
            "stderr": self.stderr,
        }
