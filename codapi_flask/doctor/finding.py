"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["fine", "weak", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about the host; `remedy` is what mends it, empty if nothing has to be or `text` says.

    `weak`: sandboxes work, but worse, or less safely. `broken`: some or all do not.
    """

    verdict: Verdict
    text: str
    remedy: str = ""


def fine(text: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding("fine", text)


def weak(text: str, remedy: str = "") -> Finding:
    """Return a finding that makes sandboxes worse, or less safe."""
    return Finding("weak", text, remedy)


def broken(text: str, remedy: str = "") -> Finding:
    """Return a finding that keeps sandboxes from working, or programs from being contained."""
    return Finding("broken", text, remedy)
