import json
from pathlib import Path

import pytest

from codapi_flask.verify.pages.read import read_text
from codapi_flask.verify.snippet import text_of


def stream(text, name="stdout"):
    return {"name": name, "output_type": "stream", "text": text}


def value(text):
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}}


def cell(source, *outputs, count=1, **metadata):
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source.splitlines(keepends=True),
    }


def snippets(*cells, language="python", indent=1):
    text = {"cells": cells, "metadata": {"language_info": {"name": language}}, "nbformat": 4}
    return read_text(Path("a.ipynb"), json.dumps(text, indent=indent)).snippets


def test_cell_depends_on_those_before_it():
    a, b, c = snippets(cell("x = 1"), cell("y = 2"), cell("z = 3"))
    assert (a.depends_on, b.depends_on, c.depends_on) == ((), (a.id,), (a.id, b.id))
    assert (a.sandbox, a.tail, c.tail) == ("python", "", "python")


def test_text_and_empty_cells_are_no_snippets():
    assert snippets({"cell_type": "markdown", "source": "x"}, cell("\n")) == ()


EXPECTED = {
    "stdout": (cell("x", stream(["a\n", "b\n"])), "a\nb\n"),
    "value": (cell("x", value(["1"])), "1\n"),
    "both": (cell("x", stream("a\n"), value("1")), "a\n1\n"),
    "nothing printed": (cell("x"), ""),
    "stderr does not count": (cell("x", stream("a", "stderr"), stream("b")), "b"),
    "never run": (cell("x", count=None), None),
    "image": (cell("x", {"output_type": "display_data", "data": {"image/png": "…"}}), None),
}


@pytest.mark.parametrize(("given", "text"), EXPECTED.values(), ids=EXPECTED)
def test_output_is_what_the_cell_printed(given, text):
    [snippet] = snippets(given)
    assert (snippet.expected and snippet.expected.text) == text


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ("x = 1\nx + 1", "x = 1\n__import__('sys').displayhook(x + 1)"),
        ("f(\n 'ä')  # c", "__import__('sys').displayhook(f(\n 'ä'))  # c"),
        ("x = 1", "x = 1"),
        ("x;", "x;"),
        ("is not python", "is not python"),
    ],
)
def test_value_of_the_last_line_is_printed(source, sent):
    [snippet] = snippets(cell(source))
    assert text_of(snippet.code) == sent


def test_lines_are_those_of_the_file():
    given = cell("a\n\nb\n")
    text = json.dumps({"cells": [given], "metadata": {}}, indent=1)
    [snippet] = read_text(Path("a.ipynb"), text).snippets
    lines = [i for i, line in enumerate(text.splitlines(), 1) if line.startswith('    "')]
    assert [line.place.line for line in snippet.code] == lines


def test_notebook_in_one_line_is_read():
    first, second = snippets(cell("a"), cell("b\nc", stream("d")), indent=None)
    assert (first.line, second.expected.text) == (1, "d")


ENDS = {
    "error": (cell("x", {"output_type": "error", "ename": "E", "traceback": []}), "fails", ""),
    "tag": (cell("x", tags=["raises-exception"]), "fails", ""),
    "skip": (cell("x", tags=["skip"]), "ok", "skip"),
    "magic": (cell("%matplotlib inline\nx"), "ok", "a command of IPython"),
    "shell": (cell("!ls"), "ok", "a command of IPython"),
}


@pytest.mark.parametrize(("given", "ends", "skip"), ENDS.values(), ids=ENDS)
def test_cell_that_fails_or_cannot_run_is_none_to_depend_on(given, ends, skip):
    first, second = snippets(given, cell("y"))
    assert (first.ends, first.skip, second.depends_on) == (ends, skip, ())


def test_metadata_names_sandbox_version_and_command():
    [snippet] = snippets(cell("x", codapi={"sandbox": "go", "version": "1", "command": "test"}))
    assert (snippet.sandbox, snippet.version, snippet.command) == ("go", "1", "test")


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 1}', '{"worksheets": []}'])
def test_file_that_is_no_notebook_is_a_problem(text):
    [snippet] = read_text(Path("a.ipynb"), text).snippets
    assert snippet.problem.startswith("no notebook of nbformat 4: ")
