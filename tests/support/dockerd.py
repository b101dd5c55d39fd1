"""A second Docker daemon for a test, beside the host's."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import wait_for


@contextmanager
def started(*options: str, images: tuple[str, ...]) -> Iterator[str]:
    """Start a daemon without networks, give it images of the host's, and yield its address."""
    # not below /tmp: the path of containerd's socket must be short, and its disk real
    directory = Path(tempfile.mkdtemp(prefix="codapi-test-", dir="/var/tmp"))
    # the daemon's users must reach its files
    directory.chmod(0o711)
    address = f"unix://{directory}/socket"
    own = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    paths = [f"--{option}={directory / name}" for option, name in own.items()]
    networks = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    # in a network namespace of its own: without a bridge, a daemon removes the host's docker0
    command = ["unshare", "--net", "dockerd", f"--host={address}", *paths, *networks, *options]
    log = directory / "log"
    with log.open("w") as output, subprocess.Popen(command, stderr=output) as daemon:
        try:
            client = ["docker", f"--host={address}"]
            wait_for(lambda: _answers([*client, "version"], daemon), 60)
            with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
                subprocess.check_output([*client, "load"], stdin=saved.stdout, timeout=120)
            yield address
        finally:
            daemon.terminate()
            daemon.wait(60)
            print(log.read_text())
            shutil.rmtree(directory)


def _answers(command: list[str], daemon: subprocess.Popen[bytes]) -> bool:
    assert daemon.poll() is None
    return subprocess.run(command, capture_output=True).returncode == 0
