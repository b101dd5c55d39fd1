"""Executes snippets on a target, several at once, and judges each."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from codapi_flask.client.target import Answer, Target, TargetError
from codapi_flask.verify.linking import Linked, link, tail
from codapi_flask.verify.matching import difference, matches
from codapi_flask.verify.snippet import Page, PageError, Place, Snippet
from codapi_flask.verify.tracing import annotated, places

Verdict = Literal["passed", "failed", "error", "skipped"]

SILENT = "ok"
"""What the widget shows of a program that printed nothing (src/output.js)."""

STATUS = re.compile(r" \(exit status \S+\)\s*$")
"""What the server appends to the output of a program that failed."""

TIMEOUT = "code execution timeout"
"""What the server answers when it has killed a program at its timeout."""


@dataclass(frozen=True)
class Result:
    """What became of a snippet: `failed` is its own fault, `error` prevented the execution.

    `text` says what is wrong: a reason, then details by line. `place` is the line of the page that
    is to blame. `output` is what a reader would see, `None` if nothing was executed; `differs` is
    whether that alone is wrong. `paths` are the files that were read for the snippet.
    """

    snippet: Snippet
    verdict: Verdict
    text: str = ""
    place: Place | None = None
    output: str | None = None
    differs: bool = False
    seconds: float = 0
    paths: frozenset[Path] = field(default_factory=frozenset)

    @property
    def reason(self) -> str:
        """The first line of the text."""
        return self.text.partition("\n")[0]


class Runner:
    """Runs snippets on a target; `root` is the directory that the files of pages must not leave."""

    def __init__(self, target: Target, root: Path) -> None:
        self._target, self._root = target, root
        self._entries: dict[tuple[str, str], str] | None = None
        self._lock = Lock()

    def run(self, pages: Iterable[Page]) -> Iterator[Result]:
        """Yield the results of all snippets of pages, in their order."""
        pairs = [(each, page) for page in pages for each in runnable(page)]
        with ThreadPoolExecutor(self._target.size) as pool:
            futures = [pool.submit(self.verify, *pair) for pair in pairs]
            try:
                for future in futures:
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def verify(self, snippet: Snippet, page: Page) -> Result:
        """Execute a snippet, and compare its end and its output with what is expected."""
        if snippet.skip:
            return Result(snippet, "skipped", snippet.skip)
        try:
            if snippet.problem:
                raise PageError(snippet.problem)
            linked = link(snippet, page, self._root)
        except PageError as error:
            return Result(snippet, "error", str(error), snippet.place)
        begin = time.monotonic()
        try:
            answer = self._target.execute(linked.request)
        except TargetError as error:
            return Result(snippet, "error", str(error), snippet.place, paths=linked.paths)
        seconds = time.monotonic() - begin
        if not answer.was_executed:
            reason = str(answer.body.get("stderr", ""))
            return Result(snippet, "error", reason, snippet.place, paths=linked.paths)
        return self._judge(snippet, linked, answer, seconds)

    def _judge(self, snippet: Snippet, linked: Linked, answer: Answer, seconds: float) -> Result:
        output = shown(answer)
        if snippet.tail:
            output = tail(output)
        text, place, differs = _wrong_end(snippet, answer), snippet.place, False
        if text:
            entry = self._entry(snippet)
            found = [p for line in places(text, linked.lines, entry) for p in line]
            place = next((p for p in found[::-1] if p.path == snippet.path), place)
            text = annotated(text, linked.lines, entry)
        elif snippet.expected and not _is_expected(snippet, output):
            text, differs = _differs(snippet, answer, output), True
            place = Place(snippet.path, snippet.expected.line)
        if not text:
            return Result(snippet, "passed", "", None, output, False, seconds, linked.paths)
        return Result(snippet, "failed", text, place, output, differs, seconds, linked.paths)

    def _entry(self, snippet: Snippet) -> str:
        """Return the name of the entry file, empty if the target does not tell it."""
        with self._lock:
            if self._entries is None:
                try:
                    offered = _commands(self._target.sandboxes())
                except TargetError:
                    offered = iter(())
                self._entries = {(s["name"], c["name"]): c["entry"] for s, c in offered}
        return self._entries.get((snippet.sandbox, snippet.command), "")


def runnable(page: Page) -> list[Snippet]:
    """Return the snippets of a page that are there to be run."""
    return [snippet for snippet in page.snippets if snippet.sandbox]


def count(results: Iterable[Result]) -> dict[Verdict, int]:
    """Return how many results have each verdict."""
    found = Counter(result.verdict for result in results)
    verdicts: tuple[Verdict, ...] = ("passed", "failed", "error", "skipped")
    return {verdict: found[verdict] for verdict in verdicts}


def shown(answer: Answer) -> str:
    """Return what the widget shows of an answer: stdout, or else stderr."""
    return str(answer.body.get("stdout") or answer.body.get("stderr") or "")


def _commands(sandboxes: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for sandbox in sandboxes:
        yield from ((sandbox, command) for command in sandbox["commands"])


def _wrong_end(snippet: Snippet, answer: Answer) -> str:
    """Return what is wrong with how the program ended, empty if nothing is."""
    ended = "ok" if answer.ok else "fails"
    if answer.body.get("details", {}).get("reason") == "timeout":
        ended = "timeout"
    ends = _end(snippet)
    if ended == ends:
        return ""
    told = {"ok": "it succeeded", "fails": "it failed", "timeout": "it timed out"}[ended]
    wanted = {"ok": "", "fails": ", and should fail", "timeout": ", and should time out"}
    return "\n".join(filter(None, [told + wanted[ends], shown(answer).rstrip()]))


def _end(snippet: Snippet) -> str:
    """Return how a program must end: the output that a page shows tells it, too."""
    wanted = snippet.expected.text.strip() if snippet.expected else ""
    if snippet.ends == "ok" and STATUS.search(wanted):
        return "fails"
    return "timeout" if snippet.ends == "ok" and wanted.startswith(TIMEOUT) else snippet.ends


def _is_expected(snippet: Snippet, output: str) -> bool:
    assert snippet.expected  # noqa: S101
    wanted = snippet.expected.text
    if matches(wanted, output) or (not output.strip() and wanted.strip() == SILENT):
        return True
    # pages may leave the status out that the server appends
    return snippet.ends == "fails" and matches(wanted, STATUS.sub("", output))


def _differs(snippet: Snippet, answer: Answer, output: str) -> str:
    assert snippet.expected  # noqa: S101
    lines = ["the output differs from the page's", *difference(snippet.expected.text, output)]
    truncated = answer.body.get("details", {}).get("truncated", {})
    if any(truncated.values()):
        lines.append("(the output is longer than the sandbox's limit, noutput)")
    return "\n".join(lines)
