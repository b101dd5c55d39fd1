"""The directory of one server, and the names of everything in it.

WORK_DIR/                   0700, shared by all servers of one user
    lock                    held for moments, while a lease is made or tried
    i-1f2e3d4c/             an instance: the lease of one server (its web process)
        init                process 1 of the boxes, and the root boxes' program
        stock               the keeper's socket
        forkserver/         the sockets of multiprocessing
        services/BOX/       container: the id of a service that is ready; wanted: a request needs
                            it; doubted: a program in it was killed
        x-9c8d7e6f/         a lease: one execution, or a box that waits for one
            work/           its work directory, 0777
            hosts           the /etc/hosts of its boxes without a network
            entered         the programs in other containers that end with the lease
            init/           while a box starts: what it sees as /.codapi
            plain-init      process 1 of its plain containers
            service/        of a service: what it sees as /.codapi, with its process 1
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codapi_flask import init
from codapi_flask.boxes.lease import Lease
from codapi_flask.errors import ConfigError

TOKEN = "[0-9a-f]" * 8
"""The end of a lease's name, as a glob pattern."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance, by its directory; any process of the server may use it."""

    path: Path

    @classmethod
    @contextmanager
    def created(cls, work_dir: Path) -> Iterator[Instance]:
        """Create an instance for this process; remove it and its contents afterwards.

        Raises:
            OSError: the disk does not allow it.
        """
        lease = Lease.make(work_dir, "i", work_dir)
        try:
            instance = cls(lease.path)
            init.install(init.binary(), instance.init)
            instance.forkserver.mkdir()
            instance.services.mkdir()
            yield instance
        finally:
            lease.remove()

    @classmethod
    def all_in(cls, work_dir: Path) -> Iterator[Instance]:
        """Yield every instance in a work directory, whoever owns it."""
        yield from map(cls, work_dir.glob(f"i-{TOKEN}"))

    @property
    def work_dir(self) -> Path:
        """The work directory, shared by all servers of one user."""
        return self.path.parent

    @property
    def init(self) -> Path:
        """The program that is process 1 of the boxes and the program of root boxes."""
        return self.path / "init"

    @property
    def socket(self) -> Path:
        """The socket that the keeper listens on."""
        return self.path / "stock"

    @property
    def forkserver(self) -> Path:
        """The directory of multiprocessing's sockets."""
        return self.path / "forkserver"

    @property
    def services(self) -> Path:
        """The directory of what the keeper and the workers tell each other of services."""
        return self.path / "services"

    def lease(self) -> Lease:
        """Make a lease with a work directory, for one execution or a box that waits for one.

        Raises:
            OSError: the disk does not allow it.
        """
        return Lease.make_work(self.path)

    def leases(self) -> list[Path]:
        """Return the directories of all its leases."""
        return list(self.path.glob(f"x-{TOKEN}"))


def work_dir(configured: str) -> Path:
    """Create the work directory if necessary and return its real path.

    The default lies under `/var/tmp`: systemd may hide a service's `/tmp` from the daemon.

    Raises:
        ConfigError: it cannot be created, is another user's, or is open to and used by others.
    """
    path = Path(configured or f"/var/tmp/codapi-{os.getuid()}")  # noqa: S108
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
            raise ConfigError([f"work_dir: {path} is not a directory of user {os.getuid()}"])
        if info.st_mode & 0o077:
            # a new file system of its own has a lost+found
            strange = set(os.listdir(path)) - {"lost+found"}
            if strange and "lock" not in strange:
                why = "is open to others and holds their files: name one for the server alone"
                raise ConfigError([f"work_dir: {path} {why}"])
            path.chmod(0o700)
    except FileExistsError as error:
        raise ConfigError([f"work_dir: {path} is not a directory: name another"]) from error
    except OSError as error:
        raise ConfigError([f"work_dir: {path}: {error.strerror}"]) from error
    return path.resolve()


def check(work_dir: Path) -> None:
    """Try to write to the work directory, as the server's start does.

    Raises:
        ConfigError: the disk is full, or read-only.
    """
    try:
        lease = Lease.make(work_dir, "i", work_dir)
        try:
            # about the size of a server's own files
            (lease.path / "check").write_bytes(bytes(1 << 17))
        finally:
            lease.remove()
    except OSError as error:
        raise ConfigError([f"work_dir: {work_dir}: {error.strerror}"]) from error
