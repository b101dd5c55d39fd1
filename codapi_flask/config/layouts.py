"""Finds the config files, in all three layouts of Codapi, and reads them.

With `codapi.json` in the root, that is the top file, else `configs/config.json`. Boxes and commands
come from all of `sandboxes/NAME/`, `configs/boxes/`, `configs/boxes.json` and `configs/commands/`.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import json5

from codapi_flask.config.model import TOP_FILES
from codapi_flask.config.problems import shown
from codapi_flask.errors import ConfigError

COMMENTS = re.compile(r"^[ \t]*//.*", re.MULTILINE)
"""Lines that are comments as a whole: the one feature of JSON5 that most configs use."""

ALL_BOXES = "configs/boxes.json"


class Unreadable(Exception):
    """A file cannot be read, or holds no object in JSON5; the text tells why."""


def top_file(root: Path) -> Path:
    """Return the top file.

    Raises:
        ConfigError: there is none.
    """
    for name in TOP_FILES:
        if (root / name).exists():
            return root / name
    what = "neither codapi.json nor configs/config.json is here"
    todo = "start the server in the directory that holds the configs, or set CODAPI_ROOT"
    raise ConfigError([f"{root}: {what}: {todo}"])


def box_files(root: Path) -> list[Path]:
    """Return the files of all places that have boxes; `ALL_BOXES` holds them by name.

    That one is missing only if there is another place.
    """
    places = _there(root, {"sandboxes": "box.json", "configs/boxes": "*.json"})
    files = _found_in(places)
    return files if places and not (root / ALL_BOXES).exists() else [*files, root / ALL_BOXES]


def command_files(root: Path) -> list[Path]:
    """Return the files of all places that hold a sandbox's commands by name."""
    return _found_in(_there(root, {"sandboxes": "commands.json", "configs/commands": "*.json"}))


def starter_file(root: Path, sandbox: str) -> Path | None:
    """Return the file with a sandbox's starter, the first by name; `None` without one."""
    places = (root / "configs/starters", sandbox), (root / "sandboxes" / sandbox, "hello")
    found = (
        file
        for folder, name in places
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.stem == name and file.suffix and not file.is_dir()
    )
    return next(found, None)


def stem(file: Path) -> str:
    """Return the name that a file's place gives: its folder's in `sandboxes/`, else its own."""
    return file.parent.name if file.parent.parent.name == "sandboxes" else file.stem


def read(file: Path) -> dict[str, Any]:
    """Return the object that a file holds.

    Raises:
        Unreadable: there is none.
    """
    try:
        if file.exists() and not file.is_file():
            raise OSError(errno.EINVAL, "it is no file")
        document = _parse(file.read_text(encoding="utf-8-sig"))
        json.dumps(document, ensure_ascii=False).encode()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        why = f"holds {half}, half of a surrogate pair: write both halves, or the character"
        raise Unreadable(why) from error
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error
    except ValueError as error:
        raise Unreadable(re.sub(r"^<string>:(\d+)", r"line \1:", str(error))) from error
    if not isinstance(document, dict):
        raise Unreadable(f"must be an object, not {shown(document)}")
    if isinstance(document.get("$schema"), str):
        # for editors
        del document["$schema"]
    return document


def _there(root: Path, places: Mapping[str, str]) -> dict[Path, str]:
    """Return the folders that exist, each with the name of its files."""
    return {root / name: files for name, files in places.items() if (root / name).is_dir()}


def _found_in(places: Mapping[Path, str]) -> list[Path]:
    return [file for folder, name in places.items() for file in _found(folder, name)]


def _found(folder: Path, name: str) -> list[Path]:
    """Return the files of that name in a folder, or in each of those in `sandboxes`, by name.

    `Path.glob` would take a folder that it may not read for an empty one.
    """
    folders = sorted(folder.iterdir()) if folder.name == "sandboxes" else [folder]
    files = (file for each in folders if each.is_dir() for file in sorted(each.iterdir()))
    return [file for file in files if file.match(name)]


def _parse(text: str) -> Any:
    """Parse JSON, maybe with lines of comments, or else JSON5, which takes far longer."""
    for each in text, COMMENTS.sub("", text):
        with suppress(json.JSONDecodeError):
            return json.loads(each, object_pairs_hook=_object)
    document = json5.loads(text, allow_duplicate_keys=False)
    # json5 leaves the halves of an escaped character apart
    return json.loads(json.dumps(document), object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"Duplicate key {json.dumps(key)} found in object")
        found[key] = value
    return found
