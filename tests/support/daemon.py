"""A proxy between a server and the Docker daemon that injects faults."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

DOCKER = "/var/run/docker.sock"


@dataclass
class Hang:
    """Messages with a given beginning, held for a while; `held` are those received."""

    beginning: str
    held: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def hold(self, text: str) -> None:
        if re.match(self.beginning, text):
            self.held.append(text)
            self.is_over.wait()


class Daemon:
    """Forwards everything to the real daemon, unless it is slow, hangs, or is stopped.

    It writes `renamed` words of messages as other ones, of the same length.
    """

    def __init__(self, path: Path, renamed: Mapping[bytes, bytes] | None = None) -> None:
        self.address = f"unix://{path}"
        self._path, self._delay = path, 0.0
        self._renamed = renamed or {}
        self._hang: Hang | None = None
        self._ends: set[socket.socket] = set()
        self._start()

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Delay every message by some seconds."""
        self._delay = seconds
        yield
        self._delay = 0

    @contextmanager
    def hanging(self, beginning: str = "") -> Iterator[list[str]]:
        """Hold messages whose beginning matches a pattern; yield the list of them.

        They are forwarded afterwards, even if their sender is gone.
        """
        self._hang = hang = Hang(beginning)
        try:
            yield hang.held
        finally:
            self._hang = None
            hang.is_over.set()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Refuse new connections, and end the existing ones."""
        self.close()
        try:
            yield
        finally:
            self._start()

    def close(self) -> None:
        """Stop serving."""
        self._path.unlink()
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(100)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError), listener:
            while True:
                client, _ = listener.accept()
                daemon = socket.socket(socket.AF_UNIX)
                daemon.connect(DOCKER)
                for ends in ((client, daemon), (daemon, client)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        self._ends.add(source)
        with suppress(OSError), source:
            while data := source.recv(1 << 16):
                time.sleep(self._delay)
                for word, other in self._renamed.items():
                    data = data.replace(word, other)
                if hang := self._hang:
                    hang.hold(data[:200].decode("latin-1"))
                sink.sendall(data)
        self._ends.discard(source)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
