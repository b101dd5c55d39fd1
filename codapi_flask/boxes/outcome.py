"""Turns a program's exit status into an `Outcome`, for boxes of every kind."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

from codapi_flask.config.model import BoxSpec
from codapi_flask.models import Outcome, Reason
from codapi_flask.streams import Output

NOT_FOUND = {
    "no such file or directory": "not found",
    "executable file not found in $path": "not found",
    "not a directory": "Not a directory",
}
"""A shell's text, with status 127, for each reason why a program does not exist."""

KILLED_BY_LIMIT = (128 + signal.SIGXCPU, 128 + signal.SIGKILL)
"""A shell's status of a program that exceeded its limit of processor time."""

TOLERANCE = 0.5
"""Share of the limit that the cgroup must have counted. The kernel compares the limit with ticks,
of which a program gets too many while others start and end quickly (its share: 0.84)."""

CLOSE = 0.95
"""Share of the memory limit above which the kernel evicts the pages of running programs."""


def ended(
    status: int | None, number: int | None, stdout: Output, stderr: Output, **measured: Any
) -> Outcome:
    """Return the outcome of a program that ran.

    `status` is that of a shell (128 + S for signal S, the `number`), `None` for a program that
    still ran at its timeout. `measured` are fields of `Outcome`.
    """
    streams = {"stdout": stdout, "stderr": stderr}
    return Outcome(
        stdout.text(),
        stderr.text(),
        exit_code=status,
        signal=None if status is None else number,
        reason=_reason(status, number),
        truncated=tuple(name for name, output in streams.items() if output.truncated),
        **measured,
    )


def out_of_memory(outcome: Outcome, memory: int) -> Outcome:
    """Return the outcome of a program that failed at its box's limit of `memory` MiB."""
    return replace(outcome, reason="memory", note=f"out of memory ({memory} MiB)\n")


def out_of_processor_time(outcome: Outcome, box: BoxSpec) -> Outcome:
    """Return the outcome of a failed program, with the reason `cpu` if its ulimit killed it.

    The kernel sends SIGXCPU at the soft limit and SIGKILL at the hard one (setrlimit(2)). Anybody
    may send SIGKILL, so the box must have had that much of a processor.
    """
    limits = [limit.removeprefix("cpu=") for limit in box.ulimit if limit.startswith("cpu=")]
    if not limits or outcome.exit_code not in KILLED_BY_LIMIT:
        return outcome
    soft, _, hard = limits[-1].partition(":")
    is_soft = outcome.exit_code == 128 + signal.SIGXCPU
    seconds = int(soft if is_soft else hard or soft)
    spent = outcome.cpu_ms
    if spent is None:
        spent = (outcome.wall_ms or 0) * box.cpu
    if seconds < 0 or not (is_soft or spent >= seconds * 1000 * TOLERANCE):
        return outcome
    return replace(outcome, reason="cpu", note=f"out of processor time ({seconds} s)\n")


def overdue(outcome: Outcome, memory: tuple[int, int] | None) -> Outcome:
    """Return the outcome of a program at its timeout; it may be slow for lack of memory.

    `memory` are the bytes that its box needed then, and its limit; `None` is unknown.
    """
    if not memory or memory[0] < memory[1] * CLOSE:
        return outcome
    return replace(outcome, note=f", close to its memory limit ({memory[1] >> 20} MiB)")


def unstartable(outcome: Outcome, program: str, why: str) -> Outcome:
    """Return the outcome of a program that could not be started, in a shell's words."""
    status = 127 if why.lower() in NOT_FOUND else 126
    why = NOT_FOUND.get(why.lower(), why[:1].upper() + why[1:])
    return replace(outcome, stdout="", stderr=f"{program}: {why}", exit_code=status)


def _reason(status: int | None, number: int | None) -> Reason:
    if status is None:
        return "timeout"
    if number is not None:
        return "signal"
    return "exit" if status else "ok"
