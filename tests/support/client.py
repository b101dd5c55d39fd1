"""A client that sends arbitrary bytes, or none, and may disconnect at any time."""

from __future__ import annotations

import http.client
import socket
import struct
from contextlib import suppress

from tests.support.server import Answer, Server

TIMEOUT = 60


class Client:
    """One connection to a server, or to a port of this host.

    `receive_buffer` bounds the bytes in flight before the client reads.
    """

    def __init__(self, server: Server | int, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT)
        port = server if isinstance(server, int) else server.port
        self.socket.connect(("127.0.0.1", port))

    def send(self, *parts: bytes) -> None:
        """Send each part in its own packet; drop the rest if the server has disconnected."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        with suppress(ConnectionError):
            for part in parts:
                self.socket.sendall(part)

    def finish(self) -> None:
        """Shut down the sending end."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def answers(self) -> list[Answer]:
        """Return all answers up to the connection's end."""
        answers = []
        with suppress(ConnectionResetError), self.socket.makefile("rb") as file:
            while line := file.readline():
                status, headers = int(line.split()[1]), http.client.parse_headers(file)
                if status >= 200:
                    body = file.read(int(headers["Content-Length"]))
                    answers.append(Answer(status, headers, body))
        return answers

    def vanish(self) -> None:
        """Reset the connection, without a regular close."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
