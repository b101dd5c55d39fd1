"""Reads and checks the config files, in all three layouts of Codapi.

The files are JSON5. Defaults are merged as mappings and each object is built once; whatever is
wrong is collected with its file and key, and reported together.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import json5

from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.config.schema import (
    AUTH,
    BOX,
    COMMAND,
    CORS,
    DOCKER,
    HOSTS,
    OBJECT,
    PROFILE,
    STEP,
    TOP,
    Check,
)
from codapi_flask.errors import ConfigError


def load_config(root: Path) -> Config:
    """Read the config under `root`: `codapi.json` and `sandboxes/`, or `configs/`.

    The environment's `CODAPI_WORK_DIR` comes before the config's `work_dir`.

    Raises:
        ConfigError: with every problem of every file.
    """
    try:
        return _Reader(root).read()
    except OSError as error:
        raise ConfigError([f"{error.filename}: {error.strerror}"]) from error


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
VERSIONED = re.compile(rf"{NAME.pattern}(:[A-Za-z0-9_.-]+)?")


class _Reader:
    """Reads one config; `problems` grows as it goes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        self.broken: set[Path] = set()
        self.step_defaults: dict[str, Any] = {}
        self.boxes: dict[str, BoxSpec] = {}
        self.has_all_boxes = True

    def read(self) -> Config:
        file = self._top_file()
        top = self._checked(file, "", self._object(file), TOP)
        http = self._checked(file, "http", top.pop("http", {}), {"hosts": HOSTS})
        docker = self._checked(file, "docker", top.pop("docker", {}), DOCKER)
        cors = self._checked(file, "cors", top.pop("cors", {}), CORS)
        tokens = self._tokens(file, self._checked(file, "auth", top.pop("auth", {}), AUTH))
        if "tmp" in docker:
            top.setdefault("work_dir", docker["tmp"])
        if work_dir := os.environ.get("CODAPI_WORK_DIR"):
            top |= self._checked(Path("environment"), "", {"work_dir": work_dir}, TOP)
        self.step_defaults = self._checked(file, "step", top.pop("step", {}), STEP)
        defaults = self._checked(file, "box", top.pop("box", {}), BOX)
        self.boxes = dict(self._boxes(self._with_profile(file, "box", defaults)))
        self.has_all_boxes = not self.broken - {file}
        floor = sum(box.warm for box in self.boxes.values())
        if floor > top.get("stock_size", Config().stock_size):
            self._problem(file, "stock_size", "is less than the sum of the boxes' warm")
        commands = dict(self._commands(bool(http.get("hosts"))))
        if self.problems:
            raise ConfigError(self.problems)
        top |= {**http, **cors, "tokens": tokens}
        return Config(root=str(self.root), boxes=self.boxes, commands=commands, **top)

    def _tokens(self, file: Path, auth: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the tokens of the config, of the file that it names, and of the environment."""
        tokens = [*auth.get("tokens", ()), *os.environ.get("CODAPI_TOKENS", "").split()]
        if "tokens_file" in auth:
            try:
                tokens += (self.root / auth["tokens_file"]).read_text(encoding="utf-8").split()
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "is no text"
                self._problem(file, "auth.tokens_file", f"{auth['tokens_file']}: {why}")
        if auth and not tokens:
            self._problem(file, "auth", "there is no token: nobody could use the server")
        return tuple(tokens)

    def _top_file(self) -> Path:
        for name in ("codapi.json", "configs/config.json"):
            if (self.root / name).exists():
                return self.root / name
        raise ConfigError(
            [
                (
                    f"{self.root}: neither codapi.json nor configs/config.json is here: start the "
                    "server in the directory that holds the configs, or set CODAPI_ROOT"
                )
            ]
        )

    def _boxes(self, defaults: Mapping[str, Any]) -> Iterator[tuple[str, BoxSpec]]:
        seen: dict[str, Path] = {}
        for file, key, given in self._box_objects():
            if file in self.broken:
                continue
            values = self._checked(file, key, given, BOX)
            name = values.setdefault("name", key or _stem(file))
            if name in seen:
                self._problem(file, key, f"the box {name!r} is in {self._shown(seen[name])} too")
            seen[name] = file
            if not VERSIONED.fullmatch(name):
                self._problem(file, key, f"{name!r} is no box name: use NAME or NAME:VERSION")
            box = BoxSpec(**{"image": "", **defaults, **self._with_profile(file, key, values)})
            if not box.image and isinstance(given, dict) and given.get("image") is None:
                self._problem(file, f"{key}.image" if key else "image", "no image is given")
            if box.uses > 1 and not box.keeps_nothing:
                where = f"{key}.uses" if key else "uses"
                why = "only a box that is not writable and mounted read-only (:ro) can be reused"
                self._problem(file, where, why)
            yield name, box

    def _with_profile(self, file: Path, key: str, values: dict[str, Any]) -> dict[str, Any]:
        """Return a box's values with the text of its seccomp profile, which must be one.

        Without a default action, Docker would take it for none at all.
        """
        if values.get("seccomp", "default") in ("default", "docker"):
            return values
        path = self.root / values["seccomp"]
        profile, why = None, ""
        try:
            profile = json.loads(path.read_bytes())
            if bad := PROFILE(profile):
                why = f"is no seccomp profile: {bad}"
        except OSError as error:
            why = f"{error.strerror}; known are 'default', 'docker', and paths"
        except (ValueError, RecursionError) as error:
            why = f"is no JSON: {error}"
        if why:
            self._problem(file, f"{key}.seccomp" if key else "seccomp", f"{path}: {why}")
        return {**values, "seccomp": json.dumps(profile, separators=(",", ":"))}

    def _box_objects(self) -> Iterator[tuple[Path, str, Any]]:
        """Yield file, key and value of each box, from the first place that Codapi would read."""
        if (self.root / "sandboxes").is_dir():
            files = self._found("sandboxes", "box.json")
        elif (self.root / "configs/boxes").is_dir():
            files = self._found("configs/boxes", "*.json")
        else:
            file = self.root / "configs/boxes.json"
            yield from ((file, name, value) for name, value in self._object(file).items())
            return
        yield from ((file, "", self._object(file)) for file in files)

    def _commands(self, has_hosts: bool) -> Iterator[tuple[str, Mapping[str, Command]]]:
        has_folders = (self.root / "sandboxes").is_dir()
        place = ("sandboxes", "commands.json") if has_folders else ("configs/commands", "*.json")
        for file in self._found(*place):
            sandbox, commands = _stem(file), {}
            self._check_name(file, "", sandbox)
            for name, given in self._object(file).items():
                self._check_name(file, name, name)
                commands[name] = command = self._command(file, name, given)
                if command.engine == "http" and not has_hosts:
                    self._problem(file, name, "the http engine needs http.hosts in the config")
            yield sandbox, commands

    def _found(self, folder: str, name: str) -> list[Path]:
        """Return the files of a folder, or of each in `sandboxes`, by name.

        `Path.glob` would take a folder that it may not read for an empty one.
        """
        folders = [self.root / folder]
        if folder == "sandboxes":
            folders = sorted(folders[0].iterdir())
        files = (file for each in folders if each.is_dir() for file in sorted(each.iterdir()))
        return [file for file in files if file.match(name)]

    def _check_name(self, file: Path, key: str, name: str) -> None:
        if not NAME.fullmatch(name):
            self._problem(file, key, f"{name!r} is no name: use letters, digits, _.-")

    def _command(self, file: Path, key: str, given: Any) -> Command:
        values = self._checked(file, key, given, COMMAND)
        is_docker = isinstance(given, dict) and given.get("engine") in (None, "docker")
        if is_docker and given.get("steps") in (None, []):
            self._problem(file, f"{key}.steps", "a docker command needs at least one step")
        for name in ("before", "after"):
            if name in values:
                values[name] = self._step(file, f"{key}.{name}", values[name])
        values["steps"] = tuple(
            self._step(file, f"{key}.steps[{i}]", step)
            for i, step in enumerate(values.get("steps", ()))
        )
        command = Command(**values)
        self._check_own_boxes(file, key, command)
        return command

    def _check_own_boxes(self, file: Path, key: str, command: Command) -> None:
        """Check that what runs in the box of this very execution comes after it was detached."""
        is_there = False
        for step in command.all_steps():
            if step.action == "run":
                is_there |= step.detach
            elif step.box == ":name" and not is_there:
                why = "no step before it detaches a box: there is nothing of this name"
                self._problem(file, key, f"the step '{step.action}' in ':name': {why}")

    def _step(self, file: Path, key: str, given: Any) -> Step:
        step = Step(**{"box": "", **self.step_defaults, **self._checked(file, key, given, STEP)})
        if not step.box:
            if not given.get("box"):
                self._problem(file, f"{key}.box", "no box is given")
        elif step.action == "run" and not self._has_box(step):
            self._problem(file, f"{key}.box", f"no box named {step.box_name('')!r}")
        elif step.action == "run" and step.runs_as_root and self._is_reused(step):
            self._problem(file, f"{key}.user", "root cannot run in a box of more than one uses")
        elif step.action == "exec" and not step.command:
            self._problem(file, f"{key}.command", "an exec step needs a command")
        return step

    def _has_box(self, step: Step) -> bool:
        """Whether some request can use the step; boxes of broken files get the doubt."""
        name = step.box_name("")
        # no request gets a box by the version `latest`
        others = {box for box in self.boxes if box.startswith(f"{name}:")} - {f"{name}:latest"}
        has_version = bool(others) and not step.version
        return name in self.boxes or has_version or not self.has_all_boxes

    def _is_reused(self, step: Step) -> bool:
        name = step.box_name("")
        boxes = (
            box
            for box in self.boxes.values()
            if box.name == name or (not step.version and box.name.startswith(f"{name}:"))
        )
        return any(box.uses > 1 for box in boxes)

    def _checked(
        self, file: Path, key: str, given: Any, checks: Mapping[str, Check]
    ) -> dict[str, Any]:
        """Return what is right of an object of the config, lists as tuples; report the rest.

        `null` is an absent value, as in Codapi.
        """
        if bad := OBJECT(given):
            self._problem(file, key, bad)
            return {}
        right: dict[str, Any] = {}
        for name, value in given.items():
            check, where = checks.get(name), f"{key}.{name}" if key else name
            if check is None:
                self._problem(file, where, "unknown key; known are " + ", ".join(checks))
            elif value is not None and (bad := check(value)):
                self._problem(file, where, bad)
            elif value is not None:
                right[name] = tuple(value) if isinstance(value, list) else value
        return right

    def _object(self, file: Path) -> dict[str, Any]:
        try:
            if file.exists() and not file.is_file():
                raise OSError(errno.EINVAL, "it is no file")
            document = json5.loads(file.read_text(encoding="utf-8"), allow_duplicate_keys=False)
            # json5 leaves the halves of an escaped character apart
            document = json.loads(json.dumps(document))
            json.dumps(document, ensure_ascii=False).encode()
            bad = OBJECT(document)
        except OSError as error:
            bad = f"cannot be read: {error.strerror}"
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            bad = f"holds {half}, half of a surrogate pair: write both halves, or the character"
        except (ValueError, RecursionError) as error:
            bad = re.sub(r"^<string>:(\d+)", r"line \1:", str(error)) or "is no JSON5"
        if bad:
            self.broken.add(file)
            self._problem(file, "", bad)
            return {}
        return document  # type: ignore[no-any-return]

    def _problem(self, file: Path, key: str, text: str) -> None:
        place = f"{self._shown(file)}: {key}" if key else self._shown(file)
        # a text about an item begins with its place: `[1]: must be`
        self.problems.append(place + ("" if text.startswith("[") else ": ") + text)

    def _shown(self, file: Path) -> str:
        return str(file.relative_to(self.root) if file.is_relative_to(self.root) else file)


def _stem(file: Path) -> str:
    """Return the name that a file's place gives: its folder's in `sandboxes/`, else its own."""
    return file.parent.name if file.parent.parent.name == "sandboxes" else file.stem
