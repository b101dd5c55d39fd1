"""A disk for the work directory that is full, or read-only, for a while."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.faults import load, restored, write_config
from tests.support.server import Server, wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can mount"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server whose work directory is a small disk."""
    disk = Path(tempfile.mkdtemp(prefix="codapi-test-", dir="/var/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
    try:
        with Server(write_config(tmp_path_factory.mktemp("root")), work_dir=disk) as server:
            yield server
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


@contextmanager
def full(disk: Path) -> Iterator[None]:
    file = disk / "full"
    subprocess.run(["dd", "if=/dev/zero", f"of={file}"], capture_output=True)
    yield
    file.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    def remount(how: str) -> bool:
        # the mount only: running inits, whose files are deleted, keep the disk itself busy
        command = ["mount", "-o", f"remount,bind,{how}", disk]
        return subprocess.run(command, capture_output=True).returncode == 0

    # refused while a file is open for writing
    wait_for(lambda: remount("ro"))
    yield
    assert remount("rw")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("illness", "reason"), [(full, "No space left"), (read_only, "Read-only file system")]
)
def test_unwritable_disk_fails_jobs_and_readiness_reports_why(
    server: Server, illness: Callable, reason: str
):
    def is_ready() -> bool:
        answer = server.request("GET", "/v1/health?ready=1")
        assert answer.status == 200 or reason in answer.json()["status"]
        return answer.status == 200

    with restored(server):
        with illness(server.work_dir), load(server) as seen:
            wait_for(lambda: not is_ready(), 60)
            wait_for(seen.gave("fault"), 60)
            assert server.request("GET", "/v1/health").status == 200
        wait_for(is_ready, 60)
    assert seen.verdicts() == {"fault"}
