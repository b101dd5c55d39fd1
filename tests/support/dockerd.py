"""A second Docker daemon for tests, beside the host's."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.support.server import wait_for


class Dockerd:
    """A daemon without networks, with directories and a socket of its own; `start` must follow."""

    def __init__(self, *options: str) -> None:
        # not below /tmp: the path of containerd's socket must be short, and its disk real
        self._directory = directory = Path(tempfile.mkdtemp(prefix="codapi-test-", dir="/var/tmp"))
        # the daemon's users must reach its files
        directory.chmod(0o711)
        self.address = f"unix://{directory}/socket"
        own = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        self._command = [
            # in a network namespace of its own: without a bridge, a daemon removes the host's
            *("unshare", "--net", "dockerd", f"--host={self.address}"),
            *(f"--{option}={directory / name}" for option, name in own.items()),
            *("--bridge=none", "--iptables=false", "--ip6tables=false", *options),
        ]

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        with (self._directory / "log").open("w") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_for(self._answers, 60)

    def load(self, *images: str) -> None:
        """Give the daemon images of the host's."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            subprocess.check_output(self.docker("load"), stdin=saved.stdout, timeout=120)

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send the daemon a signal."""
        self._process.send_signal(number)

    def crash(self) -> None:
        """End the daemon without giving it a chance to clean up."""
        self.kill(signal.SIGKILL)
        self._process.wait()
        # its containerd dies with it; where nobody reaps that, its pid seems alive
        (self._directory / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End the daemon, whatever state it is in."""
        self.kill(signal.SIGCONT)
        self.kill()
        self._process.wait(60)

    def remove(self) -> None:
        """End the daemon if it runs, print its log, and remove its directories."""
        if self._process.poll() is None:
            self.stop()
        print((self._directory / "log").read_text())
        # the daemon mounts it on itself, and leaves that at a crash
        umount = ["umount", self._directory / "data"]
        while not subprocess.run(umount, capture_output=True).returncode:
            pass
        shutil.rmtree(self._directory)

    def docker(self, *arguments: str) -> list[str]:
        """Return the command line of a client."""
        return ["docker", "--host", self.address, *arguments]

    def boxes(self) -> list[str]:
        """Return all containers, in whatever state."""
        return subprocess.check_output(self.docker("ps", "-aq"), text=True, timeout=20).split()

    def _answers(self) -> bool:
        assert self._process.poll() is None
        return subprocess.run(self.docker("version"), capture_output=True).returncode == 0
