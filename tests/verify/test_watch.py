import os
from pathlib import Path

import pytest

from codapi_flask.verify.pages.read import find, read
from codapi_flask.verify.run import Runner
from codapi_flask.verify.snippet import PageError
from codapi_flask.verify.watch import Watcher
from tests.support.target import EchoTarget


def save(path, text):
    """Write a file whose modification time is another than before."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 1, before + 1))


@pytest.fixture
def watcher(tmp_path):
    for name in ("a.md", "b.md"):
        save(tmp_path / name, f"```sh codapi template={name}.txt\nx\n```\n")
        save(tmp_path / f"{name}.txt", "##CODE##")
    watcher = Watcher([tmp_path])
    pages = [read(path) for path in find([tmp_path])]
    watcher.learn(Runner(EchoTarget(), tmp_path).run(pages))
    return watcher


def test_nothing_saved_is_nothing_to_do(watcher):
    assert watcher.saved() == []


@pytest.mark.parametrize("name", ["a.md", "a.md.txt"])
def test_page_is_due_once_it_or_a_file_of_it_is_saved(tmp_path, watcher, name):
    save(tmp_path / name, "new")
    assert watcher.saved() == [tmp_path / "a.md"]
    assert watcher.saved() == []


def test_new_page_is_due(tmp_path, watcher):
    save(tmp_path / "c.md", "new")
    assert watcher.saved() == [tmp_path / "c.md"]


def test_removed_page_is_not_due(tmp_path, watcher):
    (tmp_path / "a.md").unlink()
    assert watcher.saved() == []


def test_pages_are_found_below_directories(tmp_path):
    for name in (
        "b.md",
        "a/c.rst",
        "a/d.txt",
        ".git/e.md",
        "node_modules/f.md",
        "g.ipynb",
        "h.HTML",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find([tmp_path, tmp_path / "b.md"])
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "a/c.rst",
        "b.md",
        "g.ipynb",
        "h.HTML",
    ]


@pytest.mark.parametrize(("name", "text"), [("no.md", "no such file"), ("a.txt", "not a page")])
def test_path_that_is_no_page_is_refused(tmp_path, name, text):
    (tmp_path / "a.txt").touch()
    with pytest.raises(PageError, match=text):
        find([tmp_path / name])


def test_page_that_is_not_utf8_has_a_problem(tmp_path):
    (tmp_path / "a.md").write_bytes(b"codapi \xff")
    [snippet] = read(tmp_path / "a.md").snippets
    assert snippet.problem == "not UTF-8"


def test_page_without_snippets_is_not_parsed(tmp_path):
    (tmp_path / "a.md").write_bytes(b"\xff")
    assert read(tmp_path / "a.md").snippets == ()


def test_path_of_a_page_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.md").touch()
    assert find([Path()]) == [Path("a.md")]
