"""Names of sandboxes, commands and boxes, and what ids and containers are named after them."""

from __future__ import annotations

import re

FORBIDDEN = set(" /:=\"'\\")
"""Printable characters that no name has: paths, versions or the log would be ambiguous."""


def is_name(text: str) -> bool:
    """Whether a text can be the name of a sandbox or a command, or one of the parts of a box's."""
    return text != "" and text.isprintable() and FORBIDDEN.isdisjoint(text)


def safe(name: str) -> str:
    """Return the beginning of an id or of a container's name: `[A-Za-z0-9][A-Za-z0-9_.-]*`.

    Several names may have the same one: what it begins needs a random end. Source: moby,
    daemon/names/names.go.
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name.replace(":", ".")).lstrip("_.-") or "x"
