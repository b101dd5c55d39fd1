"""What a page holds: snippets, their lines, and the output that is expected of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class PageError(Exception):
    """A page, or what a snippet refers to, cannot be used; the text says why."""


class Place(NamedTuple):
    """A line of a file, counted from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        """Return the place as compilers write it."""
        return f"{self.path}:{self.line}"


class Line(NamedTuple):
    """A line of code, without its end; `place` is where it was written, `None` if nowhere."""

    text: str
    place: Place | None


Code = tuple[Line, ...]


def code_of(text: str, path: Path, first: int) -> Code:
    """Return the lines of a text whose first line is line `first` of a file."""
    lines = text.split("\n")
    return tuple(Line(line, Place(path, first + i)) for i, line in enumerate(lines))


def text_of(code: Code) -> str:
    """Return the text of lines of code."""
    return "\n".join(line.text for line in code)


def trimmed(code: Code) -> Code:
    """Return code as the widget sends it: without blanks at its beginning and its end."""
    lines = list(code)
    while lines and not lines[0].text.strip():
        del lines[0]
    while lines and not lines[-1].text.strip():
        del lines[-1]
    if lines:
        lines[0] = lines[0]._replace(text=lines[0].text.lstrip())
        lines[-1] = lines[-1]._replace(text=lines[-1].text.rstrip())
    return tuple(lines)


@dataclass(frozen=True)
class Slot:
    """The part of a page's text that holds an output: offsets, and how an output is written there.

    `write` raises `PageError` for an output that cannot stand there.
    """

    start: int
    end: int
    write: Callable[[str], str] = field(compare=False)


@dataclass(frozen=True)
class Expected:
    """The output that a page shows; `line` is its first line in the page."""

    text: str
    line: int
    slot: Slot


@dataclass(frozen=True)
class Snippet:
    """A snippet of a page; one without a sandbox is only there for others to depend on.

    `depends_on` are ids of snippets, `template` and `files` are files, or elements of the page
    (`#id`). `tail` is the syntax whose separator stands between the snippets that are joined: only
    the output after the last one counts. `ends` is how the program must end (`ok`, `fails`,
    `timeout`). `skip` is the reason not to run it, `problem` why that is impossible.
    """

    path: Path
    line: int
    sandbox: str
    code: Code = ()
    id: str = ""
    version: str = ""
    command: str = "run"
    depends_on: tuple[str, ...] = ()
    template: str = ""
    files: tuple[str, ...] = ()
    tail: str = ""
    ends: str = "ok"
    skip: str = ""
    problem: str = ""
    expected: Expected | None = None

    @property
    def place(self) -> Place:
        """Where the snippet begins."""
        return Place(self.path, self.line)

    @property
    def title(self) -> str:
        """The sandbox and command, and the id if there is one."""
        name = f"{self.sandbox}:{self.version}" if self.version else self.sandbox
        return " ".join(filter(None, [name, self.command, f"#{self.id}" if self.id else ""]))


@dataclass(frozen=True)
class Page:
    """A page: its text with the line ends of the file, its snippets, and its code by id."""

    path: Path
    text: str
    snippets: tuple[Snippet, ...]
    elements: Mapping[str, Code] = field(default_factory=dict)
    """The code of what has an id, for depends-on, templates and files."""
