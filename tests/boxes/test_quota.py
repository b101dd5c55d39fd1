import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from codapi_flask.boxes import quota
from codapi_flask.boxes.quota import ENTRY, Quota, TooDeep, Unsteady, measure
from codapi_flask.config.model import BoxSpec
from codapi_flask.errors import ServerFault

MIB = 1 << 20
TOO_DEEP = "directories are nested too deeply (limit: 200 levels)"
BOX = BoxSpec(name="sh", image="sh", volume="%s:/sandbox", work_size=1)


class Container:
    """A box's own file system: a directory, or none."""

    def __init__(self, layer: Path | None = None) -> None:
        self.layer = lambda: layer


def quota_of(box, directory, container=None, measure_as_root=None):
    return Quota(directory, [(box, container or Container())], measure_as_root, interval=0)


def test_measure_of_an_empty_directory_is_zero(tmp_path):
    assert measure(tmp_path, MIB) == 0


def test_measure_counts_a_block_for_every_entry(tmp_path):
    for number in range(10):
        (tmp_path / str(number)).touch()
    assert measure(tmp_path, MIB) == 10 * ENTRY


def test_measure_counts_files_in_subdirectories(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 100_000)
    assert measure(tmp_path, MIB) > 100_000


def test_measure_does_not_count_holes(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    assert measure(tmp_path, MIB) <= ENTRY


def test_measure_follows_no_links(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "large").write_bytes(b"x" * MIB)
    (inside / "file").symlink_to(tmp_path / "large")
    (inside / "loop").symlink_to(inside)
    assert measure(inside, MIB) == 2 * ENTRY


def test_measure_does_not_follow_a_link_swapped_for_a_directory(tmp_path):
    inside, large = tmp_path / "inside", tmp_path / "large"
    for directory in (inside, inside / "a", large):
        directory.mkdir()
    (large / "file").write_bytes(b"x" * MIB)
    (inside / "b").symlink_to(large)
    swap = "while :; do mv -T a c; mv -T b a; mv -T a b; mv -T c a; done"
    with subprocess.Popen(["sh", "-c", swap], cwd=inside) as swapping:
        try:
            assert max(measure(inside, MIB) for _ in range(10_000)) < MIB
        finally:
            swapping.kill()


def test_very_deep_tree_exceeds_the_limit_of_levels(tmp_path):
    (tmp_path / "/".join("d" * 199)).mkdir(parents=True)
    assert measure(tmp_path, MIB) == 199 * ENTRY
    (tmp_path / "/".join("d" * 200)).mkdir()
    quota = quota_of(BOX, tmp_path)
    assert quota.check()
    assert quota.outcome().stderr == TOO_DEEP


def measured(directory):
    try:
        return measure(directory, 2 * MIB)
    except Unsteady as error:
        return error.used


def test_measure_with_vanishing_files_counts_all_others(tmp_path):
    for number in range(16):
        (tmp_path / f"file{number}").write_bytes(b"x" * (MIB // 16))
    churn = "while :; do for i in $(seq 100); do : > $i; done; rm [0-9]*; done"
    with subprocess.Popen(["sh", "-c", churn], cwd=tmp_path) as churning:
        try:
            assert min(measured(tmp_path) for _ in range(500)) >= MIB
        finally:
            churning.kill()


def test_exceeded_quota_stays_exceeded(tmp_path):
    quota = quota_of(BOX, tmp_path)
    assert not quota.check()
    (tmp_path / "file").write_bytes(b"x" * 2 * MIB)
    assert quota.check()
    (tmp_path / "file").unlink()
    assert quota.check()
    assert quota.outcome().stderr == "disk limit exceeded (1 MiB)"


@pytest.mark.parametrize(("writable", "exceeded"), [(True, True), (False, False)])
def test_quota_counts_the_layer_of_writable_boxes_only(tmp_path, writable, exceeded):
    box = BoxSpec(name="sh", image="sh", writable=writable, work_size=1)
    work, layer = tmp_path / "work", tmp_path / "layer"
    work.mkdir()
    layer.mkdir()
    (layer / "file").write_bytes(b"x" * 2 * MIB)
    assert quota_of(box, work, Container(layer)).check() is exceeded


WRITABLE = BoxSpec(name="sh", image="sh", writable=True, work_size=1)
UNSEEN = Path("/nonexistent/of/another/host")


@pytest.mark.parametrize("is_larger", [True, False, None])
def test_quota_layer_closed_to_the_server_is_measured_as_root(tmp_path, is_larger):
    seen = []

    def measure_as_root(*args):
        seen.append(args)
        return is_larger

    container = Container(UNSEEN)
    assert quota_of(WRITABLE, tmp_path, container, measure_as_root).check() is bool(is_larger)
    assert seen == [(UNSEEN, MIB)]


def test_quota_measures_no_layer_as_root_before_the_first_interval(tmp_path):
    writers = [(WRITABLE, Container(UNSEEN))]
    assert not Quota(tmp_path, writers, lambda *_: True, interval=1000).check()


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_quota_disk_filled_by_a_deleted_file_is_exceeded(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], check=True)
    try:
        quota = quota_of(replace(BOX, work_size=64), tmp_path)
        with TemporaryFile(dir=tmp_path) as file:
            file.write(bytes(14 * MIB))
            assert not quota.check()
            file.write(bytes(2 * MIB))
            assert quota.check()
            assert quota.outcome().stderr == "the disk of the server is nearly full"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_quota_layer_is_exceeded_when_the_daemon_fails_several_times_in_a_row(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(quota, "ROOT_INTERVAL", 0)
    answers = iter(["fail", "fail", False, "fail", "fail", "fail"])

    def measure_as_root(*_):
        if (answer := next(answers)) == "fail":
            raise ServerFault("gone")
        return answer

    watched = quota_of(WRITABLE, tmp_path, Container(UNSEEN), measure_as_root)
    assert [watched.check() for _ in range(6)] == [False] * 5 + [True]


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """Return a directory with a subdirectory that this process may not read, even as root."""
    (tmp_path / "inner").mkdir()
    handle_of = os.open

    def refuse(path, *args, **options):
        if path == "inner":
            raise PermissionError
        return handle_of(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    return tmp_path


@pytest.mark.parametrize("is_larger", [True, False, None])
def test_quota_closed_directory_is_measured_as_root(closed, is_larger):
    seen = []
    quota = quota_of(BOX, closed, measure_as_root=lambda *args: seen.append(args) or is_larger)
    # None: the tree changes constantly, but free disk space stays the same
    assert quota.check() is bool(is_larger)
    assert seen == [(closed, MIB)]


def test_quota_closed_directory_that_is_too_deep_is_exceeded(closed):
    def measure_as_root(*_):
        raise TooDeep

    quota = quota_of(BOX, closed, measure_as_root=measure_as_root)
    assert quota.check()
    assert quota.outcome().stderr == TOO_DEEP


def test_quota_unmeasurable_directory_is_exceeded(closed):
    def fail(*_):
        raise ServerFault("gone")

    assert quota_of(BOX, closed, measure_as_root=fail).check()


def test_quota_missing_directory_is_exceeded(tmp_path):
    quota = quota_of(BOX, tmp_path)
    tmp_path.rmdir()
    assert quota.check()


def test_quota_dead_box_is_not_exceeded(tmp_path):
    """The file system is removed with the box; the step reports the box's death."""
    work, layer = tmp_path / "work", tmp_path / "layer"
    work.mkdir()
    layer.mkdir()
    quota = quota_of(replace(BOX, writable=True), work, Container(layer))
    layer.rmdir()
    assert not quota.check()


def test_quota_of_several_boxes_is_their_largest_limit(tmp_path):
    large = replace(BOX, work_size=2)
    quota = Quota(tmp_path, [(BOX, Container()), (large, Container())], None, interval=0)
    (tmp_path / "file").write_bytes(b"x" * (3 * MIB // 2))
    assert not quota.check()
    (tmp_path / "more").write_bytes(b"x" * MIB)
    assert quota.check()


RENAME = """
import os, sys
os.mkdir("z0")
with open("z0/file", "wb") as file:
    file.write(os.urandom(int(sys.argv[1]) << 20))
    file.flush()
    os.fsync(file)
print("ready", flush=True)
n = 0
while True:
    os.rename(f"z{n}", f"z{(n + 1) % 64}")
    n = (n + 1) % 64
"""


@pytest.mark.parametrize(("size", "is_exceeded"), [(192, True), (1, False)])
def test_quota_counts_a_constantly_renamed_directory(tmp_path, size, is_exceeded):
    """The disk's free space reveals its size even when the walk misses its name."""
    for number in range(300):
        (tmp_path / f"a{number}").mkdir()
    quota = quota_of(replace(BOX, work_size=96), tmp_path)
    argv = [sys.executable, "-c", RENAME, str(size)]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE) as renaming:
        try:
            renaming.stdout.readline()
            found = [quota.check() for _ in range(5)]
        finally:
            renaming.kill()
    assert found == [is_exceeded] * 5


def test_quota_measures_once_per_interval(tmp_path):
    quota = Quota(tmp_path, [(BOX, Container())], None, interval=1000)
    assert not quota.check()
    (tmp_path / "file").write_bytes(b"x" * 2 * MIB)
    assert not quota.check()
