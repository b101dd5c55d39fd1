import pickle

import pytest

from codapi_flask.models import (
    Execution,
    Input,
    Job,
    LeftOut,
    Outcome,
    Report,
    not_installed,
)


@pytest.mark.parametrize(
    ("outcome", "ok", "stdout", "stderr"),
    [
        (Outcome(" a \n", "b"), True, " a \n", "b"),
        (Outcome("", "", 1, reason="exit"), False, "", "exit status 1"),
        (Outcome("a\n", "b\n", 3, reason="exit"), False, "", "a\nb (exit status 3)"),
        (Outcome(" a\n\n", "", 1, reason="exit"), False, "", " a (exit status 1)"),
        (Outcome("", "b \r\n\n", 1, reason="exit"), False, "", "b  (exit status 1)"),
        (Outcome("a\n\n", "\n", 1, reason="exit"), False, "", "a (exit status 1)"),
        (Outcome("a\n", "", 1, reason="exit"), False, "", "a (exit status 1)"),
        (Outcome("\n", " \n", 1, reason="exit"), False, "", "exit status 1"),
        (Outcome("a\n", "", 139, 11, "signal"), False, "", "a (exit status 139)"),
        (Outcome("a", "", 139, 11, "signal"), False, "", "a (exit status 139)"),
        (
            Outcome("a", "", 137, 9, "memory", "out of memory (64 MiB)\n"),
            False,
            "",
            "out of memory (64 MiB)\na (exit status 137)",
        ),
        (Outcome("a", "b", None, reason="timeout"), False, "", "code execution timeout"),
        (
            Outcome("a", "b", None, reason="timeout", note=", close to its memory limit (64 MiB)"),
            False,
            "",
            "code execution timeout, close to its memory limit (64 MiB)",
        ),
        (Outcome("a", "sandbox died", None, reason="error"), False, "", "sandbox died"),
    ],
)
def test_execution_answer_reports_how_the_step_ended(outcome, ok, stdout, stderr):
    answer = Execution.of("sh_run_1", Report([outcome]), 12).answer()
    assert answer == {
        "id": "sh_run_1",
        "ok": ok,
        "duration": 12,
        "stdout": stdout,
        "stderr": stderr,
    }


def test_execution_of_several_outcomes_is_the_last():
    execution = Execution.of("sh_run_1", Report([Outcome("before"), Outcome("last", box="sh")]), 1)
    assert (execution.stdout, execution.box) == ("last", "sh")


FAILED = Outcome("a\n", "b\n", 3, reason="exit", wall_ms=2.5, box="sh", kind="warm")
RUNS = [(Outcome("1"), 5), (FAILED, 7), (Outcome("", "sandbox died", None, reason="error"), 9)]
RESULTS = [
    {"ok": True, "duration": 5, "stdout": "1", "stderr": ""},
    {"ok": False, "duration": 7, "stdout": "", "stderr": "a\nb (exit status 3)"},
    {"ok": False, "duration": 9, "stdout": "", "stderr": "sandbox died"},
]


def test_answer_with_runs_has_a_result_for_each():
    execution = Execution.of("sh_run_1", Report([Outcome("before"), FAILED], RUNS), 30)
    answer = execution.answer()
    assert list(answer) == ["id", "ok", "duration", "stdout", "stderr", "results"]
    assert answer["stderr"] == RESULTS[1]["stderr"]
    assert answer["results"] == RESULTS
    detailed = execution.answer(details=True)
    details = [outcome.details() for outcome, _ in RUNS]
    each = [{**result, "details": more} for result, more in zip(RESULTS, details, strict=True)]
    assert detailed["results"] == each
    assert list(detailed["details"]["steps"]) == [Outcome("before").details(), FAILED.details()]


def test_answer_without_runs_has_no_results():
    assert "results" not in Execution.of("sh_run_1", Report([FAILED]), 30).answer(details=True)
    assert Execution.of("sh_run_1", Report([FAILED], []), 30).answer()["results"] == []


def test_execution_has_each_outcome_once():
    outcomes = [Outcome("before"), FAILED]
    execution = Execution.of("sh_run_1", Report(outcomes, RUNS), 30)
    for each in (execution, pickle.loads(pickle.dumps(execution))):
        assert each.programs() == [outcomes[0], *(outcome for outcome, _ in RUNS)]
    # `after` decided
    after = Outcome("after", exit_code=1, reason="exit")
    execution = Execution.of("sh_run_1", Report([*outcomes, after], RUNS), 30)
    assert execution.programs() == [outcomes[0], after, *(outcome for outcome, _ in RUNS)]
    assert Execution.of("sh_run_1", Report(outcomes), 30).programs() == outcomes


LEFT_OUT = (LeftOut("a", "a link"), LeftOut("a", "a hard link"))


@pytest.mark.parametrize("failed", [False, True])
def test_answer_has_the_files_only_if_asked(failed):
    report = Report([Outcome("hello\n")], files={"b": "data:,b"}, left_out=LEFT_OUT)
    execution = Execution.of("sh_run_1", report, 12)
    files, left_out = {"b": "data:,b"}, [{"name": "a", "reason": each.reason} for each in LEFT_OUT]
    if failed:
        execution = Execution.failed("sh_run_1", "fault", 0)
        files, left_out = {}, []
    plain, details = execution.answer(), execution.answer(True)["details"]
    assert {*plain} == {"id", "ok", "duration", "stdout", "stderr"}
    assert execution.answer(outputs=True) == {**plain, "files": files}
    with_outputs = {**plain, "files": files, "details": {**details, "files_left_out": left_out}}
    assert execution.answer(True, True) == with_outputs


def test_execution_is_a_failure_by_default():
    assert Execution("-", stderr="busy").answer() == {
        "id": "-",
        "ok": False,
        "duration": 0,
        "stdout": "",
        "stderr": "busy",
    }


@pytest.mark.parametrize(
    "message",
    [
        Job("python_run_1", "python", "run", "3.12", {"": "print(42)"}),
        Job("sh_run_1", "sh", "run", "", {}, Input(b"\xff", ("a",)), (Input(), Input(b"1"))),
        Execution.of("sh_run_1", Report([FAILED], RUNS), 30),
        Outcome("42\n", "", exit_code=3, signal=None, reason="exit", truncated=("stderr",)),
        Execution.of(
            "python_run_1",
            Report([Outcome("1"), Outcome("2", box="sh", kind="warm")], None, {"a": "b"}, LEFT_OUT),
            25,
        ),
    ],
)
def test_pickled_model_is_restored_unchanged(message):
    assert pickle.loads(pickle.dumps(message)) == message


@pytest.mark.parametrize(
    ("image", "todo"),
    [
        ("codapi/go", "make images NAMES=go"),
        ("codapi/go:latest", "make images NAMES=go"),
        ("codapi/go:1.22", "build or pull its image"),
        ("golang", "build or pull its image"),
        ("example.com/codapi/go", "build or pull its image"),
        ("codapi/a/b", "build or pull its image"),
    ],
)
def test_missing_image_is_told_with_what_to_do(image, todo):
    assert not_installed("go", image) == f"sandbox go is not installed: {todo}"
