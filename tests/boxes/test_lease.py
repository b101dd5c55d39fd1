import multiprocessing
import os
import stat

import pytest

from codapi_flask.boxes.lease import Lease, is_abandoned
from tests.support.server import wait_for


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_lease_directory_is_private(tmp_path):
    lease = Lease.make(tmp_path, "i", tmp_path)
    assert (lease.path.parent, lease.path.name[:2]) == (tmp_path, "i-")
    assert mode(lease.path) == 0o700
    lease.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_work_directory_is_open_to_any_user_under_any_umask(tmp_path, umask):
    old = os.umask(umask)
    try:
        lease = Lease.make_work(Lease.make(tmp_path, "i", tmp_path).path)
    finally:
        os.umask(old)
    assert (mode(lease.path), mode(lease.path / "work")) == (0o700, 0o777)
    lease.close()


def test_drop_removes_only_an_empty_lease(tmp_path):
    first, second = (Lease.make_work(tmp_path) for _ in range(2))
    (second.path / "work" / "file").touch()
    first.drop()
    second.drop()
    assert not first.path.exists()
    assert second.path.exists()
    assert is_abandoned(second.path, tmp_path)


def test_closed_lease_is_abandoned(tmp_path):
    lease = Lease.make(tmp_path, "x", tmp_path)
    assert not is_abandoned(lease.path, tmp_path)
    lease.close()
    assert is_abandoned(lease.path, tmp_path)


def _hold(work_dir, pipe):
    lease = Lease.make(work_dir, "x", work_dir)
    pipe.send(lease.path)
    pipe.recv()


def test_lease_of_a_killed_owner_is_abandoned(tmp_path):
    context = multiprocessing.get_context("spawn")
    own, peer = context.Pipe()
    owner = context.Process(target=_hold, args=(tmp_path, peer))
    owner.start()
    path = own.recv()
    assert not is_abandoned(path, tmp_path)
    owner.kill()
    wait_for(lambda: is_abandoned(path, tmp_path))
    owner.join()


def test_lease_lives_until_the_last_copy_of_its_lock_closes(tmp_path):
    lease = Lease.make(tmp_path, "x", tmp_path)
    copy = os.dup(lease.lock)
    lease.close()
    assert not is_abandoned(lease.path, tmp_path)
    os.close(copy)
    assert is_abandoned(lease.path, tmp_path)


def test_path_that_is_no_lease_is_not_abandoned(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for name in ("nothing", "link", "file"):
        assert not is_abandoned(tmp_path / name, tmp_path)
    assert not is_abandoned(tmp_path, tmp_path / "no work directory")
