"""Reading what programs left in a work directory, whatever that is."""

from __future__ import annotations

import base64
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from codapi_flask.boxes import outputs, trees
from codapi_flask.boxes.outputs import media_type, stamps
from codapi_flask.config.model import Step
from codapi_flask.models import LeftOut
from tests.boxes.test_trees import make_chains
from tests.support.instance import acting_as
from tests.support.server import PATIENCE, wait_for

CANARY = b"canary"
LINK, HARD, ODD = "a link", "a hard link", "not a regular file"
LARGE = "too large (limit: 1024 KiB in all)"


@pytest.fixture
def tree(tmp_path):
    """Return a directory beside a canary that must not change; no descriptor may be left."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret.png").write_bytes(CANARY)
    directory = tmp_path / "tree"
    directory.mkdir()
    before, descriptors = look(canary), set(os.listdir("/proc/self/fd"))
    yield directory
    assert look(canary) == before
    # those of an earlier test may be closed meanwhile
    assert set(os.listdir("/proc/self/fd")) <= descriptors
    # pytest cannot remove deep ones
    trees.remove(directory)


def look(directory):
    found = [directory, *directory.iterdir()]
    return {path: (path.stat().st_ctime_ns, path.stat().st_nlink) for path in found}


def read(tree, *patterns, before=(), **limits):
    """Return the contents of the files, and name and reason of each that is left out."""
    step = Step(box="sh", outputs=patterns or ("**",), **limits)
    files, left_out = outputs.read(tree, [step], dict(before))
    assert all(url.startswith(f"data:{media_type(name)};base64,") for name, url in files.items())
    contents = {name: base64.b64decode(url.partition(",")[2]) for name, url in files.items()}
    return contents, [(each.name, each.reason) for each in left_out]


def fill(tree, *names):
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)


TREE = ["a", "a.png", "b.PNG", ".h.png", "out/a.png", "out/d/e/a.png", "out/.d/a.png", "x[1].png"]


@pytest.mark.parametrize(
    ("patterns", "found", "directories"),
    [
        (["a.png"], "a.png", ""),
        (["*.png"], "a.png x[1].png", ""),
        (["*.PNG", "a"], "a b.PNG", ""),
        (["*"], "a a.png b.PNG x[1].png", "out"),
        (["?.png"], "a.png", ""),
        (["[xb]*"], "b.PNG x[1].png", ""),
        (["x[[]1].png"], "x[1].png", ""),
        ([".*"], ".h.png", ""),
        (["out/*"], "out/a.png", "out/d"),
        (["out/**"], "out/a.png out/d/e/a.png", ""),
        (["out/**/a.png"], "out/a.png out/d/e/a.png", ""),
        (["out/.d/*"], "out/.d/a.png", ""),
        (["out/**/.d/**"], "out/.d/a.png", ""),
        (["*/*/*/*"], "out/d/e/a.png", ""),
        (["**/e/*"], "out/d/e/a.png", ""),
        (["**/*.png"], "a.png out/a.png out/d/e/a.png x[1].png", ""),
        (["**/**/a.png"], "a.png out/a.png out/d/e/a.png", ""),
        (["**"], "a a.png b.PNG out/a.png out/d/e/a.png x[1].png", ""),
        (["out"], "", "out"),
        (["out", "out/*.png"], "out/a.png", ""),
        (["a/**", "o*/a", "b.png", "*.png/x"], "", ""),
    ],
)
def test_pattern_matches(tree, patterns, found, directories):
    fill(tree, *TREE)
    contents, left_out = read(tree, *patterns)
    assert contents == {name: name.encode() for name in found.split()}
    assert left_out == [(name, ODD) for name in directories.split()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plot.png", "image/png"),
        ("a/b.SVG", "image/svg+xml"),
        ("data.csv", "text/csv"),
        ("a.json", "application/json"),
        ("a.webp", "image/webp"),
        ("a.tar.gz", "application/octet-stream"),
        ("a.svgz", "application/octet-stream"),
        ("png", "application/octet-stream"),
        (".png", "application/octet-stream"),
        ("a.x y;z", "application/octet-stream"),
        ("data:text/html;x,y", "application/octet-stream"),
        ("http://a/b.png", "image/png"),
    ],
)
def test_media_type_follows_from_the_ending(name, expected):
    assert media_type(name) == expected


def test_files_come_by_name_of_whatever_step_allows_them(tree):
    fill(tree, "b", "a-b", "a/b", "c")
    steps = [Step(box="sh", outputs=(name,)) for name in ("b", "a/*", "a-*")]
    files, _ = outputs.read(tree, [*steps, Step(box="sh")], {})
    assert list(files) == ["a-b", "a/b", "b"]
    assert outputs.read(tree, [Step(box="sh")], {}) == ({}, [])


def test_largest_limits_of_the_steps_apply(tree):
    for name in "abc":
        (tree / name).write_bytes(bytes(1000))
    steps = [
        Step(box="sh", outputs=("*",), outputs_count=1, outputs_size=3),
        Step(box="sh", outputs=("x",), outputs_count=2, outputs_size=1),
        Step(box="sh", outputs_count=9, outputs_size=9),
    ]
    files, left_out = outputs.read(tree, steps, {})
    assert list(files) == ["a", "b"]
    assert left_out == [LeftOut("c", "too many files (limit: 2)")]


def test_files_beyond_the_limits_are_left_out(tree):
    for name, size in {"a": 1000, "b": 25, "c": 24, "d": 1, "e": 0, "f": 0}.items():
        (tree / name).write_bytes(bytes(size))
    contents, left_out = read(tree, outputs_size=1, outputs_count=3)
    assert {name: len(content) for name, content in contents.items()} == {
        "a": 1000,
        "c": 24,
        "e": 0,
    }
    too_large, too_many = "too large (limit: 1 KiB in all)", "too many files (limit: 3)"
    assert left_out == [("b", too_large), ("d", too_large), ("f", too_many)]


def test_file_as_before_is_no_output(tree):
    fill(tree, "same", "d/same", "changed", "moved", "replaced", "linked", "touched")
    before = stamps(tree)
    assert set(before) == {
        path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()
    }
    (tree / "changed").write_text("changed")
    (tree / "moved").rename(tree / "new")
    (tree / "replaced").unlink()
    (tree / "replaced").write_text("replaced")
    (tree / "replaced").chmod(0o600)
    os.link(tree / "linked", tree / "another")
    os.utime(tree / "touched")
    contents, left_out = read(tree, before=before.items())
    assert set(contents) == {"changed", "new", "replaced", "touched"}
    assert left_out == [("another", HARD), ("linked", HARD)]
    assert read(tree, before=stamps(tree).items()) == ({}, [])


def test_links_are_left_out(tree):
    canary = tree.parent / "canary"
    fill(tree, "good.png")
    for name, target in {
        "file.png": canary / "secret.png",
        "dir": canary,
        "up": "..",
        "root": "/",
        "own.png": "good.png",
        "chain.png": "own.png",
        "loop": "loop",
        "self": ".",
        "broken.png": "nowhere",
        "proc": "/proc/self/root",
    }.items():
        (tree / name).symlink_to(target)
    (tree / "d").mkdir()
    (tree / "d" / "out").symlink_to(canary)
    contents, left_out = read(tree, "**/*.png", "d/out/*")
    assert contents == {"good.png": b"good.png"}
    names = "broken.png chain.png d/out dir file.png loop own.png proc root self up"
    assert left_out == [(name, LINK) for name in names.split()]
    # what does not match is not told
    assert read(tree, "good.*") == ({"good.png": b"good.png"}, [])


def test_odd_files_are_left_out_without_waiting(tree):
    os.mkfifo(tree / "fifo")
    (tree / "directory").mkdir()
    (tree.parent / "other").touch()
    os.link(tree.parent / "other", tree / "hard")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tree / "socket"))
        odd = {"directory": ODD, "fifo": ODD, "hard": HARD, "socket": ODD}
        if not os.geteuid():
            # /dev/zero, and the device of overlayfs' deleted files
            os.mknod(tree / "endless", stat.S_IFCHR | 0o666, os.makedev(1, 5))
            os.mknod(tree / "gone", stat.S_IFCHR | 0o666, os.makedev(0, 0))
            odd |= {"endless": ODD, "gone": ODD}
        assert read(tree, "*") == ({}, sorted(odd.items()))


def test_sparse_giant_is_left_out(tree):
    for name, size in {"giant": 1 << 40, "hole": 1000}.items():
        with open(tree / name, "wb") as file:
            file.truncate(size)
    start = time.monotonic()
    assert read(tree) == ({"hole": bytes(1000)}, [("giant", LARGE)])
    assert time.monotonic() - start < 1 * PATIENCE


def test_names_of_any_kind(tree):
    good = [
        "a b",
        "-rf",
        "line\nfeed",
        "tab\t\x1b[2J",
        "😀",
        "e\u0301",
        "'\"\\",
        "x" * 255,
        "a;b,c",
    ]
    fill(tree, *good)
    for name in (b"\xff.png", b"\xed\xa0\x80", b"bad\xffdir/file"):
        path = os.path.join(os.fsencode(tree), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    contents, left_out = read(tree, outputs_count=100)
    assert list(contents) == sorted(good)
    bad = ["bad\ufffddir/file", "\ufffd\ufffd\ufffd", "\ufffd.png"]
    assert left_out == [(name, "its name is not UTF-8") for name in bad]


def test_long_path_is_left_out_and_cut(tree):
    place = os.open(tree, os.O_RDONLY)
    for _ in range(5):
        os.mkdir("d" * 255, dir_fd=place)
        inner = os.open("d" * 255, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("f", os.O_CREAT, dir_fd=place))
    os.close(place)
    [(name, reason)] = read(tree)[1]
    assert reason == "its name has more than 1024 bytes"
    assert name == (("d" * 255 + "/") * 5)[:1024] + "…"


def test_unreadable_file_is_left_out():
    with TemporaryDirectory(dir="/var/tmp") as path:
        tree = Path(path)
        tree.chmod(0o755)
        fill(tree, "bad", "closed/inner", "good")
        for name in ("bad", "closed"):
            (tree / name).chmod(0)
        denied = "unreadable: permission denied"
        with acting_as(0 if os.geteuid() else 2000):
            found = read(tree)
        (tree / "closed").chmod(0o700)
    assert found == ({"good": b"good"}, [("bad", denied), ("closed", denied)])


def test_work_directory_that_is_closed_or_gone_is_told(tree):
    assert read(tree / "gone") == ({}, [(".", "unreadable: no such file or directory")])
    (tree / "link").symlink_to(tree.parent / "canary")
    assert read(tree / "link") == ({}, [(".", "unreadable: not a directory")])


@pytest.fixture
def few_entries(monkeypatch):
    """Let a thousand names be too many."""
    monkeypatch.setattr(outputs, "MAX_ENTRIES", 1000)


def test_many_files_are_bounded(tree, few_entries):
    for number in range(1001):
        (tree / f"{number:05}").touch()
    start = time.monotonic()
    contents, left_out = read(tree)
    assert time.monotonic() - start < 1 * PATIENCE
    assert len(contents) == 16
    assert {reason for _, reason in left_out[:100]} == {"too many files (limit: 16)"}
    assert left_out[100:] == [
        (".", "the rest is not looked at: more than 1000 names"),
        (".", "884 more are left out"),
    ]
    # few match, but all are names
    assert read(tree, "x*") == ({}, [(".", "the rest is not looked at: more than 1000 names")])


def test_many_directories_are_bounded(tree, few_entries):
    for number in range(501):
        (tree / f"{number:05}" / "d").mkdir(parents=True)
    fill(tree, "00000/d/found", "00500/d/hidden")
    contents, left_out = read(tree)
    assert set(contents) == {"00000/d/found"}
    assert left_out == [(".", "the rest is not looked at: more than 1000 names")]
    # only where a pattern leads is looked at
    assert set(read(tree, "00500/d/*")[0]) == {"00500/d/hidden"}


def test_deep_tree_is_bounded(tree):
    make_chains(tree, chains=2)
    contents, left_out = read(tree)
    assert contents == {}
    assert {reason for _, reason in left_out} == {"more than 200 levels of directories"}


def test_endless_tree_takes_a_bounded_time(tree, monkeypatch):
    monkeypatch.setattr(outputs, "MAX_TIME", 0)
    fill(tree, "a")
    assert read(tree) == ({}, [(".", "the rest is not looked at: it took more than 0 s")])


ELOOP, ENXIO, ENOTDIR = (
    f"unreadable: {os.strerror(number).lower()}"
    for number in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR)
)


@pytest.fixture
def _in_time():
    """Fail instead of waiting forever."""

    def fail(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 5 * PATIENCE)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def bind(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.usefixtures("_in_time")
@pytest.mark.parametrize(
    ("name", "replace", "reason"),
    [
        ("file", os.mkfifo, ODD),
        ("file", os.mkdir, "unreadable: is a directory"),
        ("file", bind, ENXIO),
        ("file", lambda path: path.symlink_to("../canary/secret.png"), ELOOP),
        ("file", lambda path: path.hardlink_to(path.with_name("good")), HARD),
        ("file", lambda path: path.write_bytes(bytes(1 << 21)), LARGE),
        ("file", lambda path: None, "unreadable: no such file or directory"),
        ("d", lambda path: path.symlink_to("../canary"), ENOTDIR),
        ("d", os.mkfifo, ENOTDIR),
        ("d", lambda path: None, "unreadable: no such file or directory"),
    ],
)
def test_name_that_is_replaced_after_a_look_at_it(tree, monkeypatch, name, replace, reason):
    fill(tree, "d/secret.png", "file", "good")
    look_at = os.stat

    def stat_once(path, *args, **kwargs):
        info = look_at(path, *args, **kwargs)
        if path == name and (tree / name).exists():
            monkeypatch.undo()
            (tree / name).rename(tree.parent / "old")
            replace(tree / name)
        return info

    monkeypatch.setattr(os, "stat", stat_once)
    contents, left_out = read(tree, "d/*", "file", "goo?")
    assert CANARY not in contents.values()
    assert (name, reason) in left_out


def test_file_with_more_content_than_its_size_is_left_out():
    process = Path(f"/proc/{os.getpid()}")
    assert (process / "smaps").stat().st_size == 0
    left_out = [("smaps", "too large (limit: 1 KiB in all)")]
    assert read(process, "smaps", outputs_size=1) == ({}, left_out)
    assert set(read(process, "comm")[0]) == {"comm"}


SWAP = """
import os
while True:
    os.rename("out", "other")
    os.rename("link", "out")
    os.rename("out", "link")
    os.rename("other", "out")
    os.rename("file.png", "other")
    for name in ("hole.png", "pipe.png"):
        os.rename(name, "file.png")
        os.rename("file.png", name)
    os.rename("other", "file.png")
