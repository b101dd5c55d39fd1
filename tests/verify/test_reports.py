from pathlib import Path
from xml.etree import ElementTree

from codapi_flask.verify.pages.read import read_text
from codapi_flask.verify.reports import json, junit, text
from codapi_flask.verify.run import Runner
from tests.support.target import EchoTarget, answer

PAGE = """\
```sh codapi id=good
1
```

```sh codapi
2
```
```output
3
```

```sh codapi skip="no network"
4
```

```sh codapi wrong
```
"""


def results(page=PAGE, respond=answer):
    return list(Runner(EchoTarget(respond), Path()).run([read_text(Path("a.md"), page)]))


def test_text_has_a_line_for_each_snippet_and_what_is_wrong():
    lines = [line.text for result in results() for line in text.result_lines(result)]
    assert lines[:-1] == [
        "passed  a.md:2  sh run #good",
        "failed  a.md:6  sh run",
        "        a.md:9: the output differs from the page's",
        "        -3",
        "        +2",
        "skipped a.md:13  sh run: no network",
        "error   a.md:17  sh run",
    ]
    assert lines[-1].startswith("        a.md:17: no option 'wrong'")
    assert text.summary(results(), 1.23).text == "1 passed, 1 failed, 1 error, 1 skipped in 1.2 s"


def test_colours_are_those_of_the_verdict_and_the_difference():
    colours = [line.colour for result in results() for line in text.result_lines(result)]
    assert colours == ["green", "red", "", "red", "green", "yellow", "red", ""]


def test_json_has_all_of_each_snippet():
    document = json.document(results())
    assert document["counts"] == {"passed": 1, "failed": 1, "error": 1, "skipped": 1}
    failed = document["snippets"][1]
    assert failed.pop("seconds") >= 0
    assert failed == {
        "file": "a.md",
        "line": 6,
        "id": "",
        "sandbox": "sh",
        "version": "",
        "command": "run",
        "verdict": "failed",
        "text": "the output differs from the page's\n-3\n+2",
        "at": {"file": "a.md", "line": 9},
        "expected": "3\n",
        "output": "2",
    }


def test_junit_has_a_suite_for_each_page_and_a_case_for_each_snippet():
    root = ElementTree.fromstring(junit.document(results()))
    [suite] = root
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "a.md",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    assert [[child.tag for child in case] for case in suite] == [
        [],
        ["failure"],
        ["skipped"],
        ["error"],
    ]
    assert (
        suite[1].attrib.items() >= {"name": "line 6: sh run", "file": "a.md", "line": "9"}.items()
    )
    assert suite[1][0].text.endswith("-3\n+2")


def test_junit_holds_characters_that_xml_does_not():
    page = "```sh codapi\nx\n```\n```output\n3\n```\n"
    [failure] = results(page, lambda code: answer("\x1b[0m\0 <&>"))
    root = ElementTree.fromstring(junit.document([failure]))
    assert root[0][0][0].text.endswith("+\ufffd[0m\ufffd <&>")
