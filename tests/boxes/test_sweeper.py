import shutil
from pathlib import Path

import pytest

from codapi_flask.boxes import sweeper
from codapi_flask.boxes.lease import Lease
from codapi_flask.errors import ServerFault


def sweep(*args):
    """Sweep without faults; return the number of containers removed."""
    count, faults = sweeper.sweep(*args)
    assert not faults
    return count


class FakeContainer:
    def __init__(self, daemon):
        self._daemon, self.is_stuck = daemon, False

    def remove(self):
        if self.is_stuck:
            raise ServerFault("stuck")
        self._daemon.found = [each for each in self._daemon.found if each[0] is not self]


class FakeDaemon:
    """Holds containers that belong to directories."""

    def __init__(self):
        self.found = []

    def run(self, instance, directory):
        self.found.append((FakeContainer(self), instance, directory))

    def containers(self):
        return list(self.found)

    @property
    def directories(self):
        return [directory for _, _, directory in self.found]


class FakeRootBox:
    def remove_tree(self, directory):
        shutil.rmtree(directory)


class Owner:
    """A server with an execution, as they look on disk."""

    def __init__(self, work_dir):
        self.instance = Lease.make(work_dir, "i", work_dir)
        self.execution = Lease.make_work(self.instance.path)
        self.work = self.execution.path / "work"
        (self.work / "file").touch()

    def die(self):
        self.instance.close()
        self.execution.close()


@pytest.fixture
def work_dir(tmp_path):
    path = tmp_path / "work_dir"
    path.mkdir()
    return path


@pytest.fixture
def daemon():
    return FakeDaemon()


@pytest.fixture
def owner(work_dir, daemon):
    owner = Owner(work_dir)
    daemon.run(owner.instance.path, owner.work)
    return owner


def paths(directory: Path):
    return {path.name for path in directory.rglob("*")} - {"lock"}


def test_sweep_leaves_a_living_server_alone(work_dir, daemon, owner):
    before = paths(work_dir)
    daemon.run(owner.instance.path, owner.instance.path)
    assert sweep(work_dir, daemon, FakeRootBox()) == 0
    assert (len(daemon.found), paths(work_dir)) == (2, before)


def test_sweep_removes_everything_of_a_dead_server(work_dir, daemon, owner):
    # a root box lives for a lease, or for the instance itself
    daemon.run(owner.instance.path, owner.execution.path)
    daemon.run(owner.instance.path, owner.instance.path)
    owner.die()
    assert sweep(work_dir, daemon, FakeRootBox()) == 3
    assert (daemon.found, paths(work_dir)) == ([], set())


def test_sweep_removes_a_dead_workers_execution(work_dir, daemon, owner):
    owner.execution.close()
    assert sweep(work_dir, daemon, FakeRootBox()) == 1
    assert (daemon.found, paths(work_dir)) == ([], {owner.instance.path.name})


def test_sweep_keeps_a_living_workers_execution_of_a_dead_server(work_dir, daemon, owner):
    owner.instance.close()
    assert sweep(work_dir, daemon, FakeRootBox()) == 0
    assert daemon.directories == [owner.work]
    assert owner.work.exists()


def test_sweep_removes_a_container_without_its_directory(work_dir, daemon, owner):
    shutil.rmtree(owner.execution.path)
    # the owner is alive, so the container is not counted
    assert sweep(work_dir, daemon, FakeRootBox()) == 0
    assert not daemon.found


def test_sweep_covers_other_work_directories(work_dir, daemon, tmp_path):
    (other := tmp_path / "other").mkdir()
    living, dead = Owner(other), Owner(other)
    for owner in (living, dead):
        daemon.run(owner.instance.path, owner.work)
    dead.die()
    assert sweep(work_dir, daemon, FakeRootBox()) == 1
    assert daemon.directories == [living.work]
    assert {path.name for path in other.glob("i-*")} == {living.instance.path.name}


def test_sweep_keeps_a_container_whose_work_dir_is_not_visible(work_dir, daemon, tmp_path):
    unseen = tmp_path / "another machine's" / "i-1"
    daemon.run(unseen, unseen / "x-1" / "work")
    assert sweep(work_dir, daemon, FakeRootBox()) == 0
    assert len(daemon.found) == 1


def test_sweep_with_patience_skips_a_stuck_container(work_dir, daemon, owner):
    others = [Owner(work_dir) for _ in range(2)]
    for each in others:
        daemon.run(each.instance.path, each.work)
    for each in (owner, *others):
        each.die()
    stuck, *_ = daemon.found[0]
    stuck.is_stuck = True
    assert sweeper.sweep(work_dir, daemon, FakeRootBox(), 30) == (2, ["stuck"])
    assert (daemon.directories, paths(work_dir)) == ([owner.work], set())


def test_sweep_without_patience_stops_at_a_stuck_container(work_dir, daemon, owner):
    other = Owner(work_dir)
    daemon.run(other.instance.path, other.work)
    for each in (owner, other):
        each.die()
    stuck, *_ = daemon.found[0]
    stuck.is_stuck = True
    assert sweeper.sweep(work_dir, daemon, FakeRootBox()) == (0, ["stuck"])
    assert daemon.directories == [owner.work, other.work]


def test_sweep_with_patience_skips_a_stuck_directory(work_dir, daemon, owner):
    class StuckRootBox(FakeRootBox):
        def remove_tree(self, directory):
            if directory == owner.execution.path:
                raise ServerFault("stuck")
            super().remove_tree(directory)

    other = Owner(work_dir)
    for each in (owner, other):
        each.die()
    assert sweeper.sweep(work_dir, daemon, StuckRootBox(), 30) == (1, ["stuck"])
    assert {path.name for path in work_dir.glob("i-*")} == {owner.instance.path.name}


def test_sweep_leaves_foreign_files_alone(work_dir, daemon):
    names = {"notes", "i", "x-1", "i-1", "i-photos", "i-12345678.old"}
    for name in names:
        (work_dir / name).mkdir()
    sweep(work_dir, daemon, FakeRootBox())
    assert paths(work_dir) == names
