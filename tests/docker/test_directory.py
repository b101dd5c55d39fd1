"""The work directory: the files that programs find in it, and the cleanup of leftovers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from codapi_flask.errors import Abandoned
from tests.support.instance import PYTHON
from tests.support.programs import Sleep
from tests.support.server import wait_for

pytestmark = pytest.mark.docker

WRITABLE = {**PYTHON, "volume": "%s:/sandbox"}
WRITABLE_KINDS = pytest.mark.parametrize("kind", ["plain", "cold", "warm"])
SERVER_USERS = pytest.mark.parametrize(
    "uid",
    [
        pytest.param(uid, marks=pytest.mark.skipif(uid and os.geteuid(), reason="not root"))
        for uid in (0, 2000)
    ],
)
FILES = {"a": "1", "d/b": "2", "d/e/c": "3", "": "4"}
MODES = {"a": 0o444, "d": 0o755, "d/b": 0o444, "d/e": 0o755, "d/e/c": 0o444, "main": 0o444}
PRINT_MODES = "find . -printf '%P %m\\n' | sort"
PRINTED_MODES = " 777\n" + "".join(f"{file} {mode:o}\n" for file, mode in MODES.items())


@pytest.fixture(params=[0o000, 0o077], ids=oct)
def umask(request) -> Iterator[None]:
    """Set one of the extreme umasks for the test."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("box", [{}, {"volume": "%s:/sandbox:rw"}])
@WRITABLE_KINDS
def test_writable_directory_holds_read_only_files(run, box):
    execution = run("sh", "-c", PRINT_MODES, files=FILES, entry="main", box=box)
    assert execution.stdout == PRINTED_MODES


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("kind", ["reused"])
def test_reused_box_holds_read_only_files(run):
    execution = run("sh", "-c", PRINT_MODES, files=FILES, entry="main")
    assert execution.stdout == PRINTED_MODES


@pytest.mark.usefixtures("umask")
def test_lease_on_the_host_is_open_to_the_server_only(instance):
    sleep = Sleep(1000)
    result = instance.start(
        instance.run, "sleep", sleep.argument, files=FILES, entry="main", timeout=60
    )
    wait_for(sleep.runs)
    [lease] = instance.leases()
    below = {f"work/{file}": mode for file, mode in MODES.items()}
    own = {"plain-init": 0o555} if instance.kind == "plain" else {}
    assert _modes(lease) == {".": 0o700, "work": 0o777, "hosts": 0o444, **own, **below}
    instance.hang_up()
    assert isinstance(result.exception(10), Abandoned)


def _modes(directory: Path) -> dict[str, int]:
    """Return the modes of a directory and all that is in it."""
    found = [directory, *directory.rglob("*")]
    return {str(path.relative_to(directory)): stat.S_IMODE(path.stat().st_mode) for path in found}


def test_files_keep_unusual_names(run):
    files = {"": "entry", "a b": "1", "-rf": "2", "é/ü😀": "3", "d/.h": "4", "$(id)": "5"}
    program = "for f in main.txt 'a b' ./-rf é/ü😀 d/.h '$(id)'; do cat \"$f\"; done"
    execution = run("sh", "-c", program, files=files, entry="main.txt")
    assert (execution.ok, execution.stdout) == (True, "entry12345")


def test_file_content_is_decoded_only_from_a_data_url(run):
    files = {"": "data:application/octet-stream;base64,AP8K", "yaml": "data:\n  a: 1\n"}
    execution = run("od", "-An", "-tx1", "main", files=files, entry="main")
    assert execution.stdout == " 00 ff 0a\n"
    assert run("cat", "yaml", files=files, entry="main").stdout == "data:\n  a: 1\n"


def test_command_without_entry_writes_no_files(run):
    assert run("ls", "-A", files={"": "text", "a": "text"}).stdout == ""


@pytest.mark.parametrize("kind", ["reused"])
def test_reused_box_survives_a_file_with_an_invalid_name(instance):
    before = given_back(instance, {"": "text"})
    assert before == given_back(instance, {"good": "text", "../bad": "text"})
    assert instance.run("ls", "-A", files={"": "text"}, entry="main").stdout == "main\n"