"""


def test_names_that_are_swapped_while_they_are_read_are_not_followed(tree):
    fill(tree, "out/secret.png", "file.png")
    (tree / "link").symlink_to(tree.parent / "canary")
    (tree / "hole.png").symlink_to(tree.parent / "canary" / "secret.png")
    os.mkfifo(tree / "pipe.png")
    reasons: set[str] = set()
    seen: set[bytes] = set()

    def look_often():
        contents, left_out = read(tree, "out/*", "*.png")
        seen.update(contents.values())
        reasons.update(reason for _, reason in left_out)
        assert CANARY not in seen
        return len(seen) == 2 and {LINK, "unreadable: too many levels of symbolic links"} <= reasons

    with subprocess.Popen([sys.executable, "-c", SWAP], cwd=tree) as program:
        try:
            wait_for(look_often, 30)
        finally:
            program.kill()


GROW = """
import os
file = os.open("file", os.O_WRONLY | os.O_APPEND)
while True:
    for _ in range(64):
        os.write(file, bytes(1 << 16))
    os.truncate("file", 1)
"""


def test_growing_file_is_cut_off_at_the_limit(tree: Path):
    fill(tree, "file")
    found = set()

    def look_often():
        contents, left_out = read(tree)
        assert len(contents.get("file", b"")) <= 1 << 20
        found.add(tuple(contents) or tuple(left_out))
        return found == {("file",), (("file", LARGE),)}

    with subprocess.Popen([sys.executable, "-c", GROW], cwd=tree) as program:
        try:
            wait_for(look_often, 30)
        finally:
            program.kill()
