"""Timeouts that follow from the config's `start_timeout`, or that tests change.

A timeout that nobody changes is a constant of its module.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

START = 10.0
"""Seconds that a box may take to start, unless the config says otherwise."""

VARIABLE = "CODAPI_TEST_TIMEOUTS"
"""The variable of the environment with other values, as a JSON object."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, by what they limit."""

    box: float = START
    """A box's start, or its removal; longer is a fault of the server."""

    call: float = 10
    """A call of the daemon that has no deadline of its own."""

    clean: float = 60
    """A worker's cleanup after a job, until the worker counts as hung."""

    end: float = 15
    """The cleanup of all child processes when the server ends."""

    heartbeat: float = 10
    """A live client without an event, until a comment shows that the connection works."""

    http: float = 10
    """A command of the http engine, in all."""

    keeper: float = 15
    """The keeper's silence, which reports every second, until it counts as hung."""

    kill: float = 5
    """The death of a run's processes; beyond it the daemon kills the box."""

    margin: float = 10
    """What a worker may take on top of its command's timeouts until it counts as hung."""

    ready: float = 60
    """A child process's start, until it is ready."""

    reset: float = 1
    """A reset of a box between two runs; beyond it the box is replaced."""

    send: float = 10
    """A client that does not receive its answer, beyond what the system buffers."""

    @classmethod
    def of(cls, start: float) -> Timeouts:
        """Return the timeouts in force if a box may take `start` seconds to start.

        A host on which boxes start slowly does everything slowly; where `start` is less than the
        default, only a box's start has less time.
        """
        slow = max(start, START)
        derived = {
            "box": start,
            "call": slow,
            "clean": 6 * slow,
            "end": slow + 5,
            "keeper": slow + 5,
            "kill": slow / 2,
            "margin": slow,
            "ready": 6 * slow,
        }
        return cls(**(derived | json.loads(os.environ.get(VARIABLE, "{}"))))
