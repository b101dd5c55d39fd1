"""Unix sockets at paths that are longer than the 107 bytes of an address (unix(7))."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def bind(sock: socket.socket, path: Path) -> None:
    """Bind a socket to a path.

    Raises:
        OSError: the path cannot be bound.
    """
    with short(path.parent) as directory:
        sock.bind(f"{directory}/{path.name}")


def connect(sock: socket.socket, path: Path) -> None:
    """Connect a socket to the listener at a path.

    Raises:
        OSError: the connection fails, for example because nothing listens there.
    """
    with short(path.parent) as directory:
        sock.connect(f"{directory}/{path.name}")


@contextmanager
def short(directory: Path) -> Iterator[str]:
    """Yield a short path of a directory, through a descriptor of this process."""
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/{os.getpid()}/fd/{handle}"
    finally:
        os.close(handle)
