import pickle

import pytest

from codapi_flask.errors import RequestError
from codapi_flask.models import Execution, Job, Outcome, Request

GOOD = {"sandbox": "python", "command": "run", "files": {"": "print(42)", "a.txt": "x"}}


def test_a_request_has_the_documents_fields():
    assert Request.parse({**GOOD, "version": "3.12"}) == Request(
        "python", "run", {"": "print(42)", "a.txt": "x"}, "3.12"
    )


def test_the_files_keep_their_order():
    files = {"b": "1", "": "2", "a": "3"}
    assert list(Request.parse({**GOOD, "files": files}).files) == ["b", "", "a"]


@pytest.mark.parametrize("more", [{"id": "mine"}, {"action": "x", "nested": {"a": [1]}}])
def test_unknown_fields_are_ignored(more):
    assert Request.parse({**GOOD, **more}) == Request.parse(GOOD)


@pytest.mark.parametrize("field", ["sandbox", "command", "files", "version", "details"])
def test_null_is_an_absent_field(field):
    absent = {name: value for name, value in GOOD.items() if name != field}
    assert Request.parse({**GOOD, field: None}) == Request.parse(absent)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "the request must be a JSON object"),
        ([], "the request must be a JSON object"),
        ("python", "the request must be a JSON object"),
        (42, "the request must be a JSON object"),
        ({**GOOD, "sandbox": 1}, "sandbox: must be a string"),
        ({**GOOD, "command": ["run"]}, "command: must be a string"),
        ({**GOOD, "version": 3.12}, "version: must be a string"),
        ({**GOOD, "version": False}, "version: must be a string"),
        ({**GOOD, "files": "print(42)"}, "files: must be an object of names and texts"),
        ({**GOOD, "files": ["print(42)"]}, "files: must be an object of names and texts"),
        ({**GOOD, "files": False}, "files: must be an object of names and texts"),
        ({**GOOD, "files": {"": 42}}, "files: every file's content must be a string"),
        ({**GOOD, "files": {"": "x", "a": None}}, "files: every file's content must be a string"),
        ({**GOOD, "details": 1}, "details: must be true or false"),
    ],
)
def test_a_document_of_another_form_is_refused(document, text):
    with pytest.raises(RequestError, match=text) as caught:
        Request.parse(document)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("outcome", "ok", "stdout", "stderr"),
    [
        (Outcome(" a \n", "b"), True, " a \n", "b"),
        (Outcome("", "", 1, reason="exit"), False, "", "exit status 1"),
        (Outcome("a\n", "b\n", 3, reason="exit"), False, "", "a\nb\n (exit status 3)"),
        (Outcome("a", "", 139, 11, "signal"), False, "", "a (exit status 139)"),
        (
            Outcome("a", "", 137, 9, "memory", "out of memory (64 MiB)\n"),
            False,
            "",
            "out of memory (64 MiB)\na (exit status 137)",
        ),
        (Outcome("a", "b", None, reason="timeout"), False, "", "code execution timeout"),
        (Outcome("a", "sandbox died", None, reason="error"), False, "", "sandbox died"),
    ],
)
def test_the_answer_tells_how_the_step_ended(outcome, ok, stdout, stderr):
    answer = Execution.of("sh_run_1", [outcome], 12).answer()
    assert answer == {
        "id": "sh_run_1",
        "ok": ok,
        "duration": 12,
        "stdout": stdout,
        "stderr": stderr,
    }


def test_the_last_of_the_outcomes_is_the_answer():
    execution = Execution.of("sh_run_1", [Outcome("before"), Outcome("last", box="sh")], 1)
    assert (execution.stdout, execution.box) == ("last", "sh")


def test_an_execution_has_failed_unless_it_says_otherwise():
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
        Outcome("42\n", "", exit_code=3, signal=None, reason="exit", truncated=("stderr",)),
        Execution.of("python_run_1", [Outcome("1"), Outcome("2", box="sh", kind="warm")], 25),
    ],
)
def test_what_is_sent_to_another_process_arrives_as_it_is(message):
    assert pickle.loads(pickle.dumps(message)) == message
