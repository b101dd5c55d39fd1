"""Recipes from a folder, an archive or a git repository, in the form of Codapi's registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codapi_flask.errors import RecipeError

MAX_SIZE, MAX_FILES = 64 << 20, 2000
"""Bytes and files of an archive, so that a small one cannot fill the disk."""

GIT_TIMEOUT = 300
"""Seconds that a clone may take."""

MARKS = "commands.json", "box.json"
"""Files that a recipe's folder has."""


@contextmanager
def opened(source: str) -> Iterator[dict[str, Path]]:
    """Yield the folders of the recipes in a source by name; a copy of them lasts for the block.

    Raises:
        RecipeError: the source cannot be read, holds what is unsafe, or no recipe.
    """
    with tempfile.TemporaryDirectory(prefix="codapi-") as temporary:
        tree = Path(temporary) / "tree"
        if Path(source).is_dir():
            _refuse_links(Path(source))
            shutil.copytree(source, tree, ignore=shutil.ignore_patterns(".git"))
            name = Path(source).resolve().name
        elif Path(source).is_file():
            _extract(Path(source), tree)
            name = Path(source).name.partition(".")[0]
        elif "://" in source or source.startswith("git@"):
            _clone(source, tree)
            name = source.rstrip("/").rpartition("/")[2].removesuffix(".git")
        else:
            raise RecipeError(f"{source}: is no folder, no archive and no git URL")
        found = _recipes(tree, name)
        if not found:
            raise RecipeError(f"{source}: no folder in it has a {' or '.join(MARKS)}")
        yield found


def _recipes(tree: Path, name: str) -> dict[str, Path]:
    """Return the folders of recipes: the tree itself, or those in it, by their names."""
    folders = [path.parent for mark in MARKS for path in tree.rglob(mark)]
    return {name if folder == tree else folder.name: folder for folder in dict.fromkeys(folders)}


def _refuse_links(folder: Path) -> None:
    for path, directories, files in os.walk(folder):
        for each in (Path(path) / name for name in (*directories, *files)):
            if each.is_symlink() or not (each.is_dir() or each.is_file()):
                raise RecipeError(f"{each}: is no file; a recipe holds neither links nor devices")


def _extract(archive: Path, tree: Path) -> None:
    """Extract regular files and folders; anything else refuses the whole archive."""
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                if not (member.isfile() or member.isdir()):
                    raise RecipeError(f"{archive}: {member.name} is a link or a device")
                if member.name.startswith("/") or ".." in Path(member.name).parts:
                    raise RecipeError(f"{archive}: {member.name} leads out of the archive")
            if len(members) > MAX_FILES or sum(each.size for each in members) > MAX_SIZE:
                limits = f"{MAX_FILES} files or {MAX_SIZE >> 20} MiB"
                raise RecipeError(f"{archive}: holds more than {limits}")
            for member in members:
                # owners, modes and times of the archive do not matter
                if content := tar.extractfile(member):
                    target = tree / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content.read())
    except (tarfile.TarError, OSError, EOFError) as error:
        why = f"cannot be read as an archive (.tar.gz): {error}"
        raise RecipeError(f"{archive}: {why}") from error


def _clone(url: str, tree: Path) -> None:
    command = ["git", "clone", "--quiet", "--depth", "1", "--", url, str(tree)]
    # no helper of another protocol, and no question at the terminal
    own = {"GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file", "GIT_TERMINAL_PROMPT": "0"}
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT,
            env={**os.environ, **own},
        )
    except FileNotFoundError as error:
        raise RecipeError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise RecipeError(f"{url}: git clone takes longer than {GIT_TIMEOUT} s") from error
    except subprocess.CalledProcessError as error:
        raise RecipeError(f"{url}: git clone failed: {error.stderr.strip()}") from error
    shutil.rmtree(tree / ".git")
    _refuse_links(tree)
