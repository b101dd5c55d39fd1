from pathlib import Path

import pytest

from codapi_flask.verify.pages.read import read, read_text
from codapi_flask.verify.snippet import text_of

PAGES = {
    "comment": ".. codapi:\n\n.. code-block:: python\n\n   print(1)\n",
    "class": ".. code-block:: python\n   :class: codapi\n\n   print(1)\n",
    "sandbox": ".. code-block:: py\n   :sandbox: python\n\n   print(1)\n",
    "other options": ".. code-block:: python\n   :linenos:\n   :class: a codapi\n\n   print(1)\n",
    "code": ".. codapi:\n.. code:: python\n\n  print(1)\n",
    "in a list": "* one\n\n  .. codapi:\n\n  .. sourcecode:: python\n\n     print(1)\n\n* two\n",
    "line ends of Windows": ".. codapi:\r\n\r\n.. code:: python\r\n\r\n   print(1)\r\n",
    "HTML": ".. code:: python\n\n   print(1)\n\n.. raw:: html\n\n   "
    '<codapi-snippet sandbox="python"></codapi-snippet>\n',
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_block_of_code_is_a_snippet_where_the_page_says_it(page):
    [snippet] = read_text(Path("a.rst"), page).snippets
    line = page[: page.index("print")].count("\n") + 1
    assert (snippet.sandbox, snippet.problem) == ("python", "")
    assert [(line.text, line.place.line) for line in snippet.code] == [("print(1)", line)]


NONE = {
    "plain block": ".. code-block:: python\n\n   print(1)\n",
    "literal block": "So::\n\n   .. codapi:\n\n   .. code:: python\n\n      print(1)\n",
    "text in between": ".. codapi:\n\nSo:\n\n.. code:: python\n\n   print(1)\n",
}


@pytest.mark.parametrize("page", NONE.values(), ids=NONE)
def test_other_block_is_no_snippet(page):
    assert read_text(Path("a.rst"), page).snippets == ()


def test_options_stand_in_the_comment_or_in_the_directive():
    first, second = read_text(
        Path("a.rst"),
        ".. codapi: id=a fails\n\n.. code:: python\n\n   x\n\n"
        ".. code:: python\n   :class: codapi\n   :command: test\n   :depends-on: a b\n\n   y\n",
    ).snippets
    assert (first.id, first.ends) == ("a", "fails")
    assert (second.command, second.depends_on) == ("test", ("a", "b"))


OUTPUTS = {
    "lexer": ".. code:: output\n\n   1\n     2\n",
    "class": ".. code:: text\n   :class: output\n\n   1\n     2\n",
    "comment": ".. codapi: output\n\n.. code:: text\n\n   1\n     2\n",
    "literal block": ".. codapi: output\n\n::\n\n   1\n     2\n",
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_output_is_the_next_block(output):
    page = f".. codapi:\n\n.. code:: python\n\n   print(1)\n\nPrints:\n\n{output}\nText.\n"
    [snippet] = read_text(Path("a.rst"), page).snippets
    assert snippet.expected.text == "1\n  2"


def test_coderun_includes_a_file(tmp_path):
    (tmp_path / "conf.py").write_text("import os\ncoderun_sandbox = 'python'\n")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text("one\ntwo\nthree\nfour\n")
    page = tmp_path / "a.rst"
    page.write_text(
        ".. coderun:: code/a.py\n\n"
        ".. coderun:: /code/a.py\n   :language: python\n   :sandbox: sh\n   :lines: 1,3-\n"
    )
    first, second = read(page).snippets
    assert (first.sandbox, text_of(first.code), first.line) == (
        "python",
        "one\ntwo\nthree\nfour",
        1,
    )
    assert (second.sandbox, text_of(second.code)) == ("sh", "one\nthree\nfour")
    assert str(second.code[1].place) == f"{tmp_path}/code/a.py:3"


@pytest.mark.parametrize("name", ["missing.c", "../outside.c"])
def test_coderun_of_a_file_that_cannot_be_read_is_a_problem(tmp_path, name):
    (tmp_path / "outside.c").write_text("x")
    page = tmp_path / "docs/a.rst"
    page.parent.mkdir()
    page.write_text(f".. coderun:: {name}\n")
    [snippet] = read(page).snippets
    assert snippet.problem.startswith(f"coderun:: {name}: ")
