"""What travels from the client to the box and back: request, job, outcome, execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from codapi_flask.errors import RequestError

Reason = Literal["ok", "exit", "signal", "timeout", "memory", "error"]


@dataclass(frozen=True, slots=True)
class Request:
    """The client's words: which command of which sandbox to run on which files.

    `files` maps names to texts in the client's order; the name `""` stands for the command's
    entry file. `version` selects the boxes' version, `""` the unversioned ones.
    """

    sandbox: str
    command: str
    files: Mapping[str, str]
    version: str = ""

    @classmethod
    def parse(cls, document: object) -> Request:
        """Read a request from a decoded JSON document; unknown fields are ignored.

        An absent field and `null` are empty, as in Codapi.

        Raises:
            RequestError: 400, the document is not an object or a field is of the wrong type.
        """
        if not isinstance(document, dict):
            raise RequestError(400, "the request must be a JSON object")
        fields = {}
        for name in ("sandbox", "command", "version"):
            value = document.get(name)
            if not isinstance(value, str | None):
                raise RequestError(400, f"{name}: must be a string")
            fields[name] = value or ""
        files = document.get("files")
        if files is None:
            files = {}
        if not isinstance(files, dict):
            raise RequestError(400, "files: must be an object of names and texts")
        if not all(isinstance(text, str) for text in files.values()):
            raise RequestError(400, "files: every file's content must be a string")
        return cls(files=files, **fields)


@dataclass(frozen=True, slots=True)
class Job:
    """An admitted request: every name in it is one of the config's."""

    id: str
    sandbox: str
    command: str
    version: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one step ended.

    `stdout` and `stderr` are what the program printed, each cut at the step's limit.
    `exit_code` is that of a shell: 128 + S for a program ended by signal S, `None` when there
    is none (time-out, error). For the reason `error`, `stderr` says what is wrong. `note` is
    what we have to say to a failure, `box` names the box it was in.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = 0
    reason: Reason = "ok"
    note: str = ""
    box: str = "-"

    @property
    def ok(self) -> bool:
        """Whether the next step may follow."""
        return self.reason == "ok"


@dataclass(frozen=True, slots=True)
class Execution:
    """The result of a job.

    The first five fields are the answer; `duration` is in whole milliseconds. The others are
    for the log: `box` is where the answer was made, `fault` the cause of an internal error.
    """

    id: str
    ok: bool = False
    duration: int = 0
    stdout: str = ""
    stderr: str = ""
    reason: Reason = "error"
    box: str = "-"
    fault: str = field(default="", repr=False)

    @classmethod
    def of(cls, id: str, outcome: Outcome, duration: int) -> Execution:
        """Turn the deciding step's outcome into the answer.

        Of a failed program, all that it printed becomes stderr: the widget shows stdout when
        there is any, and nobody would see the error.
        """
        stdout, stderr = outcome.stdout, outcome.stderr
        if outcome.reason == "timeout":
            stdout, stderr = "", "code execution timeout"
        elif outcome.reason == "error":
            stdout = ""
        elif not outcome.ok:
            printed, status = stdout + stderr, f"exit status {outcome.exit_code}"
            stdout, stderr = "", outcome.note + (f"{printed} ({status})" if printed else status)
        return cls(id, outcome.ok, duration, stdout, stderr, outcome.reason, outcome.box)

    def answer(self) -> dict[str, object]:
        """Return the five fields that the client reads."""
        return {
            "id": self.id,
            "ok": self.ok,
            "duration": self.duration,
            "stdout": self.stdout,
            "stderr": self.stderr,
        }
