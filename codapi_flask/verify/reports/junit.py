"""Results as JUnit's XML, which CI servers show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from codapi_flask.verify.run import Result, count

FORBIDDEN = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2)."""

TAGS = {"failed": "failure", "error": "error", "skipped": "skipped"}


def document(results: Sequence[Result]) -> str:
    """Return a document with a suite for each page, and a case for each snippet."""
    root = Element("testsuites", _counts(results))
    for path, group in groupby(results, lambda result: result.snippet.path):
        page = list(group)
        suite = SubElement(root, "testsuite", {"name": str(path), **_counts(page)})
        for result in page:
            _case(suite, result)
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _case(suite: Element, result: Result) -> None:
    snippet = result.snippet
    attributes = {
        "classname": str(snippet.path),
        "name": f"line {snippet.line}: {snippet.title}",
        "file": str(snippet.path),
        "line": str((result.place or snippet.place).line),
        "time": f"{result.seconds:.3f}",
    }
    case = SubElement(suite, "testcase", {name: _valid(text) for name, text in attributes.items()})
    if result.verdict in TAGS:
        message = {"message": _valid(result.reason)}
        SubElement(case, TAGS[result.verdict], message).text = _valid(result.text)


def _counts(results: Sequence[Result]) -> dict[str, str]:
    counts = count(results)
    return {
        "tests": str(len(results)),
        "failures": str(counts["failed"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _valid(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
