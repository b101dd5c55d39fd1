"""The exceptions of the server: caused by the operator, by the client, or by the server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal


class ConfigError(Exception):
    """The operator's mistake: the config cannot be used.

    `problems` holds every problem found, each as `FILE: KEY: what is wrong`.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


Kind = Literal["malformed", "unknown", "no box", "unauthorized", "unsupported", "too large", "busy"]


class RequestError(Exception):
    """The client's mistake: a request that is answered without being executed.

    `kind` is the kind of mistake, `text` the answer's stderr and `id` the execution's id, if it
    already has one.
    """

    def __init__(self, kind: Kind, text: str, id: str = "-") -> None:
        self.kind, self.text, self.id = kind, text, id
        super().__init__(text)


class FileError(Exception):
    """The client's mistake: one of the request's files cannot be written.

    The text names the file: `files[NAME]: reason`.
    """

    def __init__(self, name: str, reason: str) -> None:
        shown = name if len(name) <= 100 else name[:100] + "…"
        super().__init__(f"files[{shown}]: {reason}")


class ServerFault(Exception):
    """The server's fault: the daemon is gone, an image is missing, a worker is lost.

    The text goes to the log; the client gets `internal error`, that Docker is down, or that the
    sandbox is not installed.
    """


class DaemonGone(ServerFault):
    """The Docker daemon is not there: nothing listens where it should."""


class NoImage(ServerFault):
    """The image of a box is not there: the sandbox is not installed. `image` is its name."""

    def __init__(self, image: str, box: str) -> None:
        self.image = image
        super().__init__(f"no image {image} for the box {box}: build or pull it")


class NotReady(ServerFault):
    """A service is starting, or starts again. `box` is its box."""

    def __init__(self, box: str) -> None:
        self.box = box
        super().__init__(f"the service {box} is not ready yet")


class UnfitDaemon(ServerFault):
    """The Docker daemon is too old or too new for this server."""


class Busy(Exception):
    """All workers are busy."""


class Abandoned(Exception):
    """The server process that waited for this execution is gone."""


class Cancelled(Exception):
    """The run was cancelled: its result is no longer needed."""


class RecipeError(Exception):
    """The operator's mistake: a recipe of a sandbox cannot be fetched, added, built or removed."""


class NotRunning(Exception):
    """A step acts on a container that does not exist or does not run."""


class Vanished(NotRunning):
    """A box died, or was removed, before its program had begun: another box may run it."""
