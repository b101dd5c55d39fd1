"""Timeouts that are no keys of the config, but that tests change.

A timeout that nobody changes is a constant of its module.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

VARIABLE = "CODAPI_TEST_TIMEOUTS"
"""The variable of the environment with other values, as a JSON object."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, by what they limit."""

    box: float = 10
    """A box's start, or its removal; longer is a fault of the server."""

    call: float = 10
    """A call of the daemon that has no deadline of its own."""

    http: float = 10
    """A command of the http engine, in all."""

    keeper: float = 15
    """The keeper's silence, which reports every second, until it counts as hung."""

    margin: float = 10
    """What a worker may take on top of its command's timeouts until it counts as hung."""

    reset: float = 1
    """A reset of a box between two runs; beyond it the box is replaced."""

    send: float = 10
    """A client that does not receive its answer, beyond what the system buffers."""

    @classmethod
    def from_environment(cls) -> Timeouts:
        """Return the timeouts that are in force."""
        return cls(**json.loads(os.environ.get(VARIABLE, "{}")))
