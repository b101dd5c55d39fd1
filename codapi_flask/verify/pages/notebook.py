"""Jupyter notebooks (nbformat 4): each cell is a snippet that depends on those before it."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from codapi_flask.verify.pages.options import SEPARATORS
from codapi_flask.verify.pages.tree import Source
from codapi_flask.verify.snippet import (
    Code,
    Expected,
    Line,
    PageError,
    Place,
    Slot,
    Snippet,
    text_of,
)

MAGIC = re.compile(r"^\s*[%!?]|^\s*\w[\w.]*\?\s*$", re.MULTILINE)
"""What only IPython understands."""

SHOW = b"__import__('sys').displayhook("
"""What prints the value of an expression as the interactive interpreter does."""

SYNTAXES = {"bash": "shell", "sh": "shell"}
"""Sandboxes with another name than their syntax has for the widget."""

BLANK = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()


def snippets(source: Source) -> Iterator[Snippet]:
    """Yield the snippets of a notebook.

    Raises:
        PageError: it is no notebook.
    """
    try:
        notebook = json.loads(source.text)
        cells = list(zip(notebook["cells"], _spans(source.text, "cells"), strict=True))
        language = _language(notebook.get("metadata", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PageError(f"no notebook of nbformat 4: {error}") from error
    before: tuple[str, ...] = ()
    for number, (cell, at) in enumerate(cells, 1):
        if cell.get("cell_type") == "code" and _joined(cell.get("source")).strip():
            found = _snippet(source, cell, at, f"cell-{number}", language, before)
            yield found
            if not found.skip and found.ends == "ok":
                before += (found.id,)


def _language(metadata: Mapping[str, Any]) -> str:
    kernel, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
    return str(info.get("name") or kernel.get("language") or "python").lower()


def _snippet(
    source: Source, cell: Any, at: int, id: str, language: str, before: tuple[str, ...]
) -> Snippet:
    metadata = cell.get("metadata", {})
    options, tags = dict(metadata.get("codapi", {})), metadata.get("tags", [])
    sandbox = str(options.get("sandbox", language))
    code = _code(source, cell, at)
    outputs = cell.get("outputs", [])
    is_error = any(output.get("output_type") == "error" for output in outputs)
    tail = SYNTAXES.get(sandbox, sandbox) if before else ""
    # without a separator its output cannot be told from that of the cells before
    has_output = not is_error and cell.get("execution_count") and (not before or tail in SEPARATORS)
    skip = "skip" if {"skip", "codapi-skip"} & set(tags) or options.get("skip") else ""
    if MAGIC.search(text_of(code)):
        skip = "a command of IPython"
    return Snippet(
        source.path,
        source.line_of(at),
        sandbox,
        _shown(code) if sandbox == "python" else code,
        id,
        version=str(options.get("version", "")),
        command=str(options.get("command", "run")),
        depends_on=before,
        tail=tail if tail in SEPARATORS else "",
        ends="fails" if is_error or "raises-exception" in tags else "ok",
        skip=skip,
        # a cell that never ran has none
        expected=_expected(source, cell, at) if has_output else None,
    )


def _code(source: Source, cell: Any, at: int) -> Code:
    """Return a cell's lines; in the file each has a line of its own, as Jupyter writes it."""
    lines = _joined(cell["source"]).rstrip("\n").split("\n")
    start = _member(source.text, at, "source")
    first = source.line_of(_value(source.text, start))
    is_list = isinstance(cell["source"], list) and source.line_of(_end(source.text, start)) > first
    return tuple(
        Line(line, Place(source.path, first + 1 + i if is_list else first))
        for i, line in enumerate(lines)
    )


def _shown(code: Code) -> Code:
    """Return a cell of Python that prints the value of its last line, as Jupyter does."""
    try:
        last = ast.parse(text_of(code)).body[-1]
    except (SyntaxError, ValueError, IndexError):
        return code
    if not isinstance(last, ast.Expr) or code[-1].text.rstrip().endswith(";"):
        return code
    lines = [line.text.encode() for line in code]
    end = (last.end_lineno or 1) - 1, last.end_col_offset or 0
    for (row, column), text in ((end, b")"), ((last.lineno - 1, last.col_offset), SHOW)):
        lines[row] = lines[row][:column] + text + lines[row][column:]
    return tuple(old._replace(text=new.decode()) for old, new in zip(code, lines, strict=True))


def _expected(source: Source, cell: Any, at: int) -> Expected | None:
    texts = [_text(output) for output in cell["outputs"]]
    if None in texts:
        return None
    start = _member(source.text, at, "outputs")
    begin, end = _value(source.text, start), _end(source.text, start)
    line = source.line_of(begin)
    written = source.line(line)
    indent = written[: len(written) - len(written.lstrip())]

    def write(output: str) -> str:
        changed = json.dumps(_written(cell["outputs"], output), indent=1, ensure_ascii=False)
        return changed.replace("\n", f"{source.end}{indent}")

    return Expected("".join(filter(None, texts)), line, Slot(begin, end, write))


def _text(output: Any) -> str | None:
    """Return the text of an output on stdout, empty for stderr, `None` for what is no text."""
    if output.get("output_type") == "stream":
        return _joined(output.get("text")) if output.get("name") == "stdout" else ""
    text = output.get("data", {}).get("text/plain")
    if output.get("output_type") != "execute_result" or text is None:
        return None
    return _joined(text) + "\n"


def _written(outputs: Any, output: str) -> Any:
    """Return the outputs with another text; a single one keeps its form."""
    lines = f"{output.rstrip()}\n".splitlines(keepends=True)
    if not output.strip():
        return []
    if len(outputs) != 1:
        return [{"name": "stdout", "output_type": "stream", "text": lines}]
    [changed] = copy.deepcopy(outputs)
    if changed["output_type"] == "stream":
        changed |= {"name": "stdout", "text": lines}
    else:
        # what else the value looked like is out of date
        changed["data"] = {"text/plain": [*lines[:-1], lines[-1].rstrip("\n")]}
    return [changed]


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text or "")


def _spans(text: str, key: str) -> list[int]:
    """Return the offsets of the items of the list that a key of the notebook has."""
    at, found = _value(text, _member(text, _blank(text, 0), key)) + 1, []
    while text[at := _blank(text, at)] != "]":
        found.append(at)
        _, at = DECODER.raw_decode(text, at)
        at = _blank(text, at)
        at += text[at] == ","
    return found


def _member(text: str, at: int, key: str) -> int:
    """Return the offset of a key in the object at an offset.

    Raises:
        KeyError: it has no such key.
    """
    at += 1
    while text[at := _blank(text, at)] != "}":
        name, _ = DECODER.raw_decode(text, at)
        if name == key:
            return at
        at = _blank(text, _end(text, at))
        at += text[at] == ","
    raise KeyError(key)


def _value(text: str, at: int) -> int:
    """Return the offset of the value of a key at an offset."""
    _, behind = DECODER.raw_decode(text, at)
    return _blank(text, _blank(text, behind) + 1)


def _end(text: str, at: int) -> int:
    _, end = DECODER.raw_decode(text, _value(text, at))
    return end


def _blank(text: str, at: int) -> int:
    found = BLANK.match(text, at)
    return found.end() if found else at
