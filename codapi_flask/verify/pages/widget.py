"""Snippets of Codapi's widget in a page, and what belongs to each, found as the widget does.

The widget's source: @antonz/codapi, src/snippet.js and src/executor.js.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codapi_flask.verify.pages.options import snippet
from codapi_flask.verify.pages.select import select
from codapi_flask.verify.pages.tagged import expected_of
from codapi_flask.verify.pages.tree import Element
from codapi_flask.verify.snippet import Expected, PageError, Snippet

TAG = "codapi-snippet"
ENGINE = "codapi"


def widgets(root: Element, path: Path) -> Iterator[tuple[Element, Snippet]]:
    """Yield the snippets of the widget below an element, in the order of their start.

    The output of a snippet leaves the tree, as in the browser: the next one does not see it.
    """
    found = [element for element in root.walk() if element.tag == TAG]
    # with init-delay they start later
    for element in sorted(found, key=_delay):
        yield element, _read(root, element, path)


def _delay(element: Element) -> int:
    digits = element.attributes.get("init-delay", "").strip()
    return int(digits) if digits.isdecimal() else 0


def _read(root: Element, element: Element, path: Path) -> Snippet:
    given = dict(element.attributes)
    # its version is a part of the sandbox, its files are separated by blanks
    given.pop("version", None)
    given.setdefault("sandbox", "")
    engine = given.get("engine") or ENGINE
    if engine != ENGINE:
        given["skip"] = f"engine {engine}: runs in browsers only"
    try:
        code = _code_element(root, element).code(path)
        expected = _expected(root, element)
    except PageError as error:
        name = given["sandbox"].partition(":")[0]
        id, skip = given.get("id", ""), given.get("skip", "")
        return Snippet(path, element.line, name, id=id, skip=skip, problem=str(error))
    if given.get("output-mode", "text") != "text":
        # another mode shows no text, and its output stands for an image or a table
        expected = None
    return snippet(path, element.line, given, code, expected)


def _code_element(root: Element, element: Element) -> Element:
    selector = element.attributes.get("selector")
    if not selector:
        previous = element.sibling(-1) or (element.parent and element.parent.sibling(-1))
        if not previous:
            raise PageError("no element with code stands before it")
        return select(previous, "code") or previous
    if selector.startswith("@prev"):
        return _inside(element.sibling(-1), selector)
    return _found(select(root, selector), selector)


def _expected(root: Element, element: Element) -> Expected | None:
    selector = element.attributes.get("output")
    if selector is None:
        return None
    if selector in ("", "@next"):
        shown = element.sibling(1) or (element.parent and element.parent.sibling(1))
        if not shown:
            raise PageError("no element with the output stands after it")
    elif selector.startswith("@next"):
        shown = _inside(element.sibling(1), selector)
    else:
        shown = _found(select(root, selector), selector)
    expected = expected_of(select(shown, "code") or shown)
    shown.remove()
    return expected


def _inside(near: Element | None, selector: str) -> Element:
    _, _, inner = selector.partition(" ")
    return _found(select(near, inner) if near else None, selector)


def _found(element: Element | None, selector: str) -> Element:
    if not element:
        raise PageError(f"element not found: {selector}")
    return element
