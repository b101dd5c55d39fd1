"""Adds recipes to the configs below a root, builds their images, and removes them again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from codapi_flask.config import layouts
from codapi_flask.config.load import load_config
from codapi_flask.config.names import is_name
from codapi_flask.errors import ConfigError, RecipeError

Values = dict[str, Any]


def add(root: Path, name: str, folder: Path) -> Path:
    """Copy a recipe to `sandboxes/NAME/`, and return that; nothing stays if the config gets errors.

    Raises:
        RecipeError: the name is none, or is taken, or the recipe's files have errors.
    """
    if not is_name(name):
        raise RecipeError(f"{name!r} is no name of a sandbox: choose another one with --name")
    target = root / "sandboxes" / name
    if target.exists() or (root / "configs/commands" / f"{name}.json").exists():
        raise RecipeError(f"the sandbox {name} is there already: remove it first")
    before = _problems(root)
    shutil.copytree(folder, target)
    if new := [each for each in _problems(root) if each not in before]:
        shutil.rmtree(target)
        raise RecipeError("\n  ".join([f"the recipe of {name} has errors:", *new]))
    return target


def scripts(folder: Path) -> list[Path]:
    """Return the shell scripts of a recipe that are not copied into its image by a Dockerfile.

    They are `build.sh` and `setup.sh`, in the order in which Codapi runs them.
    """
    return [folder / name for name in ("build.sh", "setup.sh") if (folder / name).is_file()]


def run_script(script: Path) -> None:
    """Run a script of a recipe in its folder.

    Raises:
        RecipeError: it fails.
    """
    code = subprocess.run(["sh", f"./{script.name}"], cwd=script.parent, check=False).returncode
    if code:
        raise RecipeError(f"{script} failed with status {code}")


def builds(root: Path, name: str) -> list[list[str]]:
    """Return the commands that build the images of a sandbox.

    Raises:
        RecipeError: there is no recipe.
    """
    if (root / "images" / name / "Dockerfile").is_file() and (root / "scripts/images").is_file():
        return [[str(root / "scripts/images"), name]]
    folder = root / "sandboxes" / name
    if not (folder / "Dockerfile").is_file():
        raise RecipeError(f"no recipe: neither images/{name} nor sandboxes/{name} has a Dockerfile")
    images = {str(values["image"]) for _, values in _boxes(root, name) if "image" in values}
    return [["docker", "build", "--tag", image, str(folder)] for image in sorted(images)]


def build(command: Sequence[str]) -> Iterator[str]:
    """Run a command that builds an image, and yield its lines.

    Raises:
        RecipeError: it fails; its last lines were yielded.
    """
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        with subprocess.Popen(command, text=True, **streams) as process:  # type: ignore[call-overload]
            output: IO[str] = process.stdout
            yield from (line.rstrip() for line in output)
    except FileNotFoundError as error:
        raise RecipeError(f"{command[0]} is not installed") from error
    if process.returncode:
        raise RecipeError(f"this failed: {' '.join(command)}")


def remove(root: Path, name: str) -> tuple[list[Path], list[str]]:
    """Remove a sandbox's files; return them, and the names of the images that only it used.

    Raises:
        RecipeError: there is no such sandbox, others need its boxes, or these share a file with
            those of others. Nothing is removed then.
    """
    files, boxes = [*_files(root, name)], dict(_boxes(root, name))
    if not files:
        raise RecipeError(f"there is no sandbox {name}")
    shared = [box for box in boxes if box in _read(root / layouts.ALL_BOXES)]
    if shared:
        which = f"{', '.join(shared)} from {layouts.ALL_BOXES}"
        raise RecipeError(f"remove the boxes {which} first, then try again")
    images = {str(values["image"]) for values in boxes.values() if "image" in values}
    before = _problems(root)
    with tempfile.TemporaryDirectory(prefix="codapi-") as attic:
        for number, path in enumerate(files):
            shutil.move(path, Path(attic) / str(number))
        if new := [each for each in _problems(root) if each not in before]:
            for number, path in enumerate(files):
                shutil.move(Path(attic) / str(number), path)
            raise RecipeError("\n  ".join([f"without {name} the config has errors:", *new]))
    used = {str(values.get("image")) for _, values in _all_boxes(root)}
    return files, sorted(images - used)


def _files(root: Path, name: str) -> Iterator[Path]:
    """Yield what belongs to a sandbox alone."""
    starter = layouts.starter_file(root, name)
    places = [
        root / "sandboxes" / name,
        root / "configs/commands" / f"{name}.json",
        root / "configs/boxes" / f"{name}.json",
        *([starter] if starter and starter.parent.name == "starters" else []),
    ]
    yield from (path for path in places if path.exists())


def _boxes(root: Path, name: str) -> Iterator[tuple[str, Values]]:
    """Yield the boxes of a sandbox, by name: those of its folder, and the one of its own name."""
    for box, values in _all_boxes(root):
        if box == name or values.get("folder") == name:
            yield box, values


def _all_boxes(root: Path) -> Iterator[tuple[str, Values]]:
    """Yield all boxes by name, with the name of the `folder` in which they are."""
    for file in layouts.box_files(root):
        document = _read(file)
        if file == root / layouts.ALL_BOXES:
            yield from ((key, dict(values or {})) for key, values in document.items())
        else:
            stem = layouts.stem(file)
            yield str(document.get("name", stem)), {**document, "folder": stem}


def _read(file: Path) -> Values:
    try:
        return layouts.read(file)
    except layouts.Unreadable:
        # the check of the config names it
        return {}


def _problems(root: Path) -> list[str]:
    try:
        load_config(root)
    except ConfigError as error:
        return error.problems
    return []
