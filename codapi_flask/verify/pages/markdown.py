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
            self._tree.open("code", self._line)
            self._tree.add(token.content, self._line)
            self._tree.close("code")
        elif token.type == "text":
            self._tree.add(token.content, self._line)
        else:
            self._tree.open(token.tag or "span", self._line)
            self._tree.close(token.tag or "span")

    def _fence(self, token: Token) -> None:
        first = (token.map or [0])[0]
        opening = self._source.line(first + 1)
        prefix = opening[: max(opening.find(token.markup), 0)]
        # a list's bullet stands before the first line only
        prefix = re.sub(r"[^>\s]", " ", prefix)
        last = first + 1 + token.content.count("\n")
        slot = self._source.slot(first + 2, last, prefix, token.markup[:3])
        self._tree.block(token.content, first + 2, token.info.strip(), slot)

    def _html(self, content: str) -> None:
        starts, prefix = [], ""
        for i, text in enumerate(content.split("\n")):
            # Markdown takes the indentation of lists and the marks of quotes off
            written = self._source.line(self._line + i)
            at = max(written.find(text), 0) if text else len(written)
            starts.append(self._source.start(self._line + i) + at)
            if not i:
                prefix = re.sub(r"[^>\s]", " ", written[:at])
        self._tree.html(content, self._line, starts, prefix)
        self._line += content.rstrip("\n").count("\n")
