import os

import pytest

from codapi_flask.config import Box
from codapi_flask.errors import ServerFault
from codapi_flask.quota import ENTRY, Quota, measure

MIB = 1 << 20
BOX = Box(name="sh", image="sh", volume="%s:/sandbox", work_size=1)


def no_size():
    return 0


def test_an_empty_directory_takes_nothing(tmp_path):
    assert measure(tmp_path, MIB) == 0


def test_every_entry_counts_at_least_a_block(tmp_path):
    for number in range(10):
        (tmp_path / str(number)).touch()
    assert measure(tmp_path, MIB) == 10 * ENTRY


def test_files_in_directories_count(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 100_000)
    assert measure(tmp_path, MIB) > 100_000


def test_a_hole_takes_no_room(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    assert measure(tmp_path, MIB) <= ENTRY


def test_links_are_not_followed(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "large").write_bytes(b"x" * MIB)
    (inside / "file").symlink_to(tmp_path / "large")
    (inside / "loop").symlink_to(inside)
    assert measure(inside, MIB) == 2 * ENTRY


def test_a_tree_too_deep_for_a_path_is_too_much(tmp_path):
    previous = os.open(tmp_path, os.O_RDONLY)
    top = previous
    try:
        for _ in range(20):
            os.mkdir("d" * 250, dir_fd=previous)
            deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=previous)
            if previous != top:
                os.close(previous)
            previous = deeper
        assert measure(tmp_path, MIB) > MIB
    finally:
        os.close(previous)
        os.close(top)


def test_a_quota_that_was_exceeded_stays_so(tmp_path):
    quota = Quota(BOX, tmp_path, no_size)
    assert not quota.check()
    (tmp_path / "file").write_bytes(b"x" * 2 * MIB)
    assert quota.check()
    (tmp_path / "file").unlink()
    assert quota.check()
    assert quota.outcome().stderr == "disk limit exceeded (1 MiB)"


@pytest.mark.parametrize(("writable", "exceeded"), [(True, True), (False, False)])
def test_what_a_writable_box_keeps_itself_counts(tmp_path, writable, exceeded):
    box = Box(name="sh", image="sh", writable=writable, work_size=1)
    assert Quota(box, tmp_path, lambda: 2 * MIB).check() is exceeded


def test_a_daemon_that_does_not_say_ends_no_program(tmp_path):
    def fail():
        raise ServerFault("gone")

    assert not Quota(Box(name="sh", image="sh", writable=True), tmp_path, fail).check()
