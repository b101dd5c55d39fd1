"""What waits in a box for its next run, already started."""

from __future__ import annotations

from codapi_flask.boxes import waiter
from codapi_flask.config.model import Preload


def argv(preload: Preload) -> list[str]:
    """Return the argv of what waits: the config's command, or the server's waiter for Python."""
    if preload.python is None:
        return [*preload.command]
    return [*preload.command, "-c", waiter.TEXT, *preload.python]
