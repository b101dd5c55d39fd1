"""The options of a snippet, as words beside a block of code, and as attributes of the widget."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from pathlib import Path

from codapi_flask.verify.snippet import Code, Expected, PageError, Snippet, trimmed

NAMES = (
    "sandbox",
    "version",
    "command",
    "id",
    "depends-on",
    "template",
    "files",
    "output",
    "output-tail",
    "fails",
    "timeout",
    "skip",
)
FLAGS = frozenset({"output-tail", "fails", "timeout", "skip"})
RULE = "---"
"""What the widget prints between the outputs of joined snippets (src/text.js)."""

SEPARATORS = {
    "javascript": f'console.log("{RULE}");',
    "lua": f'print("{RULE}")',
    "php": f'echo "{RULE}"',
    "python": f'print("{RULE}")',
    "r": f'cat("{RULE}\n")',
    "ruby": f'puts "{RULE}"',
    "typescript": f'console.log("{RULE}");',
    "shell": f'echo "{RULE}"',
    "sql": f"select '{RULE}';",
}
"""The line that prints it, by syntax (src/codegen.js)."""


def words(info: str) -> list[str]:
    """Return the words of an info string; quotes keep blanks together."""
    try:
        return shlex.split(info)
    except ValueError:
        return info.split()


def options(given: list[str]) -> dict[str, str]:
    """Return options by name from words such as `command=test` and `fails`.

    Raises:
        PageError: there is no such option, or it has no value.
    """
    found = {}
    for word in given:
        name, has_value, value = word.partition("=")
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, 1)
            hint = f", did you mean {close[0]}?" if close else f"; there are {', '.join(NAMES)}"
            raise PageError(f"no option {name!r}{hint}")
        if name in FLAGS and has_value and name != "skip":
            raise PageError(f"option {name} has no value")
        if name not in FLAGS and not value:
            raise PageError(f"option {name} needs a value: {name}=…")
        found[name] = value
    return found


def snippet(
    path: Path, line: int, given: Mapping[str, str], code: Code, expected: Expected | None
) -> Snippet:
    """Return the snippet that options, or the widget's attributes, describe."""
    name, _, version = given.get("sandbox", "").partition(":")
    syntax = given.get("syntax") or given.get("sandbox", "")
    ends = [name for name in ("fails", "timeout") if name in given]
    return Snippet(
        path,
        line,
        name,
        trimmed(code),
        id=given.get("id", ""),
        version=given.get("version") or version,
        command=given.get("command") or "run",
        depends_on=_names(given.get("depends-on", "")),
        template=given.get("template", ""),
        files=_names(given.get("files", "")),
        tail=syntax if "output-tail" in given else "",
        ends=ends[-1] if ends else "ok",
        skip=given.get("skip") or ("skip" if "skip" in given else ""),
        expected=expected,
    )


def _names(value: str) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split())
