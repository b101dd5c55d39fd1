"""Starts a local Python in a folder: as usual, or one that waits, to which this module is init."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WAITER = Path(__file__).parents[2] / "codapi_flask" / "boxes" / "waiter.py"
IN, OUT = 0, 1
STREAMS = (IN, OUT, OUT)
TIMEOUT = 60.0


@dataclass(frozen=True)
class Ended:
    """What a program did. A negative status is that of a signal."""

    status: int
    stdout: bytes
    stderr: bytes


class Process:
    """A Python that leads a session; its descriptors, from 0 on, are pipes, whose ends are here."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        directions: Sequence[int] = STREAMS,
    ) -> None:
        pipes = [_pipe() for _ in directions]
        ends = [pipes[number][way] for number, way in enumerate(directions)]
        self.ends = [pipes[number][1 - way] for number, way in enumerate(directions)]
        self.pid = os.posix_spawn(
            "/usr/bin/env",
            ["env", "-C", str(folder), *command],
            {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **env},
            file_actions=[(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(ends)],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
        for end in ends:
            os.close(end)

    def finish(self, stdin: bytes = b"") -> Ended:
        """Write stdin, and return what comes until the program has ended."""
        timer = threading.Timer(TIMEOUT, os.killpg, (self.pid, signal.SIGKILL))
        outputs = [b"", b""]

        def read(number: int) -> None:
            outputs[number] = _read(self.ends[number + 1])

        threads = [timer, *(threading.Thread(target=read, args=(n,)) for n in (0, 1))]
        for thread in threads:
            thread.start()
        # less than a pipe holds
        os.write(self.ends[0], stdin)
        os.close(self.ends[0])
        _, status = os.waitpid(self.pid, 0)
        timer.cancel()
        for thread in threads:
            thread.join()
        return Ended(os.waitstatus_to_exitcode(status), *outputs)


class Waiting(Process):
    """A Python that waits, or is about to, for the arguments of a run."""

    def __init__(
        self,
        python: str,
        modules: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        command = [python, "-c", WAITER.read_text(), *modules]
        super().__init__(command, folder, env or {}, (*STREAMS, IN, OUT))

    def wait(self) -> bytes:
        """Return what it has said when it waits, or has failed."""
        return _read(self.ends.pop())

    def go(self, arguments: bytes, stdin: bytes = b"") -> Ended:
        """Write the arguments, as init does, once it waits, and return how the program ended."""
        go = self.ends.pop()
        os.write(go, arguments)
        os.close(go)
        return self.finish(stdin)


def to_arguments(*argv: str) -> bytes:
    """Return arguments as they are written to a Python that waits."""
    return b"".join(os.fsencode(argument) + b"\0" for argument in argv)


def _pipe() -> list[int]:
    ends = os.pipe()
    # above those of the program, to which they are duplicated
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high


def _read(end: int) -> bytes:
    with open(end, "rb") as file:
        return file.read()
