"""The connection between a worker and the init of one box."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from codapi_flask import unixsocket
from codapi_flask.init.answers import ANSWER, Hello, Preloaded, ResetDone, RunDone, parse
from codapi_flask.init.options import install

MESSAGE_MAX = 65536
STRINGS_MAX = 1024

CREDENTIALS = struct.Struct("3i")
"""`struct ucred`: pid, uid, gid."""


class InitConnection:
    """A box that runs one program at a time; closing it ends the box with all its processes.

    Hold it in one process only: to pass it on, send the descriptor, then close it here. No call
    blocks: poll `fileno()`, then `receive` the answer.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection

    def fileno(self) -> int:
        """Return the descriptor to poll, or to pass on."""
        return self._connection.fileno()

    @property
    def pid(self) -> int:
        """The pid of init in this process's PID namespace (unix(7), SO_PEERCRED)."""
        option = socket.SOL_SOCKET, socket.SO_PEERCRED
        return int(CREDENTIALS.unpack(self._connection.getsockopt(*option, CREDENTIALS.size))[0])

    def run(
        self,
        argv: Sequence[str],
        user: str,
        files: tuple[int, ...],
        env: Sequence[str] = (),
    ) -> None:
        """Start a program as a user of the box (`name`, `uid`, `name:group` ...).

        `files` are descriptors of its stdin, stdout and stderr; they stay open in this process:
        close them. Without any, it gets those of the last `preload`, and goes on in the program
        that waits if user, `env` and `argv[0]` are the same. `env` (`NAME=value`) comes on top of
        the image's environment; HOME is the one of the box's passwd unless it is in `env`.
        Answered by `RunDone`.

        Raises:
            ValueError: a string holds a NUL, or the strings are too many or too long.
            ConnectionError: the box is gone.
        """
        self._send_program(b"R", argv, user, files, env)

    def preload(
        self,
        argv: Sequence[str],
        user: str,
        files: tuple[int, int, int],
        env: Sequence[str] = (),
    ) -> None:
        """Start a program that waits for the next `run`, which gets its descriptors.

        Only one at a time, and none while a program runs. Answered by `Preloaded`, once it waits
        and once it is over, unless a `run` or `reset` comes before.

        Raises:
            ValueError: a string holds a NUL, or the strings are too many or too long.
            ConnectionError: the box is gone.
        """
        self._send_program(b"P", argv, user, files, env)

    def is_read(self) -> bool:
        """Whether init has read all messages: a program in an unread one has not begun."""
        # unix(7), SIOCOUTQ; the peer's end of the connection holds what it has not read
        left = fcntl.ioctl(self._connection, termios.TIOCOUTQ, bytes(4))
        return not int.from_bytes(left, sys.byteorder)

    def kill(self) -> None:
        """Kill the program and all that it started, what waits, or a reset; answered as usual."""
        self._send(b"K")

    def reset(self) -> None:
        """Delete what the last program left. Answered by `ResetDone`."""
        self._send(b"C")

    def receive(self) -> RunDone | ResetDone | Preloaded | None:
        """Return the next answer, `None` if it has not come yet.

        Raises:
            ConnectionError: the box is gone; its `errno` is ECONNRESET if messages were unread.
        """
        try:
            message = self._connection.recv(ANSWER.size + 1)
        except BlockingIOError:
            return None
        if not message:
            raise ConnectionError("the box is gone")
        answer = parse(message)
        if isinstance(answer, Hello):
            raise ConnectionError("init says hello twice")
        return answer

    def close(self) -> None:
        """End the box."""
        self._connection.close()

    def _send_program(
        self,
        kind: bytes,
        argv: Sequence[str],
        user: str,
        files: Sequence[int],
        env: Sequence[str],
    ) -> None:
        strings = [os.fsencode(text) for text in (user, *argv, *env)]
        counts = len(argv).to_bytes(2, "little") + len(env).to_bytes(2, "little")
        message = kind + b"\0" + counts + b"".join(text + b"\0" for text in strings)
        if not argv or len(argv) > STRINGS_MAX or len(env) > STRINGS_MAX:
            raise ValueError("a program has 1 to 1024 arguments and at most 1024 variables")
        if len(message) > MESSAGE_MAX or any(b"\0" in text for text in strings):
            raise ValueError("arguments and variables are too long, or hold a NUL")
        self._send(message, files)

    def _send(self, message: bytes, files: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._connection, [message], files)
        except BlockingIOError as error:
            raise ConnectionError("the box takes no messages") from error


class Listener:
    """A directory for one box, with the program `init` and the socket that it connects to.

    Mount it at `MOUNT`, read-only. Its parent directory must not be open to other users of the
    host: the first connection is taken for init's.
    """

    def __init__(self, directory: Path, binary: Path) -> None:
        """Make the directory; its parent must exist."""
        self.directory = directory
        directory.mkdir()
        # explicit modes, regardless of the umask: in the box, init has no more rights than others
        directory.chmod(0o711)
        install(binary, directory / "init")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        unixsocket.bind(self._socket, directory / "socket")
        (directory / "socket").chmod(0o666)
        self._socket.listen(1)

    def fileno(self) -> int:
        """Return the descriptor to poll: once it is readable, `accept` does not wait long."""
        return self._socket.fileno()

    def accept(self, deadline: float) -> InitConnection:
        """Return the connection of an init that has sent HELLO; close the listener in any case.

        Raises:
            TimeoutError: none came until the deadline, an instant of `time.monotonic`.
            ConnectionError: it is not an init of this version, or it could not start.
        """
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            connection, _ = self._socket.accept()
        finally:
            self.close()
        try:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            if not isinstance(parse(connection.recv(ANSWER.size + 1)), Hello):
                raise ConnectionError("init does not say hello")
        except BaseException:
            connection.close()
            raise
        return InitConnection(connection)

    def close(self) -> None:
        """Close the socket and delete the directory; a box that has it mounted keeps it, empty."""
        self._socket.close()
        for name in ("socket", "init"):
            with suppress(FileNotFoundError):
                (self.directory / name).unlink()
        with suppress(FileNotFoundError):
            self.directory.rmdir()
