"""A directory with a lock, which tells whether the directory's owner lives.

The lock (`flock`) lasts as long as the owner; the kernel releases it however the owner dies. Every
container carries the paths of its instance and of a directory in a lease, so any process that
finds the lease unlocked may clean up after it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codapi_flask.boxes import trees
from codapi_flask.daemon.hostconfig import Mounts

HOSTS = b"127.0.0.1\tlocalhost\n"
"""The boxes have no IPv6."""

ENTERED = "entered"
"""The file of a lease with the group and the container of programs that end with it."""

NO_STEP = 2147480001
"""A user and group that no step can have: `INIT_ID` of init/parse.h."""


class Lease:
    """A directory that this process has locked, until `close` or the process's death.

    The lock belongs to its descriptor, which can be passed to another process.
    """

    def __init__(self, path: Path, lock: int) -> None:
        """Own the directory `path`, locked by the open descriptor `lock`."""
        self.path, self.lock = path, lock

    @classmethod
    def make(cls, parent: Path, prefix: str, work_dir: Path) -> Lease:
        """Make and lock a directory `PREFIX-xxxxxxxx` in `parent`, which lies in `work_dir`."""
        path = parent / f"{prefix}-{secrets.token_hex(4)}"
        with _guarded(work_dir):
            path.mkdir(mode=0o700)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(path, lock)

    @classmethod
    def make_work(cls, instance: Path) -> Lease:
        """Make a lease of an instance, with a work directory that is open to any user of a box.

        Its boxes share no file with others: a file that two boxes see can be locked, watched
        and, by its owner, leased (fcntl(2)) across them.
        """
        lease = cls.make(instance, "x", instance.parent)
        try:
            lease.work.mkdir()
            lease.work.chmod(0o777)
            lease.hosts.write_bytes(HOSTS)
            lease.hosts.chmod(0o444)
            if not os.geteuid():
                # root in a box would own it. Without CHOWN, or in a user namespace without that
                # id, it stays root's, which is tolerable: no other execution sees the file
                with suppress(OSError):
                    os.chown(lease.hosts, NO_STEP, NO_STEP)
        except OSError:
            lease.drop()
            raise
        return lease

    @property
    def work(self) -> Path:
        """The work directory, shared by all boxes of the lease."""
        return self.path / "work"

    @property
    def hosts(self) -> Path:
        """The `/etc/hosts` of the boxes that have no network."""
        return self.path / "hosts"

    @property
    def init(self) -> Path:
        """The directory of init's listener, while a box starts."""
        return self.path / "init"

    @property
    def plain_init(self) -> Path:
        """The copy of init that is process 1 of the plain containers."""
        return self.path / "plain-init"

    @property
    def service(self) -> Path:
        """The directory that a service sees, with the copy of init that is its process 1."""
        return self.path / "service"

    def enter(self, group: int, container: str) -> None:
        """Record that the programs of a container which have that group end with the lease."""
        with (self.path / ENTERED).open("a") as file:
            file.write(f"{group} {container}\n")

    def mounts(self, init: Path | None) -> Mounts:
        """Return the mounts of the lease's boxes; `init` is mounted for their process 1."""
        return Mounts(self.work, self.hosts, init)

    def drop(self) -> None:
        """Remove the directory with its empty work directory; if that fails, a sweeper does."""
        with suppress(OSError):
            self.work.rmdir()
            self.hosts.unlink(missing_ok=True)
            self.path.rmdir()
        self.close()

    def remove(self) -> None:
        """Remove the directory with its contents; if that fails, a sweeper does."""
        with suppress(OSError):
            trees.remove(self.path)
        self.close()

    def close(self) -> None:
        """Release the lock; any sweeper may then remove the directory."""
        os.close(self.lock)


def is_abandoned(lease: Path, work_dir: Path) -> bool:
    """Whether a lease exists and its owner is dead.

    False for a directory that this process cannot open (another user's, another container's).
    """
    try:
        with _guarded(work_dir):
            handle = os.open(lease, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def entered(lease: Path) -> Iterator[tuple[int, str]]:
    """Yield group and container of the programs that end with a lease."""
    with suppress(FileNotFoundError):
        for line in (lease / ENTERED).read_text().splitlines(keepends=True):
            group, _, container = line.partition(" ")
            # the owner may have died while it wrote
            if container.endswith("\n"):
                yield int(group), container.rstrip()


@contextmanager
def _guarded(work_dir: Path) -> Iterator[None]:
    """Hold the work directory's lock: a new lease must not be seen before it is locked."""
    handle = os.open(work_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
