"""What waits in a box for its next run, already started."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from codapi_flask.config.model import Preload


def argv(preload: Preload) -> list[str]:
    """Return the argv of what waits: the config's command, or the server's waiter for Python."""
    if preload.python is None:
        return [*preload.command]
    return [*preload.command, "-c", _waiter(), *preload.python]


@cache
def _waiter() -> str:
    # it runs in the box, whose Python may be another one
    return Path(__file__).with_name("waiter.py").read_text()
