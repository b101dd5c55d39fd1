from pathlib import Path

import pytest

from codapi_flask.verify.pages.read import read_text
from codapi_flask.verify.snippet import text_of

PAGE = Path("page.md")


def snippets(text):
    return read_text(PAGE, text).snippets


def only(text):
    [snippet] = snippets(text)
    return snippet


TAGGED = {
    "sandbox is the language": ("python codapi", {"sandbox": "python", "command": "run"}),
    "sandbox": ("js codapi sandbox=javascript", {"sandbox": "javascript"}),
    "version in the sandbox": ("py codapi sandbox=python:3", {"sandbox": "python", "version": "3"}),
    "version": ("python codapi version=3.12", {"version": "3.12"}),
    "command": ("python codapi command=test", {"command": "test"}),
    "id": ("python codapi id=a", {"id": "a"}),
    "depends-on": ("python codapi depends-on=a,b", {"depends_on": ("a", "b")}),
    "template": ("go codapi template=main.go", {"template": "main.go"}),
    "files": ('c codapi files="a.h b.h:c.h"', {"files": ("a.h", "b.h:c.h")}),
    "tail": ("python codapi output-tail", {"tail": "python"}),
    "fails": ("python codapi fails", {"ends": "fails"}),
    "timeout": ("python codapi timeout", {"ends": "timeout"}),
    "skip": ("python codapi skip", {"skip": "skip"}),
    "reason to skip": ('python codapi skip="no network"', {"skip": "no network"}),
}
PROBLEMS = {
    "python codapi comand=test": "no option 'comand', did you mean command?",
    "python codapi command": "option command needs a value: command=…",
    "python codapi fails=1": "option fails has no value",
}


@pytest.mark.parametrize(("info", "fields"), TAGGED.values(), ids=TAGGED)
def test_info_string_gives_the_options(info, fields):
    snippet = only(f"```{info}\ncode\n```\n")
    assert {name: getattr(snippet, name) for name in fields} == fields
    assert snippet.problem == ""


@pytest.mark.parametrize("info", PROBLEMS)
def test_wrong_option_is_a_problem_of_the_snippet(info):
    assert only(f"\n```{info}\ncode\n```\n").problem.startswith(PROBLEMS[info])


@pytest.mark.parametrize("info", ["python", "", "codapi", "text output"])
def test_block_without_the_tag_is_no_snippet(info):
    assert snippets(f"```{info}\ncode\n```\n") == ()


PLACES = {
    "plain": "one\n\n```python codapi\na\n\nb\n```\n",
    "in a list": "- one\n\n  ```python codapi\n  a\n\n  b\n  ```\n",
    "in a quote": "> one\n>\n> ```python codapi\n> a\n>\n> b\n> ```\n",
    "with tildes": "one\n\n~~~ python codapi\na\n\nb\n~~~\n",
    "line ends of Windows": "one\r\n\r\n```python codapi\r\na\r\n\r\nb\r\n```\r\n",
    "front matter": "---\n```: 1\n---\n```python codapi\na\n\nb\n```\n".replace(
        "---\n```", "---\n`", 1
    ),
    "blank lines around": "\n```python codapi\n\na\n\nb\n\n```\n",
}


@pytest.mark.parametrize("page", PLACES.values(), ids=PLACES)
def test_lines_of_code_know_their_place_in_the_page(page):
    lines = page.splitlines()
    first = next(i for i, line in enumerate(lines, 1) if line.strip("> ") == "a")
    code = only(page).code
    assert text_of(code) == "a\n\nb"
    assert [str(line.place) for line in code] == [f"page.md:{first + i}" for i in range(3)]


OUTPUTS = {
    "next block": ("```sh codapi\nx\n```\n\nPrints:\n\n```text output\n1\n2\n```\n", "1\n2", 8),
    "block without language": ("```sh codapi\nx\n```\n```output\n1\n```\n", "1", 5),
    "behind an untagged block": (
        "```sh codapi\nx\n```\n```c\ny\n```\n```output\n1\n```\n",
        "1",
        8,
    ),
    "comments": ("```python codapi\nx\n# 1\n# 2\n```\n", "1\n2", 3),
    "comments below a headline": ("```go codapi\nx\n// not this\n// Output:\n// 1\n```\n", "1", 5),
    "comments of SQL": ("```sql codapi\nx\n-- 1\n```\n", "1", 3),
    "indented comments": ("```python codapi\nif x:\n    y\n    #  1\n```\n", " 1", 4),
    "block before comments": ("```sh codapi\nx\n# 1\n```\n```output\n2\n```\n", "2", 6),
}
NO_OUTPUTS = {
    "nothing": "```sh codapi\nx\n```\n",
    "only comments": "```sh codapi\n# x\n```\n",
    "comment in between": "```sh codapi\n# x\ny\n```\n",
    "refused": "```sh codapi output=none\nx\n# 1\n```\n",
    "block of another snippet": "```sh codapi\nx\n```\n```sh codapi skip\n```\n```output\n2\n```\n",
    "language without known comments": "```brainfuck codapi\nx\n# 1\n```\n",
}


@pytest.mark.parametrize(("page", "text", "line"), OUTPUTS.values(), ids=OUTPUTS)
def test_output_is_the_next_block_or_the_comments_at_the_end(page, text, line):
    expected = snippets(page)[0].expected
    assert (expected.text.rstrip("\n"), expected.line) == (text, line)


@pytest.mark.parametrize("page", NO_OUTPUTS.values(), ids=NO_OUTPUTS)
def test_snippet_without_an_output_expects_none(page):
    assert snippets(page)[0].expected is None


def test_widget_in_markdown_belongs_to_the_block_before_it():
    snippet = only(
        "```python\nprint(1)\n```\n\n"
        '<codapi-snippet sandbox="python" editor="basic" output>\n</codapi-snippet>\n\n'
        "```\n1\n```\n"
    )
    assert [(line.text, line.place.line) for line in snippet.code] == [("print(1)", 2)]
    assert (snippet.line, snippet.expected.text, snippet.expected.line) == (5, "1\n", 9)


def test_widget_in_an_example_of_html_is_no_snippet():
    assert snippets('```html\n<codapi-snippet sandbox="python"></codapi-snippet>\n```\n') == ()


def test_tagged_block_and_widget_share_their_ids():
    page = read_text(
        PAGE,
        "```python codapi id=a\nx = 1\n```\n```python\nprint(x)\n```\n"
        '<codapi-snippet id="b" sandbox="python" depends-on="a"></codapi-snippet>\n',
    )
    assert {id: text_of(code) for id, code in page.elements.items()} == {
        "a": "x = 1",
        "b": "print(x)",
    }


def test_second_block_of_an_id_has_a_problem():
    first, second = snippets("```sh codapi id=a\n1\n```\n```sh codapi id=a\n2\n```\n")
    assert first.problem == ""
    assert second.problem == "a snippet with the id a is in line 2, too"
