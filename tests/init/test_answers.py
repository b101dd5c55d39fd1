"""Parsing of init's answers in the worker."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from codapi_flask.init import Preloaded, ResetDone, RunDone, Stage
from codapi_flask.init.answers import ANSWER, UNKNOWN, Hello, parse

SOURCES = Path(__file__).parents[2] / "codapi_flask" / "init"
NUMBERS = (5, 6, 7, 8)  # wall, processor, memory, oom_kills


def answer(kind: str, how: int = 0, stage: int = 0, value: int = 0, numbers=NUMBERS) -> bytes:
    return ANSWER.pack(ord(kind), how, stage, value, *numbers)


def test_stages_match_the_c_source() -> None:
    enum = re.search(r"enum stage \{(.*?)\};", (SOURCES / "parse.h").read_text(), re.DOTALL)
    assert enum
    names = re.findall(r"\bSTAGE_(\w+),", enum[1])
    assert names == [stage.name for stage in Stage]
    assert list(range(len(names))) == list(Stage)


@pytest.mark.parametrize(
    ("message", "result"),
    [
        (answer("H", value=3), Hello()),
        (answer("D", 0, value=3), RunDone(3, None, Stage.NONE, 0, 5, 6, 7, 8, False, False)),
        (answer("D", 4, value=3), RunDone(3, None, Stage.NONE, 0, 5, 6, 7, 8, True, False)),
        (answer("D", 12, value=3), RunDone(3, None, Stage.NONE, 0, 5, 6, 7, 8, True, True)),
        (answer("D", 9, value=9), RunDone(None, 9, Stage.NONE, 0, 5, 6, 7, 8, False, True)),
        (answer("D", 1, value=9), RunDone(None, 9, Stage.NONE, 0, 5, 6, 7, 8, False, False)),
        (answer("D", 5, value=9), RunDone(None, 9, Stage.NONE, 0, 5, 6, 7, 8, True, False)),
        (
            answer("D", 2, Stage.EXEC, 2),
            RunDone(None, None, Stage.EXEC, 2, 5, 6, 7, 8, False, False),
        ),
        (
            answer("D", numbers=(5, UNKNOWN, 7, UNKNOWN)),
            RunDone(0, None, Stage.NONE, 0, 5, None, 7, 0, False, False),
        ),
        (answer("P", 3), Preloaded(True, None, None, Stage.NONE, 0, 5, 7, 8)),
        (
            answer("P", 3, numbers=(5, 0, UNKNOWN, UNKNOWN)),
            Preloaded(True, None, None, Stage.NONE, 0, 5, None, 0),
        ),
        (answer("P", 1, value=9), Preloaded(False, None, 9, Stage.NONE, 0, 5, 7, 8)),
        (answer("P", 2, Stage.EXEC, 2), Preloaded(False, None, None, Stage.EXEC, 2, 5, 7, 8)),
        (answer("C"), ResetDone(Stage.NONE, 0, 5)),
        (answer("C", 2, Stage.PLACES, 1), ResetDone(Stage.PLACES, 1, 5)),
    ],
)
def test_valid_answer_is_parsed(message: bytes, result: object) -> None:
    assert parse(message) == result


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"H", "not an answer"),
        (answer("H", value=3) + b"x", "not an answer"),
        (answer("H", value=1), "not an answer"),
        (answer("X"), "not an answer"),
        (answer("D", 3), "not an answer"),
        (answer("D", 6, Stage.EXEC, 2), "not an answer"),
        (answer("D", 10, Stage.EXEC, 2), "not an answer"),
        (answer("D", 16), "not an answer"),
        (answer("P", 4), "not an answer"),
        (answer("D", stage=99), "not an answer"),
        (answer("F", value=errno.EPERM), "cannot start: Operation not permitted"),
    ],
)
def test_invalid_answer_raises(message: bytes, text: str) -> None:
    with pytest.raises(ConnectionError, match=text):
        parse(message)


@pytest.mark.parametrize(
    ("done", "status"),
    [
        (answer("D", 0, value=3), 3),
        (answer("D", 1, value=9), 137),
        (answer("D", 2, Stage.EXEC, errno.ENOENT), 127),
        (answer("D", 2, Stage.EXEC, errno.ENOTDIR), 127),
        (answer("D", 2, Stage.EXEC, errno.EACCES), 126),
        (answer("D", 2, Stage.EXEC, errno.ENOEXEC), 126),
        (answer("D", 2, Stage.USER), 125),
        (answer("D", 2, Stage.SYSTEM, errno.EAGAIN), 125),
    ],
)
def test_status_matches_docker_run(done: bytes, status: int) -> None:
    answered = parse(done)
    assert isinstance(answered, RunDone)
    assert answered.status == status


@pytest.mark.parametrize(
    ("stage", "error", "program", "text"),
    [
        (Stage.USER, 0, "x", "unable to find user joe: no matching entries in passwd file"),
        (Stage.GROUP, 0, "x", "unable to find group staff: no matching entries in group file"),
        (Stage.EXEC, errno.ENOENT, "x", 'exec: "x": executable file not found in $PATH'),
        (Stage.EXEC, errno.ENOENT, "/x", 'exec: "/x": no such file or directory'),
        (Stage.EXEC, errno.EACCES, "x", 'exec: "x": permission denied'),
        (Stage.SYSTEM, errno.EAGAIN, "x", 'exec: "x": resource temporarily unavailable'),
        (Stage.SYSTEM, errno.E2BIG, "x", "the image has more than 1024 variables"),
    ],
)
def test_problem_matches_dockers_text(stage: Stage, error: int, program: str, text: str) -> None:
    done = parse(answer("D", 2, stage, error))
    assert isinstance(done, RunDone)
    assert done.problem(program, "joe:staff") == text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (answer("P", 0, value=3, numbers=(5, 6, 7, 0)), "exit status 3"),
        (answer("P", 1, value=9, numbers=(5, 6, 7, 0)), "ended by signal 9"),
        (answer("P", 1, value=9, numbers=(5, 6, 7, 1)), "out of memory"),
        (
            answer("P", 2, Stage.EXEC, errno.ENOENT, numbers=(5, 6, 7, 0)),
            'exec: "x": executable file not found in $PATH',
        ),
    ],
)
def test_problem_of_a_preloaded_program_is_its_end(message: bytes, text: str) -> None:
    over = parse(message)
    assert isinstance(over, Preloaded)
    assert over.problem("x", "joe") == text
