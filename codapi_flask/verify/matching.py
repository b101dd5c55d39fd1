"""Compares an output with the expected one, which may have wildcards.

`…` stands for any text in a line, a line `<ignore>` for any lines. Blanks at the end of lines, and
blank lines before and after the output, do not count.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

ANY, IGNORE = "…", "<ignore>"

CONTEXT = 3
"""Lines of a difference that are shown around what differs."""


def matches(expected: str, output: str) -> bool:
    """Whether an output is the expected one."""
    wanted, lines = normal(expected), normal(output)
    i = j = 0
    # where the last <ignore> stood, and up to which line it reaches
    retry: tuple[int, int] | None = None
    while j < len(lines):
        if i < len(wanted) and wanted[i].strip() == IGNORE:
            retry = i, j
            i += 1
        elif i < len(wanted) and _is_line(wanted[i], lines[j]):
            i, j = i + 1, j + 1
        elif retry:
            retry = retry[0], retry[1] + 1
            i, j = retry[0] + 1, retry[1]
        else:
            return False
    return all(line.strip() == IGNORE for line in wanted[i:])


def difference(expected: str, output: str) -> list[str]:
    """Return the lines that differ, with some around them: `-` is missing, `+` is too much."""
    lines = normal(output)
    wanted: list[str] = []
    for each, covered in _covered(normal(expected), lines):
        # what differs shows without the wildcards that are right
        wanted += [each] if covered is None else [lines[i] for i in covered]
    found = list(difflib.unified_diff(wanted, lines, n=CONTEXT, lineterm=""))[2:]
    # the line numbers of an output help nobody; a gap is shown
    return ["…" if line.startswith("@@") else line for line in found[1:]]


def merged(expected: str, output: str) -> str:
    """Return an output with the wildcards of the expected one, as far as they still fit."""
    lines = normal(output)
    for each, covered in reversed(list(_covered(normal(expected), lines))):
        if covered is not None and (ANY in each or each == IGNORE):
            lines[covered.start : covered.stop] = [each]
    return "\n".join(lines)


def normal(text: str) -> list[str]:
    """Return the lines that count."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return lines


def _is_line(wanted: str, line: str) -> bool:
    if ANY not in wanted:
        return wanted == line
    first, *middle, last = wanted.split(ANY)
    if not line.startswith(first) or not line.endswith(last):
        return False
    at, end = len(first), len(line) - len(last)
    for part in middle:
        at = line.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return at <= end


def _covered(wanted: Sequence[str], lines: Sequence[str]) -> Iterator[tuple[str, range | None]]:
    """Yield each expected line with what it stands for, as indices; `None` if that is missing."""
    at, is_open, is_lost = 0, False, False
    for each in wanted:
        if each.strip() == IGNORE:
            is_open = True
            continue
        found = next((i for i in range(at, len(lines)) if _is_line(each, lines[i])), None)
        if is_open:
            # beside a line that is missing nobody knows what it stands for
            yield IGNORE, None if is_lost or found is None else range(at, found)
        yield each, None if found is None else range(found, found + 1)
        at, is_open, is_lost = at if found is None else found + 1, False, found is None
    if is_open:
        yield IGNORE, None if is_lost else range(at, len(lines))