def given_back(instance, files):
    """Return the boxes that wait after an execution with the files."""
    instance.run("true", files=files, entry="main")
    return [box.container for boxes in instance.stock.idle.values() for box in boxes]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("../x", "", "files[../x]: invalid name"),
        ("/tmp/x", "", "files[/tmp/x]: invalid name"),
        ("main/x", "", "files[main/x]: invalid name"),
        ("x", "data:;base64,x", None),
    ],
)
@pytest.mark.parametrize("kind", ["warm", "reused"])
def test_step_with_an_invalid_file_does_not_run(run, name, text, reason):
    execution = run("echo", "ran", files={"": "text", name: text}, entry="main")
    assert (execution.ok, execution.stdout) == (False, "")
    assert execution.stderr == reason if reason else execution.stderr.startswith("files[x]: ")


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["lib/a.txt"], "a.txt"),
        (["lib/*.txt"], "a.txt b.txt"),
        (["lib/*.nope", "lib/b.*"], "b.txt"),
        (["**/a.txt"], "a.txt"),
        (["lib"], ""),
    ],
)
@pytest.mark.parametrize("kind", ["reused"])
def test_box_files_are_copied_beside_those_of_the_request(run, patterns, found):
    root = {"lib/a.txt": "root's a", "lib/b.txt": "root's b"}
    execution = run("ls", "-x", box={"files": patterns}, root=root)
    assert execution.stdout.split() == found.split()


def test_request_file_overrides_the_file_of_the_box(run):
    root = {"lib/a.txt": "root's a", "lib/b.txt": "root's b"}
    files = {"": "entry", "a.txt": "client's a"}
    program = "cat a.txt b.txt; stat -c %a b.txt"
    box = {"files": ["lib/*"]}
    execution = run("sh", "-c", program, files=files, entry="main", box=box, root=root)
    assert execution.stdout == "client's aroot's b444\n"


def test_steps_of_a_command_see_the_same_files(execute):
    step = {"box": "sh", "command": ["cat", "a"]}
    execution = execute(step, step, files={"a": "text"}, entry="main")
    assert execution.stdout == "text"


@WRITABLE_KINDS
def test_steps_of_a_command_share_written_files(execute):
    def append(word: str) -> dict:
        return {"box": "sh", "command": ["sh", "-c", f"echo {word} >> log; cat log"]}

    boxes = {"sh": {"volume": "%s:/sandbox"}}
    execution = execute(append("2"), append("3"), before=append("1"), boxes=boxes)
    assert execution.stdout == "1\n2\n3\n"


def test_next_execution_finds_an_empty_directory(run):
    run("true", files=FILES, entry="main")
    assert run("ls", "-A").stdout == ""


# leftovers of a program in a writable directory
LEFTOVERS = {
    "files of mode 000": "open('f', 'w').close(); os.chmod('f', 0)",
    "directories of mode 000": "os.makedirs('d/e'); os.chmod('d/e', 0); os.chmod('d', 0)",
    "a deep tree": "for _ in range(5000): os.mkdir('d'); os.chdir('d')",
    "many files": "for i in range(10000): open(str(i), 'w').close()",
    "long names": "os.mkdir('d' * 255); os.chdir('d' * 255); open('f' * 255, 'w').close()",
    "names that are no text": "open(b'\\xff\\n', 'w').close(); os.mkdir('-rf')",
    "a pipe and a socket": "os.mkfifo('p'); socket.socket(socket.AF_UNIX).bind('s')",
}


@pytest.mark.parametrize("leftover", LEFTOVERS)
@SERVER_USERS
@pytest.mark.parametrize("kind", ["warm"])
def test_leftovers_of_a_program_are_deleted(run, leftover):
    program = f"import os, socket\n{LEFTOVERS[leftover]}"
    execution = run("python", "-c", program, box=WRITABLE, timeout=60)
    # a tree too deep for a path is refused; the fixture checks that no directory is left
    too_deep = "directories are nested too deeply (limit: 200 levels)"
    assert execution.stderr in ("", too_deep if leftover == "a deep tree" else "")


@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_too_many_nested_directories_are_named_as_such(run):
    program = "import os, time\nfor _ in range(250): os.mkdir('d'); os.chdir('d')\ntime.sleep(60)"
    execution = run("python", "-c", program, box=WRITABLE, timeout=60)
    assert execution.stderr == "directories are nested too deeply (limit: 200 levels)"


LINKS = """
import os, sys
target, directory = sys.argv[1], os.path.dirname(sys.argv[1])
os.symlink(target, "link")
os.symlink(directory, "directory")
os.remove("main")
os.symlink(target, "main")
os.makedirs("d/e")
os.symlink(directory, "d/e/f")
os.chmod("d/e", 0)
"""


@SERVER_USERS
@WRITABLE_KINDS
def test_links_to_the_host_are_not_followed(run, uid, tmp_path):
    canary = tmp_path / "canary" / "file"
    canary.parent.mkdir()
    canary.write_text("canary")
    for path in (tmp_path, canary.parent, canary):
        path.chmod(0o777)
        os.chown(path, uid, uid)
    before = [_look(path) for path in (canary, canary.parent)]
    execution = run(
        *("python", "-c", LINKS, str(canary)), box=WRITABLE, files={"": "text"}, entry="main"
    )
    assert (execution.ok, execution.stderr) == (True, "")
    assert [_look(path) for path in (canary, canary.parent)] == before
    assert canary.read_text() == "canary"


def _look(path: Path) -> tuple:
    info = path.stat()
    return info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_ctime_ns, info.st_nlink
