"""HTML."""

from __future__ import annotations

from codapi_flask.verify.pages.tree import Source, Tree


def read(source: Source, tree: Tree) -> None:
    """Read a page into a tree."""
    tree.html(source.text, 1, source.starts(1))
