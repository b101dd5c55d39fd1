"""Deleting trees that programs made."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from codapi_flask.boxes import trees


@pytest.fixture
def tree(tmp_path):
    """Return a directory beside a canary, which links in it point to."""
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary" / "bird").touch()
    directory = tmp_path / "tree"
    directory.mkdir()
    yield directory
    assert (tmp_path / "canary" / "bird").exists()


def make_chains(directory, chains=8, length=185):
    """Make chains of directories and join them: a tree deeper than any path or recursion."""
    ends = []
    for number in range(chains):
        (directory / f"c{number}").mkdir()
        end = os.open(directory / f"c{number}", os.O_RDONLY)
        for _ in range(length):
            os.mkdir("d", dir_fd=end)
            inner = os.open("d", os.O_RDONLY, dir_fd=end)
            os.close(end)
            end = inner
        ends.append(end)
    for number in range(chains - 1, 0, -1):
        os.rename(directory / f"c{number}", "x", dst_dir_fd=ends[number - 1])
    for end in ends:
        os.close(end)


def test_remove_deletes_a_tree_deeper_than_the_recursion_limit(tree):
    make_chains(tree)
    assert sys.getrecursionlimit() < 8 * 185
    trees.remove(tree)
    assert not tree.exists()


def test_empty_deletes_every_kind_of_file_and_follows_no_link(tree):
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").touch()
    (tree / "a" / "b" / "link").symlink_to(tree.parent / "canary")
    (tree / "link").symlink_to(tree.parent / "canary")
    os.mkfifo(tree / "fifo")
    (tree / "wide").mkdir()
    for number in range(300):
        (tree / "wide" / str(number) / "x").mkdir(parents=True)
    trees.empty(tree)
    assert os.listdir(tree) == []


def test_remove_missing_directory_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        trees.remove(tmp_path / "missing")


def test_empty_link_raises(tree):
    (tree.parent / "link").symlink_to(tree.parent / "canary")
    with pytest.raises(OSError, match="Not a directory"):
        trees.empty(tree.parent / "link")


def test_empty_in_two_threads_deletes_everything(tree):
    """A sweeper and a worker may remove the same lease."""
    for _ in range(20):
        for number in range(60):
            (tree / str(number) / "a" / "b").mkdir(parents=True)
            (tree / str(number) / "file").touch()
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(trees.empty, [tree, tree]))
        assert os.listdir(tree) == []


def test_remove_leaks_no_descriptors(tree):
    make_chains(tree, chains=2, length=100)
    before = len(os.listdir("/proc/self/fd"))
    trees.remove(tree)
    assert len(os.listdir("/proc/self/fd")) == before
