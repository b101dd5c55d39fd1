"""Deletes trees that programs made: of any depth, without recursion or following links."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to open a directory that a program may have replaced by a link."""


def remove(directory: Path) -> None:
    """Delete a directory with its contents.

    Another process may delete it at the same time, but none may add to it or replace names.

    Raises:
        OSError: something cannot be deleted, or there is no such directory.
    """
    empty(directory)
    with suppress(FileNotFoundError):
        directory.rmdir()


def empty(directory: Path) -> None:
    """Delete the contents of a directory, under the same condition.

    A directory that is not empty moves up into `directory` before it is emptied, so that no
    path gets long and two descriptors are enough.

    Raises:
        OSError: something cannot be deleted, or there is no such directory.
    """
    with opened(directory) as top:
        # until a read finds it empty: changes during a read may hide names
        while os.listdir(top):
            for name in _delete_names(top):
                with suppress(FileNotFoundError):
                    _flatten(name, top)


def _flatten(name: str, top: int) -> None:
    """Delete a directory in `top`; its directories that are not empty first move to `top`."""
    with opened(name, top) as child:
        for inner in _delete_names(child):
            with suppress(FileNotFoundError):
                os.rename(inner, secrets.token_hex(8), src_dir_fd=child, dst_dir_fd=top)
    os.rmdir(name, dir_fd=top)


@contextmanager
def opened(directory: Path | str, parent: int | None = None) -> Iterator[int]:
    """Yield a descriptor of a directory, which must not be a link; close it afterwards."""
    handle = os.open(directory, FLAGS, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def _delete_names(directory: int) -> list[str]:
    """Delete files and empty directories; return the names of the other directories."""
    full = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=directory)
                    continue
                try:
                    os.rmdir(entry.name, dir_fd=directory)
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:
                        raise
                    full.append(entry.name)
    return full
