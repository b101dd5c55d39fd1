"""Reads the files that programs left in a work directory and whose names match patterns.

Programs chose every name and every kind of file there. So no link is followed, no open waits, and
all of it is bounded: names, levels, bytes, files and time.
"""

from __future__ import annotations

import base64
import mimetypes
import os
import posixpath
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import islice
from pathlib import Path

from codapi_flask.boxes.quota import DEPTH
from codapi_flask.boxes.trees import opened
from codapi_flask.config.model import Step
from codapi_flask.files import MAX_ENTRIES, MAX_PATH
from codapi_flask.models import LeftOut

HERE = "."
"""The name of the work directory itself, for reasons that concern no single file."""

MAX_LISTED = 100
"""Limit on the files that are listed as left out, each by name."""

MAX_TIME = 5.0
"""Seconds for the whole tree: it must not occupy a worker."""

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags to open a file that a program may have replaced by a link or a pipe."""

OTHER = "application/octet-stream"

Stamp = tuple[int, ...]
Pattern = tuple[str, ...]
"""The parts of a pattern; the last is never `**`."""


class _Enough(Exception):
    """The rest of the tree is not looked at; the text is the reason."""


class _Unfit(Exception):
    """A file is left out; the text is the reason."""


def stamps(directory: Path) -> dict[str, Stamp]:
    """Return the state of all files by path, to find unchanged ones later; no program may run."""
    walk = os.walk(directory)
    paths = [f"{parent}/{name}" for parent, _, names in walk for name in names]
    return {path.removeprefix(f"{directory}/"): _stamp(os.lstat(path)) for path in paths}


def read(
    directory: Path, steps: Sequence[Step], before: Mapping[str, Stamp]
) -> tuple[dict[str, str], list[LeftOut]]:
    """Return the files that some step's `outputs` match, as `data:` URLs, and what is left out.

    The largest `outputs_size` and `outputs_count` of the steps apply. Files that still have their
    stamp of `before` are neither returned nor listed. No program may run.
    """
    reader = _Reader(steps, before)
    patterns = frozenset(_parts(text) for step in steps for text in step.outputs)
    try:
        with opened(directory) as top:
            reader.walk(top, "", patterns)
    except _Enough as why:
        reader.leave_out(HERE, str(why))
    except OSError as error:
        reader.leave_out(HERE, _reason(error))
    return dict(sorted(reader.files.items())), reader.listed()


def media_type(name: str) -> str:
    """Return the media type that a file's ending stands for, whatever the host's tables say."""
    # only the ending: a whole name may look like a URL
    kind, encoding = _types().guess_type("x" + posixpath.splitext(name)[1].lower(), strict=False)
    return OTHER if encoding or not kind else kind


class _Reader:
    """Reads one tree; `files` and `left_out` grow as it goes."""

    def __init__(self, steps: Sequence[Step], before: Mapping[str, Stamp]) -> None:
        allowed = [step for step in steps if step.outputs]
        self._size = max((step.outputs_size for step in allowed), default=0) << 10
        self._count = max((step.outputs_count for step in allowed), default=0)
        self._before = before
        self._room, self._entries = self._size, MAX_ENTRIES
        self._deadline = time.monotonic() + MAX_TIME
        self.files: dict[str, str] = {}
        self._left_out: list[LeftOut] = []
        self._unlisted = 0

    def listed(self) -> list[LeftOut]:
        """Return the first `MAX_LISTED` files that are left out, and how many more there are."""
        more = [LeftOut(HERE, f"{self._unlisted} more are left out")] if self._unlisted else []
        return self._left_out + more

    def leave_out(self, path: str, why: str) -> None:
        """Note a file that the client does not get."""
        if len(self._left_out) >= MAX_LISTED and path != HERE:
            self._unlisted += 1
            return
        shown = os.fsencode(path).decode("utf-8", "replace")
        if len(shown) > MAX_PATH:
            shown = shown[:MAX_PATH] + "…"
        self._left_out.append(LeftOut(shown, why))

    def walk(self, top: int, above: str, patterns: frozenset[Pattern], depth: int = 1) -> None:
        """Read an open directory; `patterns` are what names in it may match.

        Raises:
            _Enough: the tree is too large.
        """
        for name in self._names(top):
            rest = frozenset(_after(name, patterns))
            if not rest:
                continue
            if time.monotonic() > self._deadline:
                raise _Enough(f"the rest is not looked at: it took more than {MAX_TIME:g} s")
            path = above + name
            try:
                info = os.stat(name, dir_fd=top, follow_symlinks=False)
                if stat.S_ISLNK(info.st_mode):
                    raise _Unfit("a link")
                if stat.S_ISDIR(info.st_mode) and rest != {()}:
                    if depth == DEPTH:
                        raise _Unfit(f"more than {DEPTH} levels of directories")
                    with opened(name, top) as child:
                        self.walk(child, f"{path}/", rest - {()}, depth + 1)
                elif () in rest and self._before.get(path) != _stamp(info):
                    self.files[path] = self._read(top, name, path, info)
            except _Unfit as why:
                self.leave_out(path, str(why))
            except OSError as error:
                self.leave_out(path, _reason(error))

    def _names(self, directory: int) -> Iterator[str]:
        """Yield the names in a directory in their order, as many as may still be looked at."""
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in islice(entries, self._entries))
            is_whole = next(entries, None) is None
        self._entries -= len(names)
        yield from names
        if not is_whole:
            raise _Enough(f"the rest is not looked at: more than {MAX_ENTRIES} names")

    def _read(self, directory: int, name: str, path: str, info: os.stat_result) -> str:
        """Return a file as a `data:` URL."""
        self._check(info)
        try:
            is_long = len(path.encode()) > MAX_PATH
        except UnicodeEncodeError:
            raise _Unfit("its name is not UTF-8") from None
        if is_long:
            raise _Unfit(f"its name has more than {MAX_PATH} bytes")
        if len(self.files) == self._count:
            raise _Unfit(f"too many files (limit: {self._count})")
        with open(name, "rb", opener=lambda *_: os.open(name, FLAGS, dir_fd=directory)) as file:
            # it may be another one by now
            self._check(os.fstat(file.fileno()))
            content = file.read(self._room + 1)
        self._check_size(len(content))
        self._room -= len(content)
        return f"data:{media_type(path)};base64,{base64.b64encode(content).decode()}"

    def _check(self, info: os.stat_result) -> None:
        if not stat.S_ISREG(info.st_mode):
            raise _Unfit("not a regular file")
        if info.st_nlink != 1:
            raise _Unfit("a hard link")
        self._check_size(info.st_size)

    def _check_size(self, size: int) -> None:
        if size > self._room:
            raise _Unfit(f"too large (limit: {self._size >> 10} KiB in all)")


def _parts(text: str) -> Pattern:
    """Return the parts of a pattern: a file lies below the `**` at the end of one."""
    parts = (*text.split("/"),)
    return (*parts, "*") if parts[-1] == "**" else parts


def _after(name: str, patterns: frozenset[Pattern]) -> Iterator[Pattern]:
    """Yield what is left of the patterns that match a name; nothing is left for a whole match.

    As in a shell, a name that begins with a dot needs a pattern that does.
    """
    for first, *rest in patterns:
        if first == "**":
            if not name.startswith("."):
                yield (first, *rest)
            yield from _after(name, frozenset([(*rest,)]))
        elif fnmatchcase(name, first) and (first[:1] == "." or name[:1] != "."):
            yield (*rest,)


def _stamp(info: os.stat_result) -> Stamp:
    times = info.st_mtime_ns, info.st_ctime_ns
    return info.st_dev, info.st_ino, info.st_mode, info.st_uid, info.st_nlink, info.st_size, *times


def _reason(error: OSError) -> str:
    return f"unreadable: {(error.strerror or 'unknown').lower()}"


@cache
def _types() -> mimetypes.MimeTypes:
    return mimetypes.MimeTypes()
