"""The documentation as the tests read it: pages, their sections and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.support.server import REPOSITORY

README, DOCS = REPOSITORY / "README.md", REPOSITORY / "docs"
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.glob("*.md"))]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADLINE = re.compile(r"^#+ (.+)$", re.MULTILINE)
EXAMPLE = re.compile(r"^```sh\n(curl [^`]*?)^```\s+^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(page: Path) -> dict[str, str]:
    """Return the texts below the page's headlines, by headline."""
    text = page.read_text()
    # code may have lines that look like headlines
    plain = BLOCK.sub(lambda block: block[0].replace("\n#", "\n "), text)
    headlines = list(HEADLINE.finditer(plain))
    ends = [headline.start() for headline in headlines[1:]] + [len(text)]
    return {h[1]: text[h.end() : end] for h, end in zip(headlines, ends, strict=True)}


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return [code for found, code in BLOCK.findall(text) if found == language]


def files(text: str, language: str, comment: str) -> dict[str, str]:
    """Return the files that a text shows, by path: blocks whose first line is a comment with it."""
    shown = [code.split("\n", 1) for code in blocks(text, language)]
    return {first.removeprefix(comment): code for first, code in shown if first.startswith(comment)}


def config_files(text: str) -> dict[str, str]:
    """Return the config files that a text shows, by path."""
    return files(text, "json", "// ")


def write_config(root: Path, shown: Mapping[str, str]) -> Path:
    """Write config files below a root; required files that are not shown are empty."""
    for name, text in {"configs/config.json": "{}", "configs/boxes.json": "{}", **shown}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def examples(text: str) -> list[tuple[str, str]]:
    """Return the requests that a text shows together with their answers."""
    return EXAMPLE.findall(text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's sections."""
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in sections(page)}
