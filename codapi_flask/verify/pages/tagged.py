"""Blocks of code that their page tags as snippets, with the output that follows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from codapi_flask.verify.pages.options import options, snippet, words
from codapi_flask.verify.pages.tree import Element, Source
from codapi_flask.verify.snippet import Code, Expected, PageError, Snippet, trimmed

TAG, OUTPUT = "codapi", "output"

COMMENTS = {
    "#": "python plot sh bash shell zsh fish ruby perl r elixir julia nim tcl awk make powershell",
    "//": "c cpp c++ go rust java kotlin scala swift javascript js typescript ts php zig d dart"
    " csharp fsharp pascal v groovy",
    "--": "sql postgres postgresql sqlite mariadb mysql duckdb lua haskell ada",
    ";": "lisp scheme clojure racket",
    "%": "erlang prolog octave matlab",
    "!": "fortran",
}
"""What begins a comment, and the languages that have it."""

MARKS = {name: mark for mark, names in COMMENTS.items() for name in names.split()}
HEADLINE = re.compile(r"(expected |unordered )?(output|prints|result):", re.IGNORECASE)


def is_snippet(element: Element) -> bool:
    """Whether the page tags a block as a snippet."""
    return TAG in words(element.info)[1:]


def is_output(element: Element) -> bool:
    """Whether the page tags a block as an output."""
    return OUTPUT in words(element.info) and not is_snippet(element)


def tagged(root: Element, source: Source) -> Iterator[tuple[Element, Snippet]]:
    """Yield the tagged snippets below an element, each with its block, in the page's order."""
    blocks = [element for element in root.walk() if element.info]
    marked = [block for block in blocks if is_snippet(block) or is_output(block)]
    for block, follower in pairwise([*marked, None]):
        if block and is_snippet(block):
            output = follower if follower and is_output(follower) else None
            yield block, _read(block, output, source)


def expected_of(element: Element) -> Expected | None:
    """Return the output that an element shows."""
    if not element.slot:
        return None
    lines = element.text().replace("\r\n", "\n").split("\n")
    blank = next((i for i, line in enumerate(lines) if line.strip()), 0)
    first = next((text.line for text in element.texts()), element.line)
    return Expected("\n".join(lines), first + blank, element.slot)


def _read(block: Element, output: Element | None, source: Source) -> Snippet:
    language, *given = words(block.info)
    code = block.code(source.path)
    try:
        found = options([word for word in given if word != TAG])
    except PageError as error:
        return Snippet(source.path, block.line, language, problem=str(error))
    expected = expected_of(output) if output else _commented(code, language, source)
    if found.get("output") == "none":
        expected = None
    return snippet(source.path, block.line, {"sandbox": language, **found}, code, expected)


def _commented(code: Code, language: str, source: Source) -> Expected | None:
    """Return the output in the comment lines at a block's end."""
    mark, lines = MARKS.get(language, ""), trimmed(code)
    is_comment = [bool(mark) and line.text.lstrip().startswith(mark) for line in lines]
    if all(is_comment) or not is_comment[-1]:
        return None
    first = len(lines) - is_comment[::-1].index(False)
    shown = [line.text.lstrip().removeprefix(mark).removeprefix(" ") for line in lines]
    heads = [i for i in range(first, len(lines)) if HEADLINE.fullmatch(shown[i].strip())]
    if heads:
        first = heads[-1] + 1
    here, last = (lines[first].place if first < len(lines) else None), lines[-1].place
    if not here or not last or here.path != source.path:
        return None
    written = source.line(here.line)
    prefix = f"{written[: written.index(mark)]}{mark} "
    slot = source.slot(here.line, last.line, prefix)
    return Expected("\n".join(shown[first:]), here.line, slot)
