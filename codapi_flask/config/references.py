"""Reads the files that belong to a config: a seccomp profile, tokens, starters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codapi_flask.config.problems import shown

ACTIONS = [
    f"SCMP_ACT_{name}"
    for name in ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP")
]
"""Source: https://docs.docker.com/engine/security/seccomp/."""


MAX_STARTER = 1 << 16
"""Limit on the size of a starter, in bytes: every client of `/v1/sandboxes` gets all of them."""


def read_starter(path: Path) -> str:
    """Return the text of a starter.

    Raises:
        ValueError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        # a named pipe would never end
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        with path.open("rb") as file:
            content = file.read(MAX_STARTER + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_STARTER:
        raise ValueError(f"a starter may have at most {MAX_STARTER >> 10} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("a starter must be UTF-8") from error


def read_profile(path: Path) -> str:
    """Return the text of a seccomp profile in Docker's form.

    Raises:
        ValueError: it cannot be read, or has no default action: Docker would take it for none.
    """
    try:
        profile: Any = json.loads(path.read_bytes())
    except OSError as error:
        why = f"{error.strerror}; known are 'default', 'docker', and paths"
        raise ValueError(f"{path}: {why}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON: {error}") from error
    if not isinstance(profile, dict) or profile.get("defaultAction") not in ACTIONS:
        must = "must be an object with a defaultAction, like SCMP_ACT_ERRNO"
        raise ValueError(f"{path}: is no seccomp profile: {must}, not {shown(profile)}")
    return json.dumps(profile, separators=(",", ":"))


def read_tokens(path: Path) -> list[str]:
    """Return the tokens of a file, where white space separates them.

    Raises:
        ValueError: it cannot be read, or holds a character beyond ASCII.
    """
    try:
        return tokens(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise ValueError(str(error.strerror)) from error


def tokens(text: str) -> list[str]:
    """Return the tokens of a text, where white space separates them.

    Raises:
        ValueError: it holds a character beyond ASCII, which clients encode in different ways.
    """
    found = text.split()
    if not all(token.isascii() and token.isprintable() for token in found):
        raise ValueError("a token may have only ASCII characters")
    return found
