"""The answers of init."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from enum import IntEnum

ANSWER = struct.Struct("<BBHiQQQQ")
"""`struct answer` of init.c: type, how, stage, value, wall, processor, memory, oom_kills."""

VERSION = 3
"""The version of the protocol."""

UNKNOWN = (1 << 64) - 1

EXIT, SIGNAL, NOT_STARTED, WAITS = range(4)
CLEAN, PRELOADED = 4, 8


class Stage(IntEnum):
    """Where a run or a reset failed: `enum stage` of parse.h, which explains each."""

    NONE = 0
    USER = 1
    GROUP = 2
    EXEC = 3
    SYSTEM = 4
    WRITABLE = 5
    PLACES = 6
    IPC = 7
    SOCKETS = 8
    CRASH = 9


TOO_LARGE = {
    errno.EFBIG: "/etc/passwd or /etc/group of the image is larger than 256 KiB",
    errno.E2BIG: "the image has more than 1024 variables",
}
"""Reasons why init cannot start a program: something is too large for it."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The box is ready."""


@dataclass(frozen=True, slots=True)
class RunDone:
    """A run is over: every process of it is dead.

    Either `code` or `signal` is set; neither if the program did not start: then `stage` and
    `errno` are the reason. `wall_ns` and `cpu_ns` (of the whole box, by its cgroup) are
    nanoseconds, `memory_kib` is the largest resident set of one process, `oom_kills` counts
    processes that were killed for the box's memory limit. Without a counter in the cgroup `cpu_ns`
    is `None` and `oom_kills` 0. `is_clean`: the run left nothing, the box is as new without a
    reset. `preloaded`: the program had been preloaded, and waited for the run.
    """

    code: int | None
    signal: int | None
    stage: Stage
    errno: int
    wall_ns: int
    cpu_ns: int | None
    memory_kib: int
    oom_kills: int
    is_clean: bool
    preloaded: bool

    @property
    def status(self) -> int:
        """The exit status of `docker run`: 125 to 127 if the program did not start."""
        if self.code is not None:
            return self.code
        if self.signal is not None:
            return 128 + self.signal
        if self.stage is not Stage.EXEC:
            return 125
        return 127 if self.errno in (errno.ENOENT, errno.ENOTDIR) else 126

    def problem(self, program: str, user: str) -> str:
        """Return why the program (`argv[0]`) did not start as this user, in Docker's words."""
        return _problem(self.stage, self.errno, program, user)


@dataclass(frozen=True, slots=True)
class Preloaded:
    """What is preloaded `waits` for its run, `wall_ns` nanoseconds after its start, or is over.

    While it waits, the box has `memory_kib` that the kernel cannot drop (`None`: unknown). Of one
    that is over the other fields are as in `RunDone`.
    """

    waits: bool
    code: int | None
    signal: int | None
    stage: Stage
    errno: int
    wall_ns: int
    memory_kib: int | None
    oom_kills: int

    def problem(self, program: str, user: str) -> str:
        """Return why it is over; the program is its `argv[0]`, the user that of the step."""
        if self.oom_kills:
            return "out of memory"
        if self.signal is not None:
            return f"ended by signal {self.signal}"
        if self.code is not None:
            return f"exit status {self.code}"
        return _problem(self.stage, self.errno, program, user)


@dataclass(frozen=True, slots=True)
class ResetDone:
    """A reset is over, after `wall_ns` nanoseconds: the box is as new if `ok`, else discard it."""

    stage: Stage
    errno: int
    wall_ns: int

    @property
    def ok(self) -> bool:
        """Whether the box is as new."""
        return self.stage is Stage.NONE


def _problem(stage: Stage, error: int, program: str, user: str) -> str:
    if stage is Stage.USER:
        name = user.partition(":")[0]
        return f"unable to find user {name}: no matching entries in passwd file"
    if stage is Stage.GROUP:
        name = user.partition(":")[2]
        return f"unable to find group {name}: no matching entries in group file"
    if stage is Stage.SYSTEM and error in TOO_LARGE:
        return TOO_LARGE[error]
    if stage is Stage.EXEC and error == errno.ENOENT and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    return f'exec: "{program}": {os.strerror(error).lower()}'


def parse(message: bytes) -> Hello | RunDone | ResetDone | Preloaded:
    """Return the answer in a message.

    Raises:
        ConnectionError: init could not start, or the message is not an answer of this version.
    """
    try:
        kind, how, number, value, wall, processor, memory, oom_kills = ANSWER.unpack(message)
        stage = Stage(number)
    except (struct.error, ValueError) as error:
        raise ConnectionError(f"not an answer of init: {message[:40]!r}") from error
    match chr(kind):
        case "H" if value == VERSION:
            return Hello()
        case "D" if how & ~(CLEAN | PRELOADED) in (EXIT, SIGNAL) or how == NOT_STARTED:
            return RunDone(
                *_ended(how & ~(CLEAN | PRELOADED), value, stage),
                wall,
                None if processor == UNKNOWN else processor,
                memory,
                0 if oom_kills == UNKNOWN else oom_kills,
                bool(how & CLEAN),
                bool(how & PRELOADED),
            )
        case "P" if how <= WAITS:
            return Preloaded(
                how == WAITS,
                *_ended(how, value, stage),
                wall,
                None if memory == UNKNOWN else memory,
                0 if oom_kills == UNKNOWN else oom_kills,
            )
        case "C":
            return ResetDone(stage, value if how == NOT_STARTED else 0, wall)
        case "F":
            raise ConnectionError(f"init cannot start: {os.strerror(value)}")
    raise ConnectionError(f"not an answer of init: {message!r}")


def _ended(how: int, value: int, stage: Stage) -> tuple[int | None, int | None, Stage, int]:
    """Return code, signal, stage and errno of a program."""
    return (
        value if how == EXIT else None,
        value if how == SIGNAL else None,
        stage,
        value if how == NOT_STARTED else 0,
    )
