"""What the host is: daemons, disks and limits that are not as they should be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from codapi_flask.doctor import host
from codapi_flask.errors import ConfigError

pytestmark = pytest.mark.docker

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")


@pytest.fixture
def disk(tmp_path):
    """Return a function that puts the work directory on a file system, by mount's options."""
    mounted = []

    def mount(options: str) -> None:
        path = tmp_path / "work-dir"
        path.mkdir(mode=0o700)
        command = ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", path]
        subprocess.run(command, check=True)
        mounted.append(path)

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.parametrize(
    "check",
    [host.libraries, host.daemon, host.cgroup, host.work_directory, host.disk],
    ids=lambda check: check.__name__,
)
def test_host_of_the_tests_is_fine(subject, check):
    found = list(check(subject()))
    assert found
    assert {finding.verdict for finding in found} == {"fine"}


def test_address_that_is_none_is_broken(subject, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "carrier://pigeon")
    [finding] = host.daemon(subject())
    assert finding.verdict == "broken"
    assert "DOCKER_HOST=carrier://pigeon" in finding.text


def test_work_directory_that_boxes_do_not_see_is_broken(subject):
    [finding] = host.work_directory(subject(renamed={b"/work-dir/": b"/elsewhere/"[:9] + b"/"}))
    assert finding.verdict == "broken"
    assert "does not see the work directory" in finding.text


def test_work_directory_of_another_user_is_broken(subject, tmp_path):
    (tmp_path / "work-dir").touch()
    [finding] = host.work_directory(subject())
    assert (finding.verdict, "is not a directory" in finding.text) == ("broken", True)


@only_root
@pytest.mark.parametrize(
    ("options", "verdict", "text"),
    [
        ("size=32m", "broken", "has 0.0 GiB left"),
        ("size=512m", "weak", "has 0.5 GiB left"),
        ("size=2g,nr_inodes=2k", "weak", "inodes left"),
    ],
)
def test_small_disk_is_found(subject, disk, options, verdict, text):
    disk(options)
    found = next(host.disk(subject()))
    assert (found.verdict, text in found.text, bool(found.remedy)) == (verdict, True, True)


@only_root
def test_read_only_work_directory_is_broken(subject, disk):
    disk("ro")
    with pytest.raises((ConfigError, OSError), match="Read-only file system"):
        list(host.work_directory(subject()))


@pytest.mark.parametrize(("hard", "verdict"), [(1024, "weak"), (16384, "fine")])
def test_limit_on_descriptors_is_told(hard, verdict):
    # in a process of its own: it could not raise the limit afterwards
    code = "from codapi_flask.doctor.host import descriptors as d; print(*d(None))"
    line = f'ulimit -n {hard}; exec "$0" -c "$1"'
    printed = subprocess.check_output(["sh", "-c", line, sys.executable, code], text=True)
    assert f"verdict='{verdict}', text='the server can have {hard}" in printed
