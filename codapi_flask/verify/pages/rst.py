"""reStructuredText: its blocks of code, the HTML in it, and the directive of sphinxcontrib-coderun.

A reader of its own, since docutils renders what is around, too. It knows the directives that hold
code and raw HTML, their options, and comments; everything else is text.
"""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from codapi_flask.verify.pages.options import NAMES
from codapi_flask.verify.pages.tree import Source, Tree
from codapi_flask.verify.snippet import Code, PageError, code_of, text_of

DIRECTIVE = re.compile(r"(?P<indent>[ \t]*)\.\. (?P<name>[\w:-]+)::(?:[ \t]+(?P<argument>.*))?$")
COMMENT = re.compile(r"[ \t]*\.\. codapi:(?P<words>.*)$")
OPTION = re.compile(r"[ \t]+:(?P<name>[\w-]+):(?:[ \t]+(?P<value>.*))?$")
LITERAL = re.compile(r"(?P<indent>[ \t]*)(?!\.\. ).*::$")

CODE = frozenset({"code-block", "code", "sourcecode"})
CODERUN = "coderun"
DEFAULT_SANDBOX = "gcc"
"""The sandbox of sphinxcontrib-coderun where conf.py names none."""


class _Directive(NamedTuple):
    """A directive: its options, and the lines of its content, counted from 1."""

    argument: str
    options: dict[str, str]
    first: int
    last: int
    prefix: str


def read(source: Source, tree: Tree) -> None:
    """Read a page into a tree.

    Raises:
        PageError: the file of a directive cannot be read.
    """
    _Reader(source, tree).read()


class _Reader:
    def __init__(self, source: Source, tree: Tree) -> None:
        self._source, self._tree = source, tree
        self._count = source.text.count("\n") + 1
        # the words of the comment that stands before a block
        self._words: str | None = None

    def read(self) -> None:
        number = 1
        while number <= self._count:
            number = self._next(number)

    def _next(self, number: int) -> int:
        """Read what begins at a line; return the line after it."""
        line = self._source.line(number)
        if comment := COMMENT.match(line):
            self._words = comment["words"]
            return number + 1
        directive = DIRECTIVE.match(line)
        if directive and directive["name"] in (*CODE, CODERUN, "raw"):
            found = self._directive(number, directive)
            self._read(directive["name"], found, number)
            self._words = None
            return max(found.last, number) + 1
        if (literal := LITERAL.match(line)) and not directive:
            found = self._content(number + 1, len(literal["indent"]), "", {})
            self._text(line, number)
            if found.last >= found.first:
                self._block(found, "")
            self._words = None
            return max(found.last, number) + 1
        if line.strip():
            self._text(line, number)
            self._words = None
        return number + 1

    def _text(self, line: str, number: int) -> None:
        self._tree.open("p", number)
        self._tree.add(line, number)
        self._tree.close("p")

    def _directive(self, number: int, match: re.Match[str]) -> _Directive:
        options: dict[str, str] = {}
        at = number + 1
        while at <= self._count and (option := OPTION.match(self._source.line(at))):
            options[option["name"]] = (option["value"] or "").strip()
            at += 1
        return self._content(at, len(match["indent"]), (match["argument"] or "").strip(), options)

    def _content(self, at: int, indent: int, argument: str, options: dict[str, str]) -> _Directive:
        """Return the lines from `at` on that are indented further, without blanks around."""
        numbers = []
        for number in range(at, self._count + 1):
            line = self._source.line(number)
            if line.strip() and len(line) - len(line.lstrip()) <= indent:
                break
            numbers.append(number)
        full = [number for number in numbers if self._source.line(number).strip()]
        if not full:
            return _Directive(argument, options, at, at - 1, "")
        lines = [self._source.line(number) for number in full]
        prefix = min((line[: len(line) - len(line.lstrip())] for line in lines), key=len)
        return _Directive(argument, options, full[0], full[-1], prefix)

    def _read(self, name: str, found: _Directive, number: int) -> None:
        if name == "raw":
            self._raw(found)
        elif name == CODERUN:
            self._coderun(found, number)
        elif found.last >= found.first:
            self._block(found, found.argument)

    def _block(self, found: _Directive, language: str) -> None:
        classes = found.options.get("class", "").split()
        words = self._words
        own = [_word(name, value) for name, value in found.options.items() if name in NAMES]
        is_snippet = words is not None or "codapi" in classes or "sandbox" in found.options
        if (words is not None and words.split() == ["output"]) or "output" in classes:
            info = "output"
        elif is_snippet:
            info = " ".join([language or "text", "codapi", words or "", *own])
        else:
            info = language
        slot = self._source.slot(found.first, found.last, found.prefix)
        self._tree.block(self._lines(found), found.first, info.strip(), slot)

    def _raw(self, found: _Directive) -> None:
        if found.argument == "html":
            starts = [
                min(self._source.start(number) + len(found.prefix), self._source.start(number + 1))
                for number in range(found.first, found.last + 1)
            ]
            self._tree.html(self._lines(found), found.first, starts, found.prefix)

    def _lines(self, found: _Directive) -> str:
        lines = (self._source.line(number) for number in range(found.first, found.last + 1))
        return "\n".join(line[len(found.prefix) :] for line in lines)

    def _coderun(self, found: _Directive, number: int) -> None:
        options = {name: value for name, value in found.options.items() if name in NAMES}
        top = _top(self._source.path.parent.resolve())
        options.setdefault("sandbox", _default_sandbox(top / "conf.py"))
        code = _included(self._source.path, top, found)
        words = [_word(name, value) for name, value in options.items()]
        info = " ".join(["text", "codapi", *words, self._words or ""]).strip()
        block = self._tree.block(text_of(code), number, info, None)
        block.included = code


def _word(name: str, value: str) -> str:
    """Return an option as a word of an info string."""
    return shlex.quote(f"{name}={value}" if value else name)


def _top(directory: Path) -> Path:
    """Return the directory of Sphinx's sources, the one that has conf.py."""
    return next((d for d in (directory, *directory.parents) if (d / "conf.py").exists()), directory)


def _default_sandbox(conf: Path) -> str:
    """Return the sandbox that Sphinx's conf.py names, which is not executed for it."""
    try:
        nodes = ast.walk(ast.parse(conf.read_text()))
    except (OSError, ValueError, SyntaxError):
        return DEFAULT_SANDBOX
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if "coderun_sandbox" in names:
                return str(node.value.value)
    return DEFAULT_SANDBOX


def _included(page: Path, top: Path, found: _Directive) -> Code:
    name = found.argument
    path = top / name[1:] if name.startswith("/") else page.parent / name
    if not any(path.resolve().is_relative_to(d) for d in (top, Path.cwd())):
        raise PageError(f"{CODERUN}:: {name}: the file is outside of {top}")
    try:
        code = code_of(path.read_text().rstrip("\n"), path, 1)
    except (OSError, UnicodeDecodeError) as error:
        raise PageError(f"{CODERUN}:: {name}: {error}") from error
    chosen = found.options.get("lines", "")
    if not chosen:
        return code
    numbers = [number for part in chosen.split(",") for number in _numbers(part, len(code))]
    return tuple(code[number - 1] for number in numbers if 0 < number <= len(code))


def _numbers(part: str, count: int) -> range:
    """Return the line numbers of a part of `:lines:`, such as `3` and `5-`."""
    first, dash, last = part.strip().partition("-")
    begin = int(first or 1)
    return range(begin, int(last or count) + 1 if dash else begin + 1)
