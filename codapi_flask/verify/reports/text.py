"""Results as lines of text with colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from codapi_flask.verify.run import Result, count

COLOURS = {"passed": "green", "failed": "red", "error": "red", "skipped": "yellow"}
DIFFERENCE = {"-": "red", "+": "green"}


class Shown(NamedTuple):
    """A line, with the colour of its first `width` characters."""

    text: str
    colour: str = ""
    width: int = 0


def result_lines(result: Result) -> Iterator[Shown]:
    """Yield the lines of a result: verdict and place, then what is wrong."""
    snippet, verdict = result.snippet, result.verdict
    head = f"{verdict:8}{snippet.place}  {snippet.title}"
    told = f": {result.reason}" if result.text and verdict in ("passed", "skipped") else ""
    yield Shown(head + told, COLOURS[verdict], len(verdict))
    if verdict in ("failed", "error"):
        reason, *details = result.text.split("\n")
        yield Shown(f"        {result.place or snippet.place}: {reason}")
        for line in details:
            colour = DIFFERENCE.get(line[:1], "") if result.differs else ""
            yield Shown(f"        {line}".rstrip(), colour, len(line) + 8)


def summary(results: Iterable[Result], seconds: float) -> Shown:
    """Return the last line: how many snippets passed, and how many did not."""
    counts = count(results)
    told = [f"{number} {verdict}" for verdict, number in counts.items() if number]
    colour = "red" if counts["failed"] or counts["error"] else "green"
    text = f"{', '.join(told) or 'no snippets'} in {seconds:.1f} s"
    return Shown(text, colour, len(text))
