"""Collects the errors of the config files, each with its file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_SHOWN = 80
"""Characters of a value that a text shows."""


class Problems:
    """What is wrong with the files under `root`; `texts` are as `FILE: KEY: what is wrong`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._places: set[str] = set()
        self.texts: list[str] = []

    def add(self, file: Path, key: str, text: str) -> None:
        """Add what is wrong with a key of a file, or (`""`) with the file."""
        self._places.add(self._place(file, key))
        self.texts.append(_escaped(f"{self._place(file, key)}: {text}"))

    def has(self, file: Path, key: str) -> bool:
        """Whether something is wrong with the value of a key, or with a part of it."""
        place = self._place(file, key)
        parts = f"{place}[", f"{place}."
        return any(each == place or each.startswith(parts) for each in self._places)

    def shown(self, file: Path) -> str:
        """Return a file's path as texts have it."""
        return str(file.relative_to(self._root) if file.is_relative_to(self._root) else file)

    def _place(self, file: Path, key: str) -> str:
        return f"{self.shown(file)}: {key}" if key else self.shown(file)


def _escaped(text: str) -> str:
    """Return a text for a terminal or a log: a key may hold a NUL, an escape, or a line's end."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def join(*parts: str | int) -> str:
    """Return a key by the keys and indexes that lead to it, such as `run.steps[1].box`."""
    key = ""
    for part in parts:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key and part else part
    return key


def shown(value: Any) -> str:
    """Return a value as a text shows it: cut off, if it is long."""
    if isinstance(value, str):
        return f"{value!r:.{MAX_SHOWN}}"
    try:
        return f"{json.dumps(value):.{MAX_SHOWN}}"
    except RecursionError:
        return "that"
