"""Results as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codapi_flask.verify.run import Result, count


def document(results: Sequence[Result]) -> dict[str, Any]:
    """Return what stands for results in JSON: a list of snippets, and how many there are."""
    return {"snippets": [_snippet(result) for result in results], "counts": count(results)}


def _snippet(result: Result) -> dict[str, Any]:
    snippet, place = result.snippet, result.place
    return {
        "file": str(snippet.path),
        "line": snippet.line,
        "id": snippet.id,
        "sandbox": snippet.sandbox,
        "version": snippet.version,
        "command": snippet.command,
        "verdict": result.verdict,
        "text": result.text,
        "at": {"file": str(place.path), "line": place.line} if place else None,
        "expected": snippet.expected.text if snippet.expected else None,
        "output": result.output,
        "seconds": round(result.seconds, 3),
    }
