"""Reads the files that a config names: a seccomp profile, tokens."""

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
