"""Reads the config: merges the defaults as mappings, and builds each object once.

All errors of all files are collected with their file and key, and reported together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from codapi_flask.config import crosscheck, layouts, references, schema
from codapi_flask.config.model import BoxSpec, Command, Config, Preload, Step
from codapi_flask.config.problems import Problems, join
from codapi_flask.config.timeouts import Timeouts
from codapi_flask.errors import ConfigError
from codapi_flask.files import normalise

Values = dict[str, Any]


def load_config(root: Path) -> Config:
    """Read the config under `root`: `codapi.json`, `sandboxes/` and `configs/`.

    The environment's `CODAPI_WORK_DIR` and `CODAPI_POOL_SIZE` come before the config's `work_dir`
    and `pool_size`.

    Raises:
        ConfigError: with every problem of every file.
    """
    problems = Problems(root)
    try:
        config = _Reader(root, problems).read()
    except OSError as error:
        raise ConfigError([f"{error.filename}: {error.strerror}"]) from error
    if problems.texts:
        raise ConfigError(problems.texts)
    return config


class _Reader:
    """Reads one config; `problems` grows as it goes."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self._root, self._problems = root, problems
        self._boxes: dict[str, BoxSpec] = {}
        self._places: dict[str, tuple[Path, str]] = {}
        self._titles: dict[str, str] = {}
        self._has_all_boxes = True

    def read(self) -> Config:
        """Return the config, without the invalid values."""
        file = layouts.top_file(self._root)
        top = self._checked(schema.TOP, file, "", self._document(file) or {})
        box, step, http, auth, cors, docker = (
            top.pop(key, {}) for key in ("box", "step", "http", "auth", "cors", "docker")
        )
        if "tmp" in docker:
            top.setdefault("work_dir", docker["tmp"])
        top |= self._checked(schema.TOP, Path("environment"), "", _of_environment())
        top |= {**http, **cors, "tokens": self._tokens(file, auth)}
        self._read_boxes(self._with_profile(file, "box", box))
        self._cross(file, "", crosscheck.check_stock(top.get("stock_size"), self._boxes))
        commands = dict(self._commands(step))
        self._read_preloads(commands.values())
        top |= {"titles": self._titles, "starters": dict(self._starters(commands))}
        top["timeouts"] = Timeouts.of(top.get("start_timeout", Config().start_timeout))
        return Config(root=str(self._root), boxes=self._boxes, commands=commands, **top)

    def _tokens(self, file: Path, auth: Values) -> tuple[str, ...]:
        """Return the tokens of the config, of the file that it names, and of the environment."""
        tokens = list(auth.get("tokens", ()))
        try:
            tokens += references.tokens(os.environ.get("CODAPI_TOKENS", ""))
        except ValueError as error:
            self._problems.add(Path("environment"), "CODAPI_TOKENS", str(error))
        if name := auth.get("tokens_file"):
            try:
                tokens += references.read_tokens(self._root / name)
            except ValueError as error:
                self._problems.add(file, "auth.tokens_file", f"{name}: {error}")
        if auth and not tokens:
            todo = "set tokens or tokens_file, or CODAPI_TOKENS"
            self._problems.add(file, "auth", f"there is no token: {todo}")
        return tuple(tokens)

    def _with_profile(self, file: Path, key: str, box: Values) -> Values:
        """Return a box's values with the text of its seccomp profile."""
        name = box.get("seccomp", "default")
        if name in ("default", "docker"):
            return box
        try:
            return {**box, "seccomp": references.read_profile(self._root / name)}
        except ValueError as error:
            self._problems.add(file, join(key, "seccomp"), str(error))
            return box

    def _read_boxes(self, defaults: Values) -> None:
        for file, key, given in self._box_objects():
            values = self._with_profile(file, key, self._checked(schema.BOX, file, key, given))
            name = values.setdefault("name", key or layouts.stem(file))
            env = {**defaults.get("env", {}), **values.get("env", {})}
            values["env"] = tuple(f"{variable}={text}" for variable, text in env.items())
            preload = values.get("preload", defaults.get("preload"))
            if preload is not None:
                values["preload"] = Preload(**preload)
            self._boxes[name] = box = BoxSpec(**{"image": "", **defaults, **values})
            self._cross(file, key, crosscheck.check_box_name(name))
            if isinstance(given, dict):
                self._cross(file, key, crosscheck.check_box(box))
            if (first := self._places.setdefault(name, (file, key))) != (file, key):
                self._not_twice(file, key, f"box {name!r}", first[0])

    def _box_objects(self) -> Iterator[tuple[Path, str, Any]]:
        """Yield file, key and value of each box."""
        for file in layouts.box_files(self._root):
            document = self._document(file)
            if document is None:
                self._has_all_boxes = False
            elif file == self._root / layouts.ALL_BOXES:
                yield from ((file, name, given) for name, given in document.items())
            else:
                yield file, "", document

    def _commands(self, step_defaults: Values) -> Iterator[tuple[str, dict[str, Command]]]:
        files: dict[str, Path] = {}
        for file in layouts.command_files(self._root):
            sandbox, commands = layouts.stem(file), {}
            self._cross(file, "", crosscheck.check_name(sandbox))
            if (first := files.setdefault(sandbox, file)) != file:
                self._not_twice(file, "", f"sandbox {sandbox!r}", first)
            document = self._document(file) or {}
            if title := _title(document):
                self._titles[sandbox] = title
            for name, given in document.items():
                self._cross(file, name, crosscheck.check_name(name))
                values = self._checked(schema.COMMAND, file, name, given)
                commands[name] = command = _command(values, step_defaults)
                if isinstance(given, dict) and not self._problems.has(file, join(name, "engine")):
                    self._cross(file, name, crosscheck.check_engine(command))
                found = crosscheck.check_steps(command, self._boxes, self._has_all_boxes)
                self._cross(file, name, found)
                self._cross(file, name, crosscheck.check_cache(command, self._boxes))
            yield sandbox, commands

    def _read_preloads(self, sandboxes: Iterable[Mapping[str, Command]]) -> None:
        """Give what waits in boxes the programs and users of the steps that run in them."""
        commands = [command for named in sandboxes for command in named.values()]
        steps = [step for command in commands for step in command.all_steps()]
        for name, box in self._boxes.items():
            own = [
                step
                for step in steps
                if step.action == "run" and crosscheck.candidates(step, {name: box})
            ]
            self._cross(*self._places[name], crosscheck.check_preload(box, own))
            self._boxes[name] = replace(box, preload=crosscheck.preload_for(box, own))

    def _starters(self, sandboxes: Iterable[str]) -> Iterator[tuple[str, str]]:
        for sandbox in sandboxes:
            if file := layouts.starter_file(self._root, sandbox):
                try:
                    yield sandbox, references.read_starter(file)
                except ValueError as error:
                    self._problems.add(file, "", str(error))

    def _not_twice(self, file: Path, key: str, what: str, other: Path) -> None:
        self._problems.add(file, key, f"the {what} is in {self._problems.shown(other)} too")

    def _document(self, file: Path) -> Values | None:
        """Return the object that a file holds, `None` if it cannot be read."""
        try:
            return layouts.read(file)
        except layouts.Unreadable as error:
            self._problems.add(file, "", str(error))
            return None

    def _checked(self, model: type[BaseModel], file: Path, key: str, given: Any) -> Values:
        """Return the valid values of an object; report the others."""
        right, wrong = schema.check(model, given)
        for place, text in wrong:
            self._problems.add(file, join(key, place), text)
        return right

    def _cross(self, file: Path, key: str, found: Iterable[tuple[str, str]]) -> None:
        """Report what does not fit together, unless the value itself is invalid."""
        for place, text in found:
            if not place or not self._problems.has(file, join(key, place)):
                self._problems.add(file, join(key, place), text)


def _of_environment() -> Values:
    """Return the keys of the top file that the environment sets."""
    size, work_dir = os.environ.get("CODAPI_POOL_SIZE"), os.environ.get("CODAPI_WORK_DIR")
    found: Values = {"work_dir": work_dir} if work_dir else {}
    if size:
        found["pool_size"] = int(size) if size.isascii() and size.isdigit() else size
    return found


def _title(document: Values) -> str:
    """Take the sandbox's title out of its commands; an object of that key is a command."""
    is_title = isinstance(document.get(schema.TITLE, {}), str | None)
    return (document.pop(schema.TITLE) or "") if is_title else ""


def _command(values: Values, defaults: Values) -> Command:
    def step(given: Values) -> Step:
        return Step(**{"box": "", **defaults, **given})

    built: Values = {name: step(values[name]) for name in ("before", "after") if name in values}
    built["steps"] = tuple(map(step, values.get("steps", ())))
    built["entry"] = normalise(values["entry"]) if "entry" in values else ""
    return Command(**(values | built))
