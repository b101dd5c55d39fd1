import os
import subprocess

import pytest

from codapi_flask.daemon.cgroup import bound_sockets, freezer_of, is_frozen
from codapi_flask.errors import Vanished

V1 = """13:cpuset:/docker/1f2e
12:cpu,cpuacct:/docker/1f2e
3:freezer:/docker/1f2e
0::/
"""
V2 = "0::/system.slice/docker-1f2e.scope\n"


@pytest.mark.parametrize(
    ("cgroups", "path"),
    [
        (V1, "/sys/fs/cgroup/freezer/docker/1f2e/freezer.state"),
        (V2, "/sys/fs/cgroup/system.slice/docker-1f2e.scope/cgroup.freeze"),
    ],
    ids=["v1", "v2"],
)
def test_freezer_is_the_file_of_the_cgroup_version(cgroups, path):
    assert freezer_of(cgroups) == path


@pytest.mark.parametrize(
    ("content", "frozen"),
    [("THAWED\n", False), ("FREEZING\n", True), ("FROZEN\n", True), ("0\n", False), ("1\n", True)],
)
def test_frozen_box_is_recognized_in_both_versions(tmp_path, content, frozen):
    (tmp_path / "file").write_text(content)
    assert is_frozen(str(tmp_path / "file")) is frozen


def test_box_without_a_freezer_is_not_frozen(tmp_path):
    assert not is_frozen("")
    assert not is_frozen(str(tmp_path / "gone"))


def test_sockets_of_an_ended_process_need_no_limit():
    with subprocess.Popen("true") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(Vanished):
            # a zombie
            bound_sockets(process.pid, 64)
    for pid in (process.pid, 0):
        with pytest.raises(Vanished):
            bound_sockets(pid, 64)
