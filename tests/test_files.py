import base64
import errno
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask import files
from codapi_flask.errors import FileError, ServerFault


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("data:,", b""),
        ("data:,hello", b"hello"),
        ("data:,a%20b%00%ff", b"a b\0\xff"),
        ("data:,100%", b"100%"),
        ("data:,é", "é".encode()),
        ("data:text/plain,hello", b"hello"),
        ("data:text/plain;charset=utf-8,a,b", b"a,b"),
        ("data:;charset=utf-8,hello", b"hello"),
        ("data:;base64,aGVsbG8=", b"hello"),
        ("data:image/svg+xml;base64,aGVsbG8=", b"hello"),
        ("data:application/vnd.a.b-c;x=y;base64,aGVsbG8%3D", b"hello"),
        ("DATA:Text/Plain;BASE64,aGVsbG8=", b"hello"),
        ("data:;base64,aGVs\r\nbG8=\n", b"hello"),
        ("data:;base64,", b""),
    ],
)
def test_data_url_is_decoded(text, content):
    assert files.decode("a", text) == content


@pytest.mark.parametrize(
    "text",
    [
        "data:\n  - one, two\n",
        "data: [1, 2, 3]",
        "data: ,x",
        "data:",
        "data:text/plain",
        "data:one,two",
        "data:one two/three,four",
        "data:text/plain; charset=utf-8,x",
        "data:text/plain;base64;charset=utf-8\n,x",
        " data:,x",
        "database,x",
        "print('data:,x')",
        "",
    ],
)
def test_text_resembling_a_data_url_stays_text(text):
    assert files.decode("a", text) == text.encode()


@pytest.mark.parametrize("data", ["a", "aGVsbG8", "aGVs bG8=", "a$b=", "aGVsbG8==x", "é", "-_-_"])
def test_invalid_base64_raises_a_file_error(data):
    with pytest.raises(FileError, match=r"files\[a\.png\]: invalid base64 in the data URL"):
        files.decode("a.png", f"data:image/png;base64,{data}")


TYPES = st.sampled_from(["", "text/plain", "image/svg+xml", "application/x-tar"])
PARAMETERS = st.sampled_from(["", ";charset=utf-8", ";a=b;c=d"])


@given(TYPES, PARAMETERS, st.binary())
def test_data_url_round_trips(type, parameters, content):
    head = f"data:{type}{parameters}"
    assert files.decode("a", f"{head},{quote(content)}") == content
    assert files.decode("a", f"{head};base64,{base64.b64encode(content).decode()}") == content


@given(st.text())
def test_other_text_is_written_unchanged(text):
    assert files.decode("a", f"x{text}") == f"x{text}".encode()


@pytest.mark.parametrize(
    ("text", "content"),
    [("\ud800", "\ufffd"), ("a\udfffb", "a\ufffdb"), ("\ud83d\ude00", "😀")],
)
def test_lone_surrogate_is_replaced(text, content):
    assert files.decode("a", text) == content.encode()


UNFIT = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a/b/../../../x",
    "./../x",
    "../own/x",
    "a/..",
    "./",
    "//x",
    "/./x",
    "/own/../x",
    "/a",
    "..\0/../x",
    "a\0/../b",
    "./\ud800",
    "./" + "x" * 256,
    "a\0b",
    "\ud800",
    "x" * 256,
    "é" * 128,
    "a/" + "x" * 256,
    "/".join(["x" * 200] * 6),
]


NORMALISED = {
    "./a": "a",
    "a/./b": "a/b",
    "a/../b": "b",
    "a/b/../../c": "c",
    "a/": "a",
    "a//b": "a/b",
    ".//./a/.": "a",
    "./..a": "..a",
    "./" * 2000 + "a": "a",
    "x" * 256 + "/../a": "a",
    "\ud800/../a": "a",
}


@pytest.mark.parametrize("name", [*UNFIT, *NORMALISED])
def test_invalid_name_is_refused_before_any_write(tmp_path, name):
    directory = tmp_path / "a" / "work"
    directory.mkdir(parents=True)
    with pytest.raises(FileError, match="invalid name"):
        files.write(directory, {"good": b"", name: b""})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("name", "path"), NORMALISED.items())
def test_name_that_stays_inside_is_normalised(name, path):
    assert files.normalise(name) == path


