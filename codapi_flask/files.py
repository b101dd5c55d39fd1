"""The files of a request: decoding, checks of their names, writing."""

from __future__ import annotations

import base64
import binascii
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from glob import iglob
from pathlib import Path
from urllib.parse import unquote_to_bytes

from codapi_flask.errors import FileError, ServerFault

# RFC 2397: a text that merely begins with `data:` (YAML does) is no URL
DATA_URL = re.compile(
    r"data:(?:[\w!#$&^.+-]+/[\w!#$&^.+-]+)?(?:;[\w!#$&^.+-]+=[^\s;,]*)*(?P<base64>;base64)?,",
    re.ASCII | re.IGNORECASE,
)
MAX_NAME = 255
MAX_PATH = 1024

MAX_ENTRIES = 10_000
"""Limit on the files and directories of a request: a small body could name half a million."""


def decode(name: str, text: str) -> bytes:
    """Return the bytes of a file, as `to_bytes` does.

    Raises:
        FileError: the URL's base64 is invalid.
    """
    try:
        return to_bytes(text)
    except ValueError as error:
        raise FileError(name, str(error)) from None


def valid(text: str) -> str:
    """Return a text with U+FFFD for lone surrogates, which JSON allows and UTF-8 does not."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_bytes(text: str) -> bytes:
    """Return the bytes of a `data:` URL (RFC 2397), or of any other text in UTF-8.

    Raises:
        ValueError: the URL's base64 is invalid.
    """
    url = DATA_URL.match(text)
    if not url:
        return valid(text).encode()
    data = unquote_to_bytes(text[url.end() :].encode("utf-8", "replace"))
    if not url["base64"]:
        return data
    try:
        # Go's decoder, which Codapi uses, skips line breaks, too
        return base64.b64decode(data.translate(None, b"\r\n"), validate=True)
    except binascii.Error:
        raise ValueError("invalid base64 in the data URL") from None


def normalise(name: str) -> str:
    """Return the name without empty, `.` and `..` parts; an invalid name is returned as it is.

    Lexical, as in Codapi: `a/../b` is `b`, whatever `a` is.
    """
    # normpath of Python 3.11 cuts the name at a NUL
    path = name if "\0" in name else posixpath.normpath(name)
    try:
        check_name(path)
    except FileError:
        return name
    return path


def check_name(name: str) -> None:
    """Check that a name is a relative path to a file that stays inside its directory.

    Raises:
        FileError: it is not, or it exceeds 255 bytes between two slashes, or 1,024 in all.
    """
    try:
        path = name.encode()
    except UnicodeEncodeError:
        path = b""
    parts = path.split(b"/")
    unfit = any(part in (b"", b".", b"..") or len(part) > MAX_NAME for part in parts)
    if unfit or b"\0" in path or len(path) > MAX_PATH:
        raise FileError(name, "invalid name")


def write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a directory: parents 0755, files 0444, regardless of the umask.

    Every name is checked before the first file is written.

    Raises:
        FileError: a name is invalid, or is another file's directory, or there are too many.
        ServerFault: the disk is full, or read-only.
    """
    entries: set[str] = set()
    for name in files:
        check_name(name)
        entries.update(_parents(name), [name])
        if len(entries) > MAX_ENTRIES:
            raise FileError(name, f"more than {MAX_ENTRIES} files and directories")
    made: set[str] = set()
    for name, content in files.items():
        try:
            for parent in _parents(name):
                if parent not in made:
                    made.add(parent)
                    (directory / parent).mkdir()
                    (directory / parent).chmod(0o755)
            _write_new(directory / name, content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise FileError(name, "invalid name") from None
        except OSError as error:
            # without the file's name: clients' names do not belong in the log
            raise ServerFault(f"cannot write to {directory}: {error.strerror}") from error


def copy(root: Path, patterns: Iterable[str], directory: Path) -> None:
    """Copy the files under `root` that match a glob pattern; existing files stay."""
    for pattern in patterns:
        for source in sorted(matching(root, pattern)):
            try:
                _write_new(directory / source.name, source.read_bytes())
            except FileExistsError:
                continue


def matching(root: Path, pattern: str) -> Iterator[Path]:
    """Yield the files under `root` that match a glob pattern."""
    yield from filter(Path.is_file, (root / name for name in iglob(pattern, root_dir=root)))


def _parents(name: str) -> list[str]:
    """Return the directories above a file, the uppermost first."""
    return [name[:place] for place, character in enumerate(name) if character == "/"]


def _write_new(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file, left = os.open(path, flags, 0o444), memoryview(content)
    try:
        os.fchmod(file, 0o444)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)
