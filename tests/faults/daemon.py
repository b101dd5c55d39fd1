"""Something between a server and the Docker daemon, which is as ill as a test wants it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

DOCKER = "/var/run/docker.sock"


class Daemon:
    """Passes all on to the real daemon, unless it is slow, hangs, or is stopped."""

    def __init__(self, address: Path) -> None:
        self.address, self.delay = f"unix://{address}", 0.0
        self.held: list[str] = []
        self._path, self._holds = str(address), ("",)
        self._goes_on, self._is_over = threading.Event(), threading.Event()
        self._goes_on.set()
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.start()

    def start(self) -> None:
        """Serve, after a stop too."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen(100)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and end those there are."""
        Path(self._path).unlink()
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hang(self, *first: str) -> None:
        """Pass nothing on any more, or nothing that begins with one of the texts."""
        self._holds = first or ("",)
        self._goes_on.clear()

    def go_on(self) -> None:
        """Pass everything on, also what was held, if its sender is gone too."""
        self._goes_on.set()
        self.held.clear()

    def close(self) -> None:
        """End it."""
        self._is_over.set()
        self.go_on()
        if Path(self._path).exists():
            self.stop()

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
                self._is_over.wait(self.delay)
                text = data[:200].decode("latin-1")
                if not self._goes_on.is_set() and text.startswith(self._holds):
                    self.held.append(text)
                    self._goes_on.wait()
                sink.sendall(data)
        self._ends.discard(source)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
