"""Finds the places in a program's errors, and says where in the page they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from codapi_flask.verify.snippet import Code, Place

PLACE = re.compile(
    r"""(?P<name>[\w./+-]*\w\.\w+)          # main.py, /sandbox/main.py, ./main.go
    (?:",\ line\ |:\ line\ |\ on\ line\ |:\ ?|\()
    (?P<line>\d+)\b""",
    re.VERBOSE,
)
"""A place as Python, bash, PHP, most compilers, dash, and Java with others write it."""

SYSTEM = frozenset({"usr", "opt", "lib", "lib64", "nix"})
"""Directories in the root of an image that hold no files of a request."""

STEMS = frozenset({"main", "test_main", "main_test", "script", "query", "program", "prog"})
"""Names of the entry file where the server does not tell it."""


def places(text: str, lines: Mapping[str, Code], entry: str = "") -> list[list[Place]]:
    """Return the places that each line of a text names, as those of the page or its files.

    `lines` are the files of the request, `""` the entry file, whose name is `entry` if known.
    """
    return [_places(line, lines, entry) for line in text.split("\n")]


def annotated(text: str, lines: Mapping[str, Code], entry: str = "") -> str:
    """Return a text whose lines end with the places that they name."""
    shown = []
    for line, found in zip(text.split("\n"), places(text, lines, entry), strict=True):
        told = ", ".join(dict.fromkeys(map(str, found)))
        shown.append(f"{line}  ← {told}" if told else line)
    return "\n".join(shown)


def _places(line: str, lines: Mapping[str, Code], entry: str) -> list[Place]:
    found = []
    for match in PLACE.finditer(line):
        name = _name(match["name"], lines, entry)
        index = int(match["line"]) - 1
        if name is not None and 0 <= index < len(lines[name]):
            place = lines[name][index].place
            found += [place] if place else []
    return found


def _name(told: str, lines: Mapping[str, Code], entry: str) -> str | None:
    """Return the name of the file that an error names by its path, `None` for another file."""
    path = PurePosixPath(told)
    if path.is_absolute() and path.parts[1] in SYSTEM:
        return None
    for name in sorted(filter(None, lines), key=len, reverse=True):
        if path.parts[-len(PurePosixPath(name).parts) :] == PurePosixPath(name).parts:
            return name
    is_entry = path.name == entry if entry else path.stem.lower() in STEMS
    return "" if is_entry else None
