"""Writes the outputs of snippets into their pages, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from codapi_flask.verify.matching import matches, merged
from codapi_flask.verify.pages.read import read_text
from codapi_flask.verify.run import Result
from codapi_flask.verify.snippet import Page, PageError, Snippet


class Updated(NamedTuple):
    """The text of a page with its outputs, and the results, of which those now pass."""

    text: str
    results: list[Result]


def update(page: Page, results: Iterable[Result]) -> Updated:
    """Return a page with the outputs that its snippets have printed.

    Those that are right stay as they are, with their wildcards; so do those of programs that ended
    otherwise than they should. One that cannot be written stays a failure, with the reason.
    """
    text, snippets, order = page.text, page.snippets, list(results)
    changed = {id(result): result for result in order}
    # from the end of the page, so that offsets stay right
    for result in sorted(order, key=_start, reverse=True):
        expected = result.snippet.expected
        if not result.differs or not expected:
            continue
        output, index = (
            merged(expected.text, result.output or ""),
            page.snippets.index(result.snippet),
        )
        try:
            written = expected.slot.write(output)
            tried = text[: expected.slot.start] + written + text[expected.slot.end :]
            after = read_text(page.path, tried).snippets
            _check(snippets, after, index, result.output or "")
        except PageError as error:
            reason = f"the output cannot be written into the page: {error}"
            told = "\n".join([reason, *result.text.split("\n")[1:]])
            changed[id(result)] = replace(result, text=told)
        else:
            text, snippets = tried, after
            changed[id(result)] = replace(result, verdict="passed", text="updated", place=None)
    return Updated(text, [changed[id(result)] for result in order])


def _start(result: Result) -> int:
    return result.snippet.expected.slot.start if result.snippet.expected else -1


def _check(before: Sequence[Snippet], after: Sequence[Snippet], index: int, output: str) -> None:
    """Check that only the output of one snippet has changed, and is the right one.

    Raises:
        PageError: it is not, since the format has no way to hold the output there.
    """
    if len(after) != len(before):
        raise PageError("the page would have other snippets")
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        end = old.expected.line if old.expected and i == index else None
        if _lines(old, end) != _lines(new, end):
            raise PageError("code would change")
    expected = after[index].expected
    if output.strip() and not (expected and matches(expected.text, output)):
        raise PageError("it would be read otherwise")


def _lines(snippet: Snippet, end: int | None) -> list[str]:
    """Return the lines of code, those before a line of the page if the output is a part of it."""
    return [
        line.text for line in snippet.code if not end or not line.place or line.place.line < end
    ]
