"""`codapi exec`, with a server and without one, on the real engine."""

from __future__ import annotations

import pytest

from tests.cli.conftest import on_terminal
from tests.support.configs import BOXES, COMMANDS, PLOT

pytestmark = pytest.mark.docker

ENDS = [
    ("echo out; echo err >&2", 0, "out\n", "err\n"),
    ("echo out; exit 3", 3, "out\n", ""),
    ("kill -9 $$", 137, "", "codapi: the program was killed by signal 9\n"),
    (
        "text=1234567890123456; while :; do text=$text$text; done",
        137,
        "",
        "codapi: out of memory (64 MiB)\n",
    ),
]


@pytest.fixture(params=["local", "server"])
def where(request, root, codapi):
    """Return a function that runs `codapi exec` here, and one that has a server do it."""
    if request.param == "local":
        here = root()
        return lambda *words, **more: codapi("exec", *words, "--local", "--root", str(here), **more)
    server = request.getfixturevalue("server")
    return lambda *words, **more: codapi("exec", *words, "--server", server.url, **more)


@pytest.mark.parametrize(("code", "status", "stdout", "stderr"), ENDS)
def test_program_ends_as_it_does_without_a_sandbox(where, code, status, stdout, stderr):
    assert where("sh", "-", input=code) == (status, stdout, stderr)


def test_program_gets_stdin_args_and_files(where, tmp_path):
    (tmp_path / "main.sh").write_text('. ./greet.sh; read name; greet $name "$1"')
    (tmp_path / "greet.sh").write_text('greet() { echo "hello $1 $2"; }')
    (tmp_path / "input.txt").write_text("ada\n")
    words = "sh", "main.sh", "greet.sh", "--stdin", "input.txt", "--arg", "x y"
    assert where(*words) == (0, "hello ada x y\n", "")


def test_timeout_has_a_status_of_its_own(codapi, root):
    steps = [{"box": "sh", "command": ["sh", "main.sh"], "timeout": 0.5}]
    here = root(commands={"sh": {"run": {"entry": "main.sh", "steps": steps}}})
    words = "exec", "sh", "-", "--local", "--root", str(here)
    assert codapi(*words, input="sleep 9") == (124, "", "codapi: code execution timeout\n")


@pytest.mark.parametrize(
    ("words", "stderr"),
    [
        (("go", "-"), "codapi: unknown sandbox\n"),
        (("sh", "test", "-"), "codapi: unknown command\n"),
        (("sh:9", "-"), "codapi: unknown box sh:9\n"),
    ],
)
def test_request_that_cannot_be_executed_has_a_status_of_its_own(where, words, stderr):
    assert where(*words, input="echo") == (125, "", stderr)


def test_missing_file_is_named(where):
    assert where("sh", "no-such-file") == (
        2,
        "",
        "codapi: no-such-file: No such file or directory\n",
    )


def test_server_that_does_not_answer_is_named(codapi):
    status, _, stderr = codapi("exec", "sh", "-", "--server", "http://127.0.0.1:9", input="echo")
    assert (status, stderr.count("http://127.0.0.1:9 does not answer")) == (125, 1)


def test_config_errors_are_shown(codapi, root):
    here = root(boxes={"sh": {"image": "codapi/sh", "memory": "much"}})
    status, _, stderr = codapi("exec", "sh", "-", "--local", "--root", str(here), input="echo")
    assert status == 125
    assert "configs/boxes.json: sh.memory: must be a whole number" in stderr


def test_files_of_the_program_are_saved(codapi, root, tmp_path):
    here = root(boxes={"plot": PLOT["box"]}, commands={"plot": PLOT["commands"]})
    code = "open('a.svg', 'w').write('<svg/>')"
    words = "exec", "plot", "-", "--outputs", "out", "--local", "--root", str(here)
    status, _, stderr = codapi(*words, input=code)
    assert (status, stderr) == (0, "codapi: wrote out/a.svg\n")
    assert (tmp_path / "out/a.svg").read_text() == "<svg/>"


def test_local_execution_leaves_nothing(codapi, root, tmp_path):
    here = root(BOXES, COMMANDS)
    codapi("exec", "sh", "-", "--local", "--root", str(here), input="echo")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["lock"]


def test_output_on_a_terminal_comes_as_it_is(server, tmp_path):
    (tmp_path / "main.sh").write_text("echo one; echo two >&2")
    ended = on_terminal(["exec", "sh", "main.sh", "--server", server.url], tmp_path)
    assert (ended.status, sorted(ended.stdout.split())) == (0, ["one", "two"])
