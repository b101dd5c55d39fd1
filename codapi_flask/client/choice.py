"""Which target executes requests: a server that is named, one on this host, or this process."""

from __future__ import annotations

from pathlib import Path

from codapi_flask.client.remote import RemoteTarget
from codapi_flask.client.target import Target

DEFAULT_SERVER = "http://localhost:1313"


def choose(server: str, token: str, is_local: bool, root: Path, size: int | None = 1) -> Target:
    """Return the server at a URL, else unless `is_local` one on this host, else this process.

    `size` is how many requests this process would execute at once, `None` the config's `pool_size`;
    `root` has its configs.

    Raises:
        TargetError: this process cannot execute any.
    """
    remote = RemoteTarget(server or DEFAULT_SERVER, token)
    if server or (not is_local and remote.is_there()):
        return remote
    # it imports the whole engine
    from codapi_flask.client.local import LocalTarget

    return LocalTarget(root.resolve(), size)
