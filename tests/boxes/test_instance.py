import errno
import os
import stat
from pathlib import Path

import pytest

from codapi_flask.boxes import instance
from codapi_flask.boxes.lease import Lease
from codapi_flask.errors import ConfigError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# the work directory


def test_work_dir_is_created_private(tmp_path):
    path = instance.work_dir(str(tmp_path / "a" / "b"))
    assert path == tmp_path / "a" / "b"
    assert mode(path) == 0o700


def test_open_work_dir_becomes_private(tmp_path):
    tmp_path.chmod(0o777)
    assert mode(instance.work_dir(str(tmp_path))) == 0o700


def test_open_work_dir_with_foreign_files_is_refused(tmp_path):
    (tmp_path / "file").touch()
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="is open to others and holds their files"):
        instance.work_dir(str(tmp_path))
    assert mode(tmp_path) == 0o1777


def test_work_dir_on_a_new_file_system_becomes_private(tmp_path):
    (tmp_path / "lost+found").mkdir()
    tmp_path.chmod(0o755)
    assert mode(instance.work_dir(str(tmp_path))) == 0o700


def test_work_dir_with_own_leases_becomes_private_again(tmp_path):
    Lease.make(tmp_path, "i", tmp_path).close()
    tmp_path.chmod(0o755)
    assert mode(instance.work_dir(str(tmp_path))) == 0o700


def test_check_leaves_only_the_lock(tmp_path):
    instance.check(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_check_of_an_unwritable_work_dir_raises(tmp_path, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(ConfigError, match=f"work_dir: {tmp_path}: No space left on device"):
        instance.check(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_work_dir_resolves_symlinks(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert instance.work_dir(f"{tmp_path}/link/work") == tmp_path / "real" / "work"


def test_default_work_dir_is_per_user_in_var_tmp():
    assert instance.work_dir("") == Path(f"/var/tmp/codapi-{os.getuid()}")


def a_file(path):
    path.touch()


def a_link(path):
    path.symlink_to("/")


def of_another_user(path):
    path.mkdir()
    os.chown(path, 12345, 12345)


def below_a_file(path):
    path.parent.rmdir()
    path.parent.touch()


@pytest.mark.parametrize("make", [a_file, a_link, below_a_file, of_another_user])
def test_work_dir_that_is_no_own_directory_is_refused(tmp_path, make):
    if make is of_another_user and os.getuid():
        pytest.skip("only root can give a directory away")
    path = tmp_path / "parent" / "work"
    path.parent.mkdir()
    make(path)
    with pytest.raises(ConfigError, match=f"work_dir: {path}"):
        instance.work_dir(str(path))
