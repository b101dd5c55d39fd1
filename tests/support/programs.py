"""Programs for boxes, and how to recognise them from outside."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

INTERVAL = "date +%s%N; sleep 0.2; date +%s%N"
"""Prints the instants of its start and its end."""


class Sleep:
    """A program that sleeps, then prints `done`; no other process of the host looks like it."""

    def __init__(self, seconds: int) -> None:
        self.argument = f"{seconds}.{secrets.randbelow(10**9):09}"
        self.text = f"sleep {self.argument}; echo done"

    def runs(self) -> bool:
        """Tell whether it runs in any box."""
        command = f"sleep\0{self.argument}\0".encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes() == command:
                    return True
        return False


def most_at_once(intervals: Iterable[tuple[int, int]]) -> int:
    """Return how many of the intervals, each a start and an end, overlap at most."""
    changes = [change for start, end in intervals for change in ((start, 1), (end, -1))]
    return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)
