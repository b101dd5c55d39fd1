import json
from pathlib import Path

import pytest

from codapi_flask.verify.pages.read import read_text
from codapi_flask.verify.run import Runner
from codapi_flask.verify.update import update
from tests.support.target import EchoTarget, answer

NOTEBOOK = """{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": 1,
   "metadata": {},
   "outputs": [
    {
     "output_type": "stream",
     "name": "stdout",
     "text": [
      "old\\n"
     ]
    }
   ],
   "source": [
    "one\\n",
    "two = 'ä'"
   ]
  }
 ],
 "metadata": {"language_info": {"name":   "python"}}
}"""

WIDGET = '<codapi-snippet sandbox="sh" output></codapi-snippet>'

# a page, and what becomes of OLD, the output that it shows, when two lines are printed
PAGES = {
    "block": ("a.md", "```sh codapi\nx\n```\ntext  \n```output\nOLD\n```\nend", "a\n  b"),
    "empty block": ("a.md", "```sh codapi\nx\n```\n```output\n```\nend", None),
    "in a list": ("a.md", "- ```sh codapi\n  x\n  ```\n\n  ```output\n  OLD\n  ```\n", "a\n    b"),
    "in a numbered list": (
        "a.md",
        "1. ```sh codapi\n   x\n   ```\n2. ```output\n   OLD\n   ```\n",
        "a\n     b",
    ),
    "in a quote": (
        "a.md",
        "> ```sh codapi\n> x\n> ```\n>\n> ```output\n> OLD\n> ```\n",
        "a\n>   b",
    ),
    "comments": ("a.md", "```sh codapi\nx\n# OLD\n```\n", "a\n#   b"),
    "indented comments": ("a.md", "```c codapi\nx\n  // Output:\n  // OLD\n```\n", "a\n  //   b"),
    "line ends of Windows": (
        "a.md",
        "```sh codapi\r\nx\r\n```\r\n```output\r\nOLD\r\n```\r\n",
        "a\r\n  b",
    ),
    "no line end": ("a.md", "```sh codapi\nx\n```\n```output\nOLD\n```", "a\n  b"),
    "HTML with line ends of Windows": (
        "a.html",
        f"<pre>x</pre>\r\n{WIDGET}\r\n<pre>\r\nOLD\r\n</pre>\r\n",
        "a\r\n  b",
    ),
    "HTML": ("a.html", f"<pre>x</pre>\n{WIDGET}<pre><code>\nOLD\n</code></pre >", "a\n  b"),
    "widget with a block": ("a.md", f"```sh\nx\n```\n\n{WIDGET}\n\n```\nOLD\n```\n", "a\n  b"),
    "rst": (
        "a.rst",
        ".. codapi:\n\n.. code:: sh\n\n x\n\n.. code:: output\n\n  OLD\n\nend\n",
        "a\n    b",
    ),
}


def updated(name, text, respond):
    page = read_text(Path(name), text)
    return update(page, Runner(EchoTarget(respond), Path()).run([page]))


@pytest.mark.parametrize(("name", "page", "new"), PAGES.values(), ids=PAGES)
def test_output_is_written_and_nothing_else_changes(name, page, new):
    text, [result] = updated(name, page.replace("OLD", "old"), lambda code: answer("a\n  b\n"))
    if new is None:
        assert text == page.replace("```output\n", "```output\na\n  b\n")
    else:
        assert text == page.replace("OLD", new)
    assert (result.verdict, result.text) == ("passed", "updated")


def test_output_in_a_notebook_is_written_and_nothing_else_changes():
    text, _ = updated("a.ipynb", NOTEBOOK, lambda code: answer('"ü"\n2\n'))
    new = '      "\\"ü\\"\\n",\n      "2\\n"\n'
    assert text == NOTEBOOK.replace('      "old\\n"\n', new)


def test_value_in_a_notebook_stays_a_value():
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "source": "x",
        "outputs": [{"output_type": "execute_result", "data": {"text/plain": ["1"]}}],
    }
    text, _ = updated("a.ipynb", json.dumps({"cells": [cell]}), lambda code: answer("2\n"))
    [output] = json.loads(text)["cells"][0]["outputs"]
    assert output == {"output_type": "execute_result", "data": {"text/plain": ["2"]}}


PARAGRAPHS = {
    "HTML in a list": (f"- <pre>x</pre>\n  {WIDGET}<pre>old</pre>\n", "a\n  b"),
    "HTML within a line": (f"a `<i>` <i>x</i> {WIDGET} <i>old</i> b\n", "a\nb"),
}


@pytest.mark.parametrize(("page", "new"), PARAGRAPHS.values(), ids=PARAGRAPHS)
def test_output_in_a_paragraph_is_written(page, new):
    text, _ = updated("a.md", page, lambda code: answer("a\nb"))
    assert text == page.replace("old", new)


def test_output_in_html_is_escaped():
    page = f"<pre>x</pre>{WIDGET}<pre>old</pre>"
    text, _ = updated("a.html", page, lambda code: answer("1 < 2 & 'x'"))
    assert text == page.replace("old", "1 &lt; 2 &amp; 'x'")


def test_wildcards_that_fit_stay():
    page = "```sh codapi\nx\n```\n```output\ntook … s\nold\n```\n"
    text, _ = updated("a.md", page, lambda code: answer("took 3 s\nnew"))
    assert text == page.replace("old", "new")


def test_several_outputs_of_a_page_are_written():
    page = "".join(f"```sh codapi\n{i}\n```\n```output\nold\n```\n" for i in range(5))
    text, results = updated("a.md", page, lambda code: answer(f"{code}\n" * int(code)))
    outputs = [f"{i}\n" * i for i in range(5)]
    wanted = [f"```sh codapi\n{i}\n```\n```output\n{outputs[i]}```\n" for i in range(5)]
    assert text == "".join(wanted)
    assert [result.verdict for result in results] == ["passed"] * 5


REFUSED = {
    "fence in the output": ("a.md", "```sh codapi\nx\n```\n```output\nold\n```\n", "```"),
    "indentation in a paragraph": ("a.md", f"<i>x</i> {WIDGET} <i>old</i>\n", "a\n  b"),
    "blank line in HTML": (
        "a.md",
        f"<p>x</p>\n{WIDGET}\n<p>old</p>\n",
        "a\n\n```sh codapi\nx\n```",
    ),
}


@pytest.mark.parametrize(("name", "page", "output"), REFUSED.values(), ids=REFUSED)
def test_output_that_cannot_stand_there_is_not_written(name, page, output):
    text, results = updated(name, page, lambda code: answer(output))
    assert text == page
    assert results[0].verdict == "failed"
    assert results[0].text.startswith("the output cannot be written into the page: ")


STAYS = {
    "right output": ("```sh codapi\nx\n```\n```output\n…\n```\n", answer("a")),
    "program that fails": ("```sh codapi\nx\n```\n```output\na\n```\n", answer(reason="exit")),
    "no output expected": ("```sh codapi\nx\n```\n", answer("a")),
    "skipped": ("```sh codapi skip\nx\n```\n```output\nb\n```\n", answer("a")),
}


@pytest.mark.parametrize(("page", "given"), STAYS.values(), ids=STAYS)
def test_other_pages_stay_as_they_are(page, given):
    text, _ = updated("a.md", page, lambda code: given)
    assert text == page
