"""A program's streams over an upgraded connection to the daemon."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any, Protocol

import docker
import docker.errors

from codapi_flask.program import Program
from codapi_flask.streams import CHUNK, Output

HEAD = 8
"""Bytes of a frame's header."""

STDOUT, STDERR = 1, 2


class SupportsClose(Protocol):
    """The owner of a connection."""

    def close(self) -> None:
        """Close the connection."""


def upgrade(
    api: docker.APIClient, path: str, program: Program, keeps_last: bool = False, **request: Any
) -> Stream:
    """Upgrade a call to a program's streams, of which `noutput` is kept: the first, or the last.

    docker-py's own upgrade drops what comes with the head.
    """
    response = api.post(
        f"{api.base_url}/v{api.api_version}/{path}",
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        stream=True,
        timeout=api.timeout,
        **request,
    )
    if response.status_code >= 400:
        raise docker.errors.APIError(response.reason, response, response.text)
    reader = response.raw._fp.fp
    connection = reader.raw._sock
    connection.setblocking(False)
    leftover = b""
    with suppress(ssl.SSLWantReadError):
        leftover = reader.peek()
    limit, listen = program.noutput, program.listener
    stdout = Output(limit, keeps_last, listen("stdout"))
    stderr = Output(limit, keeps_last, listen("stderr"))
    return Stream(connection, leftover, stdout, stderr, response)


class Stream:
    """A program's streams over an upgraded connection to the daemon; no call blocks.

    Docker Engine API v1.41, "Attach to a container": stdin is sent as it is; what is received are
    frames of an eight-byte header (stream, 0, 0, 0, size in big-endian) and the data. A frame may
    be split anywhere.
    """

    def __init__(
        self,
        connection: socket.socket,
        leftover: bytes,
        stdout: Output,
        stderr: Output,
        owner: SupportsClose,
    ) -> None:
        """Take over an upgraded connection; `owner` closes it.

        `leftover` is what was read of it with the answer's head: docker-py drops these bytes
        (docker-py #3332), and with them the output of a quick program.
        """
        self._connection, self._owner = connection, owner
        connection.setblocking(False)
        self.stdout, self.stderr = stdout, stderr
        self._head = bytearray()
        self._left = 0
        self._take(memoryview(leftover))

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._connection.fileno()

    def read(self) -> bool:
        """Read what is available; return False when both streams are closed."""
        try:
            data = self._connection.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        self._take(memoryview(data))
        return bool(data)

    def write(self, data: memoryview) -> int:
        """Send a part of stdin; return its size, or that of all data if no reader is left."""
        try:
            return self._connection.send(data[:CHUNK])
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0
        except OSError:
            return len(data)

    def end_stdin(self) -> None:
        """End the program's stdin."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._owner.close()

    def _take(self, data: memoryview) -> None:
        while data:
            if not self._left:
                wanted = HEAD - len(self._head)
                self._head += data[:wanted]
                data = data[wanted:]
                if len(self._head) < HEAD:
                    return
                self._target = self.stderr if self._head[0] == STDERR else self.stdout
                self._left = int.from_bytes(self._head[4:], "big")
                self._head.clear()
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            self._target.write(part)
