"""CSS selectors (Selectors Level 3), as many as pages need to name their code."""

from __future__ import annotations

import re
from collections.abc import Callable

from codapi_flask.verify.pages.tree import Element
from codapi_flask.verify.snippet import PageError

NAME = r"(?:[\w-]|\\.|[^\x00-\x7f])+"
PART = re.compile(
    rf"""\#(?P<id>{NAME}) | \.(?P<class>{NAME})
    | \[\s*(?P<attribute>{NAME})\s*(?:(?P<how>[~^$*]?=)\s*["']?(?P<value>[^"'\]]*?)["']?\s*)?\]
    | (?P<place>:first-child|:last-child) | (?P<tag>{NAME}|\*)""",
    re.VERBOSE,
)
HOW: dict[str, Callable[[str, str], bool]] = {
    "=": lambda has, value: has == value,
    "~=": lambda has, value: value in has.split(),
    "^=": lambda has, value: has.startswith(value),
    "$=": lambda has, value: has.endswith(value),
    "*=": lambda has, value: value in has,
}


def select(scope: Element, selector: str) -> Element | None:
    """Return the first element inside that a selector names.

    Raises:
        PageError: the selector is not understood.
    """
    groups = [_steps(group) for group in selector.split(",")]
    found = (element for element in scope.walk() if any(_is(element, steps) for steps in groups))
    return next(found, None)


def _steps(group: str) -> list[str]:
    """Return compound selectors and combinators, in turn, the last first."""
    words = re.sub(r"\s*([>+~])\s*(?![^\[]*\])", r" \1 ", group).split()
    steps: list[str] = []
    for word in words:
        if steps and word not in ">+~" and steps[-1] not in ">+~":
            steps.append(" ")
        steps.append(word)
    if not steps or not all(_is_understood(step) for step in steps):
        raise PageError(f"selector not understood: {group.strip()}")
    return steps[::-1]


def _is_understood(step: str) -> bool:
    return step in (" ", ">", "+", "~") or not PART.sub("", step)


def _is(element: Element, steps: list[str]) -> bool:
    if not all(_has(element, part) for part in PART.finditer(steps[0])):
        return False
    if len(steps) == 1:
        return True
    combinator, rest = steps[1], steps[2:]
    if combinator in " >":
        step: Callable[[Element], Element | None] = lambda each: each.parent  # noqa: E731
    else:
        step = lambda each: each.sibling(-1)  # noqa: E731
    other = step(element)
    while other:
        if _is(other, rest):
            return True
        other = step(other) if combinator in " ~" else None
    return False


def _has(element: Element, part: re.Match[str]) -> bool:
    names = {key: re.sub(r"\\(.)", r"\1", text) for key, text in part.groupdict("").items()}
    if part["id"]:
        return element.attributes.get("id") == names["id"]
    if part["class"]:
        return names["class"] in element.attributes.get("class", "").split()
    if part["attribute"]:
        has = element.attributes.get(names["attribute"].lower())
        return has is not None and (not part["how"] or HOW[part["how"]](has, part["value"]))
    if part["place"]:
        return element.sibling(-1 if part["place"] == ":first-child" else 1) is None
    return part["tag"] == "*" or element.tag == part["tag"].lower()
