"""A Python that waits for its program, played to as init does, beside one that is started with it.

What differs is in docs/sandboxes.md.
"""

from __future__ import annotations

import os
import re
import venv
from pathlib import Path

import pytest

from tests.support.behaviours import PROGRAMS, Program, empty, normal
from tests.support.pythons import WAITER, Ended, Process, Waiting, to_arguments

MODULES = [[], ["json", "random", "decimal", "unittest"]]


def as_usual(ended: Ended) -> Ended:
    """Return how a program ended, without what differs from run to run."""
    return Ended(ended.status, normal(ended.stdout), normal(ended.stderr))


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """Return a Python without site-packages, whose .pth files would import modules."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder, symlinks=True)
    return str(folder / "bin" / "python")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sandbox"
    folder.mkdir()
    return folder


@pytest.fixture
def run(python, folder):
    """Return a function that runs a text as main.py by a Python that has waited."""

    def run(text, modules=(), *arguments, env=None):
        waiting = Waiting(python, modules, folder, env)
        assert waiting.wait() == b"!"
        (folder / "main.py").write_text(text)
        return waiting.go(to_arguments(python, "main.py", *arguments))

    return run


def ends(python, folder, program):
    """Return how a program ends as usual, and with each list of modules."""
    # they start beside the usual one
    all_waiting = [Waiting(python, modules, folder, program.env) for modules in MODULES]
    program.write(folder)
    yield Process([python, *program.argv], folder, program.env).finish(program.stdin)
    for waiting in all_waiting:
        assert waiting.wait() == b"!"
        empty(folder)
        program.write(folder)
        yield waiting.go(to_arguments(python, *program.argv), program.stdin)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_does_as_usual(python, folder, name):
    usual, *preloaded = map(as_usual, ends(python, folder, PROGRAMS[name]))
    assert preloaded == [usual] * len(MODULES)


def test_pytest_does_as_usual(python, folder):
    files = {"test_main.py": "def test_good(): pass\ndef test_bad(): assert [1] == [2]"}
    env = {"PYTHONPATH": str(Path(pytest.__file__).parents[1])}
    # those of this environment need more than that folder
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    program = Program("", files, ("-m", "pytest", "-p", "no:cacheprovider"), env=env)
    usual, *preloaded = (
        (ended.status, re.sub(rb"=* (.*) in [0-9.]+s =*", rb"\1", ended.stdout), ended.stderr)
        for ended in ends(python, folder, program)
    )
    assert preloaded == [usual] * len(MODULES)
    assert b"1 failed, 1 passed" in usual[1]


def test_takes_over_without_another_exec(run, python):
    """Or else the table above would compare a Python with itself."""
    ended = run("print(open('/proc/self/cmdline').read().split('\\0')[1])")
    assert ended.stdout == b"-c\n"


@pytest.mark.parametrize("name", ["random", "json", "numbers"])
def test_own_module_in_place_of_a_loaded_one_makes_a_fresh_python(run, folder, name):
    (folder / f"{name}.py").write_text("x = 'own'")
    text = f"import {name}; print({name}.x, open('/proc/self/cmdline').read().split('\\0')[1])"
    assert run(text, ["json", "random", "decimal"]).stdout == b"own main.py\n"


def test_file_that_is_no_module_leaves_the_loaded_one(run, folder):
    (folder / "numbers.txt").touch()
    text = "import numbers; print(open('/proc/self/cmdline').read().split('\\0')[1])"
    assert run(text, ["decimal"]).stdout == b"-c\n"


def test_preloaded_modules_are_those_of_the_program(run):
    text = "import sys; print('json' in sys.modules, 'decimal' in sys.modules)"
    assert run(text, ["json"]).stdout == b"True False\n"


def test_file_in_the_folder_is_not_preloaded(run, folder):
    (folder / "decimal.py").write_text("print('own')")
    assert run("import decimal", ["decimal"]).stdout == b"own\n"
    (folder / "decimal.py").unlink()
    (folder / "_decimal.py").write_text("print('own')")
    assert run("", ["decimal"]).stdout == b""


NOISE = """
import ctypes, os, subprocess, sys
print("noise")
print("noise", file=sys.stderr)
sys.stdout.write("more")
os.write(1, b"noise")
subprocess.run(["echo", "noise"])
ctypes.CDLL(None).printf(b"noise")
"""


def test_noise_of_an_import_is_dropped(run, tmp_path):
    (tmp_path / "noisy.py").write_text(NOISE)
    ended = run("print(1)", ["noisy"], env={"PYTHONPATH": str(tmp_path)})
    assert ended == Ended(0, b"1\n", b"")


@pytest.mark.parametrize(
    ("text", "status", "stderr"),
    [
        ("print(1)\n1/0", 1, b"ZeroDivisionError: division by zero\n"),
        ("import sys; sys.exit('why')", 1, b"why\n"),
        ("import os; os._exit(3)", 3, b""),
    ],
)
def test_module_that_fails_ends_the_process(python, folder, tmp_path, text, status, stderr):
    (tmp_path / "broken.py").write_text(text)
    waiting = Waiting(python, ["broken"], folder, {"PYTHONPATH": str(tmp_path)})
    assert waiting.wait() == b""
    ended = waiting.finish()
    assert (ended.status, ended.stdout) == (status, b"")
    assert ended.stderr.endswith(stderr)


def test_missing_module_is_named(python, folder):
    waiting = Waiting(python, ["json", "nothing_of_that_name"], folder)
    assert waiting.wait() == b""
    ended = waiting.finish()
    assert ended.status == 1
    assert ended.stderr.endswith(b"No module named 'nothing_of_that_name'\n")


def test_no_arguments_end_the_process_quietly(python, folder):
    waiting = Waiting(python, ["json"], folder)
    assert waiting.wait() == b"!"
    assert waiting.go(b"") == Ended(0, b"", b"")


def test_arguments_may_be_many_and_of_any_bytes(run):
    arguments = [f"{number:0998}" for number in range(60)] + ["", "\n", os.fsdecode(b"\xff")]
    ended = run("import sys; print(ascii(sys.argv[1:]))", [], *arguments)
    assert ended.stdout.decode() == ascii(arguments) + "\n"


def test_environment_that_a_module_changes_is_not_that_of_a_fresh_python(python, folder, tmp_path):
    (tmp_path / "changes.py").write_text("import os; os.environ['X'] = '1'")
    waiting = Waiting(python, ["changes"], folder, {"PYTHONPATH": str(tmp_path)})
    assert waiting.wait() == b"!"
    text = "import os; print(os.environ.get('X'))"
    assert waiting.go(to_arguments(python, "-c", text)).stdout == b"None\n"


def test_chance_differs_from_process_to_process(run):
    """Each of them is started by its own exec."""
    text = "import random, uuid; print(random.random(), hash('a'), uuid.uuid4())"
    values = [run(text, ["random", "uuid"]).stdout.split() for _ in range(2)]
    assert all(len({*column}) == 2 for column in zip(*values, strict=True))


def test_text_fits_into_an_argument_and_does_nothing_when_imported():
    assert len(WAITER.read_bytes()) < 16384
    from codapi_flask.boxes import waiter

    assert waiter.GO == 3
