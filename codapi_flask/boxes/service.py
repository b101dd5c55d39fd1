"""A service: a container that the server keeps running, in which steps execute programs.

It lives for a lease, and no longer than the process that starts it: that holds a lock which the
service's process 1 watches. The keeper and the workers share its state in files: whether it is
ready, and whether a request needs it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.lease import Lease
from codapi_flask.config.model import BoxSpec
from codapi_flask.config.names import safe
from codapi_flask.daemon.attach import Stream
from codapi_flask.daemon.cgroup import bound_sockets
from codapi_flask.daemon.container import Container
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.init import install
from codapi_flask.program import Program
from codapi_flask.streams import WATCH_INTERVAL, Cancel, pump

NOUTPUT = 4096
"""Bytes that are kept of the end of a service's output."""


class Bulletin:
    """The state of one service, in files that all processes of a server read and write."""

    def __init__(self, instance: Instance, box: str) -> None:
        self._directory = instance.services / box

    @property
    def container(self) -> str:
        """The id of the ready service's container, empty if the service is not ready."""
        with suppress(FileNotFoundError):
            return (self._directory / "container").read_text()
        return ""

    def publish(self, container: str) -> None:
        """Record that the service is ready in a container."""
        new = self._touched("new")
        new.write_text(container)
        new.replace(self._directory / "container")

    def withdraw(self) -> None:
        """Record that the service is not ready."""
        (self._directory / "container").unlink(missing_ok=True)

    @property
    def is_doubted(self) -> bool:
        """Whether programs in the service were killed, perhaps for lack of memory."""
        return (self._directory / "doubted").exists()

    def doubt(self) -> None:
        """Record that a program in the service was killed."""
        self._touched("doubted")

    def trust(self) -> None:
        """Delete the record of killed programs."""
        (self._directory / "doubted").unlink(missing_ok=True)

    @property
    def is_wanted(self) -> bool:
        """Whether a request has needed the service."""
        return (self._directory / "wanted").exists()

    def want(self) -> None:
        """Record that a request needs the service."""
        self._touched("wanted")

    def _touched(self, name: str) -> Path:
        """Create a file unless it exists, and return its path."""
        self._directory.mkdir(exist_ok=True)
        file = self._directory / name
        file.touch()
        return file


class Service:
    """A started service; `close` must follow."""

    def __init__(
        self, box: BoxSpec, container: Container, stream: Stream, owned: ExitStack
    ) -> None:
        """Own a started container and its output; `owned` closes them and what they live for."""
        self.box, self.container = box, container
        self._stream, self._owned = stream, owned
        self._own_memory: int | None = None

    @classmethod
    def start(cls, daemon: Daemon, box: BoxSpec, instance: Instance) -> Service:
        """Start a service.

        Raises:
            ServerFault: the container cannot be started in time.
            Vanished: others removed it.
        """
        deadline = time.monotonic() + daemon.timeouts.box
        with ExitStack() as owned:
            lease = instance.lease()
            owned.callback(lease.remove)
            if daemon.is_local:
                owned.callback(os.close, _lock(lease, instance))
            name = f"{safe(box.name)}_{lease.path.name}"
            mounts = lease.mounts(lease.service if daemon.is_local else None)
            container = daemon.create_service(name, box, mounts, instance.path, deadline)
            owned.callback(container.remove)
            program = Program((), box.user, noutput=NOUTPUT)
            stream = container.attach(program, deadline, keeps_last=True)
            owned.callback(stream.close)
            container.start(deadline)
            if daemon.bounds_sockets(box):
                # process 1 starts the program only after that
                state = container.inspect().get("State", {})
                bound_sockets(state.get("Pid", 0), box.memory)
            return cls(box, container, stream, owned.pop_all())

    @property
    def output(self) -> str:
        """The end of what the service has printed."""
        return (self._stream.stdout.text() + self._stream.stderr.text()).strip()

    def wait(self, seconds: float) -> bool:
        """Read the output for some seconds; return False at once if the service ends."""
        return not pump(Cancel(), [self._stream], None, b"", time.monotonic() + seconds)

    def try_ready(self, seconds: float, is_over: Callable[[], bool]) -> str | None:
        """Execute the box's `ready`: return `None` if it succeeds, else what it has printed.

        It fails after `seconds`, or soon after `is_over` returns true. The service's output is read
        meanwhile.

        Raises:
            NotRunning: the service has ended.
            ServerFault: the daemon failed, or the program's user does not exist.
        """
        deadline = time.monotonic() + seconds
        program = Program(self.box.ready, self.box.user, timeout=seconds)
        exec = self.container.exec(program)
        stream = exec.start(time.monotonic() + seconds)
        try:
            pump(Cancel(), [self._stream, stream], None, b"", deadline, is_over)
            code = exec.wait(time.monotonic())
            while code is None and time.monotonic() < deadline and not is_over():
                code = exec.wait(min(time.monotonic() + WATCH_INTERVAL, deadline))
        finally:
            stream.close()
        said = (stream.stdout.text() + stream.stderr.text()).strip()
        if code is None:
            return said or f"{self.box.ready[0]} does not end"
        return None if code == 0 else said or f"exit status {code}"

    def weigh(self) -> None:
        """Remember how much memory the service needs while nobody uses it."""
        found = self.container.memory()
        self._own_memory = found[0] if found else None

    def lacks_memory(self) -> bool:
        """Whether programs have less than half of the memory that they had at `weigh`.

        They may have filled it for good: files in memory and System V segments outlive them. The
        daemon may be unable to measure a service without any.
        """
        if self._own_memory is None:
            return False
        found = self.container.memory()
        return not found or 2 * found[0] > self._own_memory + found[1]

    def close(self) -> None:
        """End the service and remove it.

        Raises:
            ServerFault: the daemon did not confirm that; a sweeper removes what is left.
        """
        self._owned.close()


def _lock(lease: Lease, instance: Instance) -> int:
    """Make the directory that the service watches, and lock it; return its descriptor."""
    lease.service.mkdir()
    lease.service.chmod(0o755)
    install(instance.init, lease.service / "init")
    lock = os.open(lease.service, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
