"""Markdown, as CommonMark and GitHub have it, with the HTML in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codapi_flask.verify.pages.tree import Source, Tree
from codapi_flask.verify.snippet import PageError

if TYPE_CHECKING:
    from markdown_it.token import Token

FRONT_MATTER = re.compile(r"---\r?\n.*?^---\r?\n", re.DOTALL | re.MULTILINE)

CONTAINERS = re.compile(r"(?:\s*(?:>|[-*+](?=\s)|\d{1,9}[.)](?=\s)))*\s*")
"""The marks of quotes and lists that a line begins with."""


def read(source: Source, tree: Tree) -> None:
    """Read a page into a tree.

    Raises:
        PageError: markdown-it-py is not installed.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        raise PageError('Markdown needs a package: pip install "codapi_flask[verify]"') from None
    text = source.text.replace("\r\n", "\n").removeprefix("\ufeff")
    # blank lines in its place: the others keep their numbers
    front = FRONT_MATTER.match(text)
    if front:
        text = "\n" * front[0].count("\n") + text[front.end() :]
    _Reader(source, tree).read(MarkdownIt("commonmark").enable("table").parse(text))


class _Reader:
    def __init__(self, source: Source, tree: Tree) -> None:
        self._source, self._tree, self._line = source, tree, 1
        # inline texts before it have been read
        self._offset = 0

    def read(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            if token.map:
                self._line = token.map[0] + 1
            if token.type == "fence":
                self._fence(token)
            elif token.type == "code_block":
                # it has no info: nothing can be written into it
                self._tree.open("pre", self._line)
                self._tree.open("code", self._line).slot = None
                self._tree.add(token.content, self._line)
                self._tree.close("pre")
            elif token.type in ("html_block", "html_inline"):
                self._html(token.content)
            else:
                self._other(token)

    def _other(self, token: Token) -> None:
        if token.type == "inline":
            self.read(token.children or [])
        elif token.nesting == 1:
            self._tree.open(token.tag, self._line)
        elif token.nesting == -1:
            self._tree.close(token.tag)
        elif token.type in ("softbreak", "hardbreak"):
            self._tree.add("\n", self._line)
            self._line += 1
        elif token.type == "code_inline":
            self._pass(token.content, self._line)
            self._tree.open("code", self._line)
            self._tree.add(token.content, self._line)
            self._tree.close("code")
        elif token.type == "text":
            self._pass(token.content, self._line)
            self._tree.add(token.content, self._line)
        else:
            self._tree.open(token.tag or "span", self._line)
            self._tree.close(token.tag or "span")

    def _fence(self, token: Token) -> None:
        first = (token.map or [0])[0]
        prefix = self._prefix(first + 1)
        last = first + 1 + token.content.count("\n")
        slot = self._source.slot(first + 2, last, prefix, token.markup[:3])
        self._tree.block(token.content, first + 2, token.info.strip(), slot)

    def _html(self, content: str) -> None:
        starts = []
        for i, text in enumerate(content.split("\n")):
            # Markdown takes the indentation of lists and the marks of quotes off
            starts.append(self._pass(text, self._line + i))
        self._tree.html(content, self._line, starts, self._prefix(self._line))
        self._line += content.rstrip("\n").count("\n")

    def _pass(self, text: str, line: int) -> int:
        """Return the offset of a text that stands in a line, and go behind it."""
        begin, end = self._source.start(line), self._source.start(line + 1)
        at = self._source.text.find(text, max(begin, self._offset), end)
        if at < 0 or not text:
            return min(max(begin, self._offset), end)
        self._offset = at + len(text)
        return at

    def _prefix(self, line: int) -> str:
        """Return what precedes the lines that follow a line in the same block."""
        found = CONTAINERS.match(self._source.line(line))
        # a list's bullet stands before the first line only
        return re.sub(r"[^>\s]", " ", found[0] if found else "")
