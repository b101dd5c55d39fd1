"""The directories on disk that say whose a container is, and whether the owner lives.

    WORK_DIR/                   0700, shared by all servers of one user
        lock                    taken for moments, while a lease is made or tried
        i-1f2e3d4c/             an instance: a lease of one server (its web process)
            init                process 1 of the boxes, and our tool in them
            stock               the keeper's socket
            x-9c8d7e6f/         a lease of one execution, or of a box that waits for one
                work/           its work directory, 0777
                hosts           the /etc/hosts of its boxes that have no network
                init/           while a box starts: what it sees as /.codapi

A lease is a directory whose owner holds a lock (`flock`) on it for as long as it lives; the
kernel lets go of it however the owner dies. Every container carries the paths of its instance
and of a directory in a lease, so whoever finds the lease unlocked may clean up after it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codapi_flask.boxes import trees
from codapi_flask.errors import ConfigError

HOSTS = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

NO_STEP = 2147480001
"""A user and group that no step can be: `INIT_ID` of init/parse.h."""


def work_dir(configured: str) -> Path:
    """Make the work directory ready and return its real path.

    The default lies under `/var/tmp`: systemd may hide a service's `/tmp` from the daemon.

    Raises:
        ConfigError: it cannot be made, or is another user's, or open to others who use it.
    """
    path = Path(configured or f"/var/tmp/codapi-{os.getuid()}")  # noqa: S108
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
            raise ConfigError([f"work_dir: {path} is not a directory of user {os.getuid()}"])
        if info.st_mode & 0o077:
            # a file system of its own is new
            strange = set(os.listdir(path)) - {"lost+found"}
            if strange and "lock" not in strange:
                why = "is open to others and holds their files: name one for the server alone"
                raise ConfigError([f"work_dir: {path} {why}"])
            path.chmod(0o700)
    except FileExistsError as error:
        raise ConfigError([f"work_dir: {path} is no directory: name another"]) from error
    except OSError as error:
        raise ConfigError([f"work_dir: {path}: {error.strerror}"]) from error
    return path.resolve()


def check(work_dir: Path) -> None:
    """Try to write to the work directory, as a server that starts will.

    Raises:
        ConfigError: the disk is full, or read-only.
    """
    try:
        lease = Lease.make(work_dir, "i", work_dir)
        try:
            # about what a server's own files take
            (lease.path / "check").write_bytes(bytes(1 << 17))
        finally:
            lease.remove()
    except OSError as error:
        raise ConfigError([f"work_dir: {work_dir}: {error.strerror}"]) from error


class Lease:
    """A directory of ours, locked until `close` or the process's death.

    The lock goes with its descriptor: it can be sent to another process.
    """

    def __init__(self, path: Path, lock: int) -> None:
        """Own the directory `path`, locked by the open descriptor `lock`."""
        self.path, self.lock = path, lock

    @classmethod
    def make(cls, parent: Path, prefix: str, work_dir: Path) -> Lease:
        """Make a directory `PREFIX-xxxxxxxx` below `work_dir` and lock it."""
        path = parent / f"{prefix}-{secrets.token_hex(4)}"
        with _guarded(work_dir):
            path.mkdir(mode=0o700)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(path, lock)

    @classmethod
    def make_work(cls, instance: Path) -> Lease:
        """Make a lease of an instance with a work directory, open to whichever user of a box.

        Its boxes share no file with others: a file that two boxes see can be locked, watched
        and, by its owner, leased (fcntl(2)) across them.
        """
        lease = cls.make(instance, "x", instance.parent)
        directory, hosts = lease.path / "work", lease.path / "hosts"
        try:
            directory.mkdir()
            directory.chmod(0o777)
            hosts.write_bytes(HOSTS)
            hosts.chmod(0o444)
            if not os.geteuid():
                # root in a box would own it; a server without CHOWN, or in a user namespace without
                # that id, leaves it so: the file is the execution's own all the same
                with suppress(OSError):
                    os.chown(hosts, NO_STEP, NO_STEP)
        except OSError:
            lease.drop()
            raise
        return lease

    def drop(self) -> None:
        """Remove the directory with its empty work directory; if it is not, a sweeper does."""
        with suppress(OSError):
            (self.path / "work").rmdir()
            (self.path / "hosts").unlink(missing_ok=True)
            self.path.rmdir()
        self.close()

    def remove(self) -> None:
        """Remove the directory with all that is in it; if it is not, a sweeper does."""
        with suppress(OSError):
            trees.remove(self.path)
        self.close()

    def close(self) -> None:
        """Let go of the directory; what is in it is for any sweeper to remove."""
        os.close(self.lock)


def is_abandoned(lease: Path, work_dir: Path) -> bool:
    """Tell whether a lease's owner is dead: its directory is there and nobody's.

    A directory that we may not see (another user's, another container's) is nobody's business.
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


@contextmanager
def _guarded(work_dir: Path) -> Iterator[None]:
    """Keep others out between the making of a lease and its locking."""
    handle = os.open(work_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
