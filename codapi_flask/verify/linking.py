"""From a snippet to a request: with the snippets it depends on, its template and its files.

Each is found as the widget finds it (@antonz/codapi, src/executor.js and src/snippet.js).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codapi_flask.verify.pages.options import RULE, SEPARATORS
from codapi_flask.verify.snippet import (
    Code,
    Line,
    Page,
    PageError,
    Snippet,
    code_of,
    text_of,
    trimmed,
)

PLACEHOLDER = "##CODE##"
"""What stands in a template for the code."""

PUBLIC = ("", "static", "public")
"""Directories that generators of sites serve as the site's root."""


@dataclass(frozen=True)
class Linked:
    """A snippet that can be executed: the request, and the lines of its files.

    `lines` has the code under `""`. `paths` are the files that were read for it.
    """

    request: Mapping[str, Any]
    lines: Mapping[str, Code]
    paths: frozenset[Path]


def link(snippet: Snippet, page: Page, root: Path) -> Linked:
    """Return a snippet with all it needs; files of a page lie below its directory, or the root.

    Raises:
        PageError: something is missing.
    """
    if not snippet.code:
        raise PageError("the snippet has no code")
    files = _Files(page, root)
    code = _joined(snippet, page)
    if snippet.template:
        _, template, _ = files.read(snippet.template)
        code = _filled(template, code, snippet.template)
    lines, contents = {"": code}, {"": text_of(code)}
    for each in snippet.files:
        # "here.py:there.py" has another name in the sandbox
        source, _, target = (each, "", "") if "://" in each else each.partition(":")
        name, code, content = files.read(source)
        lines[target or name], contents[target or name] = code, content
    request = {
        "sandbox": snippet.sandbox,
        "version": snippet.version,
        "command": snippet.command,
        "files": contents,
    }
    return Linked(request, lines, frozenset(files.paths))


def tail(output: str) -> str:
    """Return what the widget shows of the output of joined snippets: the part of the last one."""
    if output.endswith(RULE):
        return ""
    before, found, last = output.rpartition(f"\n{RULE}\n")
    if found:
        return last
    return output[len(RULE) + 1 :] if output.startswith(RULE) else before + last


def _joined(snippet: Snippet, page: Page) -> Code:
    """Return the code of a snippet behind that of all it depends on, each once."""
    parts: list[Code] = []
    by_id = {each.id: each for each in reversed(page.snippets) if each.id}
    visited: set[str] = set()

    def visit(each: Snippet) -> None:
        if each.id and each.id in visited:
            return
        visited.add(each.id)
        for id in each.depends_on:
            if id not in by_id:
                raise PageError(f"it depends on {id}, and no snippet has that id")
            visit(by_id[id])
        if each.problem:
            raise PageError(f"it depends on {each.id}: {each.problem}")
        parts.append(each.code)

    visit(snippet)
    separator = SEPARATORS.get(snippet.tail, "")
    joined = list(parts[0])
    for part in parts[1:]:
        joined += [Line(text, None) for text in separator.split("\n") if separator]
        joined += part
    return tuple(joined)


def _filled(template: Code, code: Code, name: str) -> Code:
    """Return a template with the code in the place of its first placeholder."""
    for i, line in enumerate(template):
        before, found, after = line.text.partition(PLACEHOLDER)
        if found:
            filled = list(code)
            filled[0] = filled[0]._replace(text=before + filled[0].text)
            filled[-1] = filled[-1]._replace(text=filled[-1].text + after)
            return (*template[:i], *filled, *template[i + 1 :])
    raise PageError(f"template {name} has no {PLACEHOLDER}")


class _Files:
    """The files of one snippet: elements of its page, and files on disk."""

    def __init__(self, page: Page, root: Path) -> None:
        self._page, self._directory, self._root = page, page.path.parent, root
        self.paths: set[Path] = set()

    def read(self, source: str) -> tuple[str, Code, str]:
        """Return name, lines and content, which is a `data:` URL for what is no text."""
        if source.startswith("#"):
            code = self._page.elements.get(source[1:])
            if code is None:
                raise PageError(f"element {source} not found")
            return source[1:], trimmed(code), text_of(trimmed(code))
        if "://" in source:
            raise PageError(f"file {source}: files of other servers are not fetched")
        path = self._find(source)
        self.paths.add(path)
        content = path.read_bytes()
        try:
            text = content.decode().removeprefix("\ufeff")
        except UnicodeDecodeError:
            encoded = b64encode(content).decode()
            return path.name, (), f"data:application/octet-stream;base64,{encoded}"
        return path.name, code_of(text, path, 1), text

    def _find(self, source: str) -> Path:
        name = source.partition("?")[0]
        candidates = self._of_site(name[1:]) if name[0] == "/" else [self._directory / name]
        found = next(filter(Path.is_file, candidates), None)
        if not found:
            raise PageError(f"file {source} not found")
        # a page of a stranger must not send other files away
        allowed = (self._root.resolve(), self._directory.resolve())
        if not any(found.resolve().is_relative_to(directory) for directory in allowed):
            raise PageError(f"file {source} is outside of {self._root}")
        return found

    def _of_site(self, name: str) -> Iterator[Path]:
        """Yield what a path from the site's root may be: nobody tells where that is."""
        here = self._directory.resolve()
        for directory in (here, *here.parents):
            yield from (directory / public / name for public in PUBLIC)
            if directory == self._root.resolve():
                return
