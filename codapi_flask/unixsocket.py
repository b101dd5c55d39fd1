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
    with _short(path) as address:
        sock.bind(address)


def connect(sock: socket.socket, path: Path) -> None:
    """Connect a socket to the listener at a path.

    Raises:
        OSError: the connection fails, for example because nothing listens there.
    """
    with _short(path) as address:
        sock.connect(address)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a short name for a path, through a descriptor of its directory."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
