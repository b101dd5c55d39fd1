"""The answers of init."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from enum import IntEnum

ANSWER = struct.Struct("<BBHiQQQQ")
"""`struct answer` of init.c: type, how, stage, value, wall, processor, memory, oom_kills."""

VERSION = 2
"""The version of the protocol."""

UNKNOWN = (1 << 64) - 1

EXIT, SIGNAL, NOT_STARTED = range(3)
CLEAN = 4


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
    reset.
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
        if self.stage is Stage.USER:
            name = user.partition(":")[0]
            return f"unable to find user {name}: no matching entries in passwd file"
        if self.stage is Stage.GROUP:
            name = user.partition(":")[2]
            return f"unable to find group {name}: no matching entries in group file"
        if self.stage is Stage.SYSTEM and self.errno in TOO_LARGE:
            return TOO_LARGE[self.errno]
        if self.stage is Stage.EXEC and self.errno == errno.ENOENT and "/" not in program:
            return f'exec: "{program}": executable file not found in $PATH'
        return f'exec: "{program}": {os.strerror(self.errno).lower()}'


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


def parse(message: bytes) -> Hello | RunDone | ResetDone:
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
        case "D" if how in (EXIT, SIGNAL, NOT_STARTED, EXIT | CLEAN, SIGNAL | CLEAN):
            is_clean, how = bool(how & CLEAN), how & ~CLEAN
            return RunDone(
                value if how == EXIT else None,
                value if how == SIGNAL else None,
                stage,
                value if how == NOT_STARTED else 0,
                wall,
                None if processor == UNKNOWN else processor,
                memory,
                0 if oom_kills == UNKNOWN else oom_kills,
                is_clean,
            )
        case "C":
            return ResetDone(stage, value if how == NOT_STARTED else 0, wall)
        case "F":
            raise ConnectionError(f"init cannot start: {os.strerror(value)}")
    raise ConnectionError(f"not an answer of init: {message!r}")
