"""Which pages were saved, by the modification times of files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from codapi_flask.verify.pages.read import find
from codapi_flask.verify.run import Result
from codapi_flask.verify.snippet import PageError


class Watcher:
    """Tells which pages were saved, or had a file saved that they use, since the last look."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Watch the pages below paths."""
        self._paths = list(paths)
        self._used: dict[Path, frozenset[Path]] = {}
        self._stamps: dict[Path, int] = {}

    def learn(self, results: Iterable[Result]) -> None:
        """Note which files the pages use."""
        for result in results:
            path = result.snippet.path
            self._used[path] = self._used.get(path, frozenset()) | result.paths
        self.saved()

    def saved(self) -> list[Path]:
        """Return the pages that were saved since the last call, new ones too."""
        try:
            pages = find(self._paths)
        except PageError:
            # an editor may be replacing a page right now
            pages = [path for path in self._used if path.exists()]
        files = {*pages, *(path for page in pages for path in self._used.get(page, ()))}
        now = {path: _stamp(path) for path in files}
        changed = {path for path, stamp in now.items() if self._stamps.get(path) != stamp}
        self._stamps |= now
        return [page for page in pages if {page, *self._used.get(page, ())} & changed]


def _stamp(path: Path) -> int:
    """Return a file's modification time in nanoseconds, 0 if it is missing."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