@pytest.mark.parametrize("name", UNFIT)
def test_invalid_name_is_not_normalised(name):
    assert files.normalise(name) == name


PARTS = st.lists(st.sampled_from(["", ".", "..", "a", "..a", "\0", "\ud800", "x" * 256]))


@given(PARTS.map("/".join) | st.text())
def test_normalised_name_is_inside_the_directory_or_refused(name):
    path = files.normalise(name)
    assert files.normalise(path) == path
    if path != name:
        files.check_name(path)
        assert os.path.normpath(f"/some/directory/{name}") == f"/some/directory/{path}"


FIT = ["a", "a.b", "...", "..a", "a..b", "-rf", "a b", "$(id)", "a\nb", "\\..\\a", "é/ü", "~", "*"]
LONG = ["x" * 255, "/".join(["x" * 200] * 5)]


@pytest.mark.parametrize("name", FIT + LONG)
def test_unusual_name_is_written_as_it_is(tmp_path, name):
    files.write(tmp_path, {name: b"content"})
    assert (tmp_path / name).read_bytes() == b"content"


@given(st.text())
def test_accepted_name_stays_inside_the_directory(name):
    try:
        files.check_name(name)
    except FileError:
        return
    path = os.path.normpath(f"/some/directory/{name}")
    assert path == f"/some/directory/{name}"


@pytest.mark.parametrize(
    "names", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b", "a/b/c/d")]
)
def test_file_that_is_also_a_directory_is_refused(tmp_path, names):
    with pytest.raises(FileError, match=rf"files\[{names[1]}\]: invalid name"):
        files.write(tmp_path, dict.fromkeys(names, b""))


@pytest.mark.parametrize("form", ["{}", "{}/" + "a/" * 500 + "a", "a/" * 99 + "{}/a"])
def test_write_of_too_many_entries_is_refused(tmp_path, form):
    names = {form.format(number): b"" for number in range(files.MAX_ENTRIES + 1)}
    with pytest.raises(FileError, match=f"more than {files.MAX_ENTRIES} files and directories"):
        files.write(tmp_path, names)
    assert not list(tmp_path.iterdir())


def test_write_to_a_full_disk_hides_the_clients_names(tmp_path, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "secret")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(ServerFault) as fault:
        files.write(tmp_path, {"secret": b"x"})
    assert str(fault.value) == f"cannot write to {tmp_path}: No space left on device"


def test_write_and_copy_follow_no_link(tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("sings")
    (work := tmp_path / "work").mkdir()
    (work / "link").symlink_to(canary)
    with pytest.raises(FileError):
        files.write(work, {"link": b"dead"})
    files.copy(tmp_path, ["canary"], work)
    (tmp_path / "link").write_text("dead")
    files.copy(tmp_path, ["link"], work)
    assert canary.read_text() == "sings"


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def umask(request):
    old = os.umask(request.param)
    yield
    os.umask(old)


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:o}"


@pytest.mark.usefixtures("umask")
def test_modes_do_not_depend_on_the_umask(tmp_path):
    os.chmod(tmp_path, 0o777)
    (root := tmp_path / "root").mkdir()
    (work := tmp_path / "work").mkdir()
    root.chmod(0o755)
    work.chmod(0o777)
    (root / "shared").write_bytes(b"")
    files.write(work, {"a/b/c": b"", "d": b""})
    files.copy(root, ["shared"], work)
    modes = {str(path.relative_to(work)): mode(path) for path in work.rglob("*")}
    assert modes == {"a": "755", "a/b": "755", "a/b/c": "444", "d": "444", "shared": "444"}


def test_copy_keeps_the_requests_files(tmp_path):
    (root := tmp_path / "root").mkdir()
    (work := tmp_path / "work").mkdir()
    (root / "lib").mkdir()
    for name in ("lib/a.py", "lib/b.py", "lib/c.txt", "d.py"):
        (root / name).write_text(f"root's {name}")
    files.write(work, {"a.py": b"the request's"})
    files.copy(root, ["lib/*.py", "d.*", "nothing/*", "lib"], work)
    contents = {path.name: path.read_text() for path in work.iterdir()}
    assert contents == {
        "a.py": "the request's",
        "b.py": "root's lib/b.py",
        "d.py": "root's d.py",
    }
