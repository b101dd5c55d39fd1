from pathlib import Path

import pytest

from codapi_flask.client.target import Answer, TargetError
from codapi_flask.verify.pages.read import read_text
from codapi_flask.verify.run import Runner, count
from tests.support.target import EchoTarget, answer


def run(text, respond=answer):
    page = read_text(Path("a.md"), text)
    return list(Runner(EchoTarget(respond), Path()).run([page]))


def only(text, respond=answer):
    [result] = run(text, respond)
    return result


def failed(text, reason="exit"):
    return lambda code: answer(stderr=text, reason=reason)


ENDS = {
    "ok": ("", answer, "passed"),
    "fails": ("", failed("E"), "failed"),
    "times out": ("", failed("code execution timeout", "timeout"), "failed"),
    "should fail": (" fails", answer, "failed"),
    "fails as it should": (" fails", failed("E"), "passed"),
    "should fail, times out": (" fails", failed("T", "timeout"), "failed"),
    "times out as it should": (" timeout", failed("T", "timeout"), "passed"),
    "skipped": (" skip", failed("E"), "skipped"),
}


@pytest.mark.parametrize(("option", "respond", "verdict"), ENDS.values(), ids=ENDS)
def test_verdict_follows_from_how_the_program_ends(option, respond, verdict):
    assert only(f"```sh codapi{option}\nx\n```\n", respond).verdict == verdict


OUTPUTS = {
    "stdout": ("x", answer("x\n", "warning"), True),
    "stderr if there is no stdout": ("x", answer("", "x"), True),
    "other": ("x", answer("y"), False),
    "nothing, as the widget shows it": ("ok", answer(), True),
    "failure that the page shows": ("E (exit status 1)", failed("E (exit status 1)")(""), True),
    "other failure": ("E (exit status 1)", failed("F (exit status 1)")(""), False),
    "success instead of it": ("E (exit status 1)", answer("E"), False),
    "timeout that the page shows": (
        "code execution timeout",
        failed("code execution timeout", "timeout")(""),
        True,
    ),
}


@pytest.mark.parametrize(("shown", "given", "passes"), OUTPUTS.values(), ids=OUTPUTS)
def test_output_is_compared_as_a_reader_sees_it(shown, given, passes):
    result = only(f"```sh codapi\nx\n```\n```output\n{shown}\n```\n", lambda code: given)
    assert result.verdict == ("passed" if passes else "failed"), result.text


def test_status_may_be_left_out_where_a_failure_is_expected():
    page = "```sh codapi fails\nx\n```\n```output\nE\n```\n"
    assert only(page, failed("E (exit status 1)")).verdict == "passed"


def test_difference_is_told_with_the_line_of_the_output():
    result = only("```sh codapi\nx\n```\n```output\na\n```\n", lambda code: answer("b"))
    assert (str(result.place), result.differs) == ("a.md:5", True)
    assert result.text == "the output differs from the page's\n-a\n+b"


def test_error_is_told_with_the_line_of_the_code():
    page = "```sh codapi id=a\na\n```\n```sh codapi depends-on=a\nb\n```\n"
    result = run(page, failed("main.sh: 2: b: not found (exit status 127)"))[1]
    assert str(result.place) == "a.md:5"
    assert result.text.endswith("main.sh: 2: b: not found (exit status 127)  ← a.md:5")


def test_tail_is_the_output_after_the_separator():
    page = "```sh codapi id=a\na\n```\n```python codapi depends-on=a output-tail\nb\n# 2\n```\n"
    assert (
        run(page, lambda code: answer("1\n---\n2\n" if "---" in code else ""))[1].verdict
        == "passed"
    )


def unreachable(code):
    raise TargetError("no server")


ERRORS = {
    "option": ("```sh codapi x\n```\n", answer, "no option 'x'"),
    "link": ("```sh codapi depends-on=b\nx\n```\n", answer, "it depends on b"),
    "refusal": (
        "```sh codapi\nx\n```\n",
        lambda code: Answer({"stderr": "unknown"}, False),
        "unknown",
    ),
    "no server": ("```sh codapi\nx\n```\n", unreachable, "no server"),
}


@pytest.mark.parametrize(("page", "respond", "text"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_executed_is_an_error(page, respond, text):
    result = only(page, respond)
    assert (result.verdict, str(result.place), result.output) == ("error", "a.md:2", None)
    assert result.text.startswith(text)


def test_results_are_in_the_order_of_the_page():
    results = run("".join(f"```sh codapi\n{i}\n```\n" for i in range(9)), answer)
    assert [result.output for result in results] == [str(i) for i in range(9)]
    assert count(results) == {"passed": 9, "failed": 0, "error": 0, "skipped": 0}


def test_widget_without_a_sandbox_is_not_run():
    page = read_text(
        Path("a.html"),
        '<p>a</p><codapi-snippet id="a"></codapi-snippet>'
        '<p>b</p><codapi-snippet sandbox="sh" depends-on="a"></codapi-snippet>',
    )
    [result] = Runner(EchoTarget(), Path()).run([page])
    assert result.output == "a\nb"
