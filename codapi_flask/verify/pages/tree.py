"""A page as a tree of elements, as a browser has it, whose texts know where they stand."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from pathlib import Path

from codapi_flask.verify.snippet import Code, Line, PageError, Place, Slot

VOID = (
    *("area", "base", "br", "col", "embed", "hr", "img", "input"),
    *("link", "meta", "source", "track", "wbr"),
)
"""Elements without an end (HTML, 13.1.2)."""

IMPLIED = {
    "p": ("p",),
    "li": ("li",),
    "dt": ("dt", "dd"),
    "dd": ("dt", "dd"),
    "td": ("td", "th"),
    "th": ("td", "th"),
    "tr": ("tr", "td", "th"),
}
"""Elements that end where one of these begins beside them (HTML, 13.1.2.4)."""

BLOCKS = (
    *("article", "blockquote", "div", "dl", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("ol", "pre", "section", "table", "ul"),
)
"""Elements before which an open paragraph ends."""


class Source:
    """The text of a page, by lines, which count from 1; `text` has the line ends of the file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self._starts = [0, *(i + 1 for i, letter in enumerate(text) if letter == "\n")]
        self.end = "\r\n" if "\r\n" in text else "\n"

    def start(self, line: int) -> int:
        """Return the offset of a line; the one after the last is the end."""
        return self._starts[line - 1] if line <= len(self._starts) else len(self.text)

    def starts(self, line: int) -> Sequence[int]:
        """Return the offsets of a line and all that follow."""
        return self._starts[line - 1 :]

    def line_of(self, offset: int) -> int:
        """Return the line of an offset."""
        return bisect_right(self._starts, offset)

    def line(self, number: int) -> str:
        """Return a line without its end."""
        return self.text[self.start(number) : self.start(number + 1)].rstrip("\r\n")

    def slot(self, first: int, last: int, prefix: str, fence: str = "") -> Slot:
        """Return the slot of whole lines, which a prefix precedes; `last < first`: none yet.

        No line of an output may begin with the fence that would end it.
        """

        def write(output: str) -> str:
            lines = output.split("\n") if output else []
            if fence and any(line.lstrip().startswith(fence) for line in lines):
                raise PageError(f"the output has a line that begins with {fence}")
            return "".join(f"{prefix}{line}".rstrip() + self.end for line in lines)

        return Slot(self.start(first), self.start(last + 1), write)


@dataclass(eq=False)
class Text:
    """A text that begins at a line of the page."""

    text: str
    line: int


@dataclass(eq=False)
class Element:
    """An element; `info` are the words that tag a block of code, `slot` is where its text stands.

    `included` is its code if that stands in another file.
    """

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    line: int = 0
    parent: Element | None = None
    children: list[Element | Text] = field(default_factory=list)
    info: str = ""
    slot: Slot | None = None
    included: Code = ()

    def elements(self) -> list[Element]:
        """Return the children that are elements."""
        return [child for child in self.children if isinstance(child, Element)]

    def walk(self) -> Iterator[Element]:
        """Yield the elements inside, in the order of the page."""
        for child in self.elements():
            yield child
            yield from child.walk()

    def texts(self) -> Iterator[Text]:
        """Yield the texts inside, in the order of the page."""
        for child in self.children:
            if isinstance(child, Text):
                yield child
            elif child.tag == "br":
                yield Text("\n", child.line)
            else:
                yield from child.texts()

    def text(self) -> str:
        """Return the text inside."""
        return "".join(text.text for text in self.texts())

    def code(self, path: Path) -> Code:
        """Return the lines of the text inside."""
        if self.included:
            return self.included
        lines = [Line("", Place(path, self.line))]
        for text in self.texts():
            first, *others = text.text.replace("\r\n", "\n").split("\n")
            # a line is where its first text stands
            place = lines[-1].place if lines[-1].text else Place(path, text.line)
            lines[-1] = Line(lines[-1].text + first, place)
            lines += [Line(t, Place(path, text.line + i)) for i, t in enumerate(others, 1)]
        return tuple(lines)

    def sibling(self, step: int) -> Element | None:
        """Return the element before (-1) or after (1) this one."""
        if not self.parent:
            return None
        around = self.parent.elements()
        index = around.index(self) + step
        return around[index] if 0 <= index < len(around) else None

    def remove(self) -> None:
        """Take the element out of the tree."""
        if self.parent:
            self.parent.children.remove(self)


class Tree:
    """A tree that grows: elements are opened and closed, and HTML is read into it.

    `end` is the line end of the page.
    """

    def __init__(self, end: str = "\n") -> None:
        self.end = end
        self.root = Element("#root")
        self._open = [self.root]

    def open(self, tag: str, line: int, attributes: dict[str, str] | None = None) -> Element:
        """Begin an element at a line of the page."""
        ended = IMPLIED.get(tag, ())
        if self._open[-1].tag in ended or (self._open[-1].tag == "p" and tag in BLOCKS):
            self._open.pop()
        element = Element(tag, attributes or {}, line, self._open[-1])
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)
        return element

    def close(self, tag: str) -> Element | None:
        """End the innermost open element of a tag, with those inside; `None` if there is none."""
        for i in range(len(self._open) - 1, 0, -1):
            if self._open[i].tag == tag:
                element = self._open[i]
                del self._open[i:]
                return element
        return None

    def add(self, text: str, line: int) -> None:
        """Add a text that begins at a line of the page."""
        self._open[-1].children.append(Text(text, line))

    def block(self, code: str, line: int, info: str, slot: Slot | None) -> Element:
        """Add a block of code as Markdown's is rendered: `pre` with `code`."""
        self.open("pre", line)
        element = self.open("code", line)
        element.info, element.slot = info, slot
        self.add(code, line)
        self.close("pre")
        return element

    def html(self, text: str, line: int, offsets: Sequence[int], prefix: str = "") -> None:
        """Read HTML whose first line is line `line` of the page.

        `offsets` are those of its lines in the page, `prefix` is what precedes each of them there.
        """
        parser = _Parser(self, line, offsets, prefix)
        parser.feed(text)
        parser.close()


class _Parser(HTMLParser):
    """Reads a piece of HTML into a tree."""

    def __init__(self, tree: Tree, line: int, offsets: Sequence[int], prefix: str) -> None:
        super().__init__()
        self._tree, self._first, self._offsets, self._prefix = tree, line, offsets, prefix

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in reversed(attrs)}
        element = self._tree.open(tag, self._line(), attributes)
        start = self._offset() + len(self.get_starttag_text() or "")
        element.slot = Slot(start, start, str)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # HTML has no empty elements but the void ones: the slash means nothing
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        element = self._tree.close(tag)
        if element and element.slot:
            start, end = element.slot.start, self._offset()
            element.slot = Slot(start, end, self._writer(element))

    def handle_data(self, data: str) -> None:
        self._tree.add(data, self._line())

    def _writer(self, element: Element) -> _Writer:
        return _Writer(element.text(), f"{self._tree.end}{self._prefix}")

    def _line(self) -> int:
        return self._first + self.getpos()[0] - 1

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._offsets[line - 1] + column


@dataclass(frozen=True)
class _Writer:
    """Writes an output between two tags; the blanks around the former one stay."""

    former: str
    line_end: str

    def __call__(self, output: str) -> str:
        former = self.former.replace("\r\n", "\n")
        before = former[: len(former) - len(former.lstrip())]
        after = former[len(former.rstrip()) :] if former.strip() else ""
        text = f"{before}{escape(output, quote=False)}{after}"
        return text.replace("\n", self.line_end)
