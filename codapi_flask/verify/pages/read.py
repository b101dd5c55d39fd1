"""Finds the pages below paths, and reads each into its snippets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from codapi_flask.verify.pages import html, markdown, notebook, rst
from codapi_flask.verify.pages.tagged import tagged
from codapi_flask.verify.pages.tree import Element, Source, Tree
from codapi_flask.verify.pages.widget import widgets
from codapi_flask.verify.snippet import Code, Page, PageError, Snippet, trimmed

READERS: dict[str, Callable[[Source, Tree], None]] = {
    ".md": markdown.read,
    ".markdown": markdown.read,
    ".mdx": markdown.read,
    ".html": html.read,
    ".htm": html.read,
    ".rst": rst.read,
}
NOTEBOOK = ".ipynb"

MARKS = (b"codapi", b"coderun", b"sandbox")
"""Pages without any of these have no snippets: most of a documentation is not parsed."""

FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "_build"})
"""Directories that hold no pages of their own, beside hidden ones."""


def is_page(path: Path) -> bool:
    """Whether a file's name is that of a page."""
    return path.suffix.lower() in (*READERS, NOTEBOOK)


def find(paths: Iterable[Path]) -> list[Path]:
    """Return the pages that are named, and those below directories, in their order.

    Raises:
        PageError: a path does not exist, or is no page.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(_below(path))
        elif not path.exists():
            raise PageError(f"{path}: no such file or directory")
        elif not is_page(path):
            endings = " ".join([*READERS, NOTEBOOK])
            raise PageError(f"{path}: not a page; the endings of pages are {endings}")
        else:
            found[path] = None
    return list(found)


def read(path: Path) -> Page:
    """Return a page; what is wrong with it is the problem of a snippet."""
    try:
        content = path.read_bytes()
        if path.suffix.lower() != NOTEBOOK and not any(mark in content for mark in MARKS):
            return Page(path, "", ())
        return read_text(path, content.decode())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        return Page(path, "", (Snippet(path, 1, "page", problem=str(reason)),))


def read_text(path: Path, text: str) -> Page:
    """Return the page that a text is at a path."""
    source = Source(path, text)
    try:
        if path.suffix.lower() == NOTEBOOK:
            return Page(path, text, tuple(notebook.snippets(source)))
        tree = Tree(source.end)
        READERS[path.suffix.lower()](source, tree)
    except PageError as error:
        return Page(path, text, (Snippet(path, 1, "page", problem=str(error)),))
    return _page(source, tree)


def _page(source: Source, tree: Tree) -> Page:
    elements: dict[str, Code] = {}
    for element in tree.root.walk():
        if id := element.attributes.get("id"):
            elements.setdefault(id, trimmed(element.code(source.path)))
    found = [*_unique(tagged(tree.root, source)), *widgets(tree.root, source.path)]
    order = {element: i for i, element in enumerate(tree.root.walk())}
    found.sort(key=lambda pair: order.get(pair[0], len(order)))
    snippets = tuple(snippet for _, snippet in found)
    # a file that is a snippet of the widget is that snippet's code
    elements |= {snippet.id: snippet.code for snippet in reversed(snippets) if snippet.id}
    return Page(source.path, source.text, snippets, elements)


def _unique(
    found: Iterable[tuple[Element, Snippet]],
) -> Iterator[tuple[Element, Snippet]]:
    """Yield snippets; the second one of an id has a problem (the widget takes the first)."""
    lines: dict[str, int] = {}
    for element, snippet in found:
        first = lines.setdefault(snippet.id, snippet.line)
        if snippet.id and first != snippet.line:
            problem = f"a snippet with the id {snippet.id} is in line {first}, too"
            snippet = replace(snippet, problem=snippet.problem or problem)
        yield element, snippet


def _below(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            if not path.name.startswith(".") and path.name not in FOLDERS:
                yield from _below(path)
        elif is_page(path):
            yield path
