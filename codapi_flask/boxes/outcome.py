"""Turns a program's exit status into an `Outcome`, for boxes of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from codapi_flask.models import Outcome, Reason
from codapi_flask.streams import Output

NOT_FOUND = {
    "no such file or directory": "not found",
    "executable file not found in $path": "not found",
    "not a directory": "Not a directory",
}
"""A shell's text, with status 127, for each reason why a program does not exist."""


def ended(
    status: int | None, signal: int | None, stdout: Output, stderr: Output, **measured: Any
) -> Outcome:
    """Return the outcome of a program that ran.

    `status` is that of a shell (128 + S for signal S), `None` for a program that still ran at its
    timeout. `measured` are fields of `Outcome`.
    """
    streams = {"stdout": stdout, "stderr": stderr}
    return Outcome(
        stdout.text(),
        stderr.text(),
        exit_code=status,
        signal=None if status is None else signal,
        reason=_reason(status, signal),
        truncated=tuple(name for name, output in streams.items() if output.truncated),
        **measured,
    )


def out_of_memory(outcome: Outcome, memory: int) -> Outcome:
    """Return the outcome of a program that failed at its box's limit of `memory` MiB."""
    return replace(outcome, reason="memory", note=f"out of memory ({memory} MiB)\n")


def unstartable(outcome: Outcome, program: str, why: str) -> Outcome:
    """Return the outcome of a program that could not be started, in a shell's words."""
    status = 127 if why.lower() in NOT_FOUND else 126
    why = NOT_FOUND.get(why.lower(), why[:1].upper() + why[1:])
    return replace(outcome, stdout="", stderr=f"{program}: {why}", exit_code=status)


def _reason(status: int | None, signal: int | None) -> Reason:
    if status is None:
        return "timeout"
    if signal is not None:
        return "signal"
    return "exit" if status else "ok"
