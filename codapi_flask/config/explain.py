"""Where the settings of a command's steps come from: a file, the defaults, or the server's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codapi_flask.config import layouts
from codapi_flask.config.model import BoxSpec, Command, Config, Step

OWN_DEFAULT = "the server's default"


@dataclass(frozen=True, slots=True)
class Setting:
    """A key with its value, and its source: a file and the key in it, or a default."""

    key: str
    value: Any
    source: str

    @property
    def shown(self) -> str:
        """The value as a config file has it."""
        is_whole = isinstance(self.value, float) and self.value.is_integer()
        value = int(self.value) if is_whole else self.value
        return json.dumps(value, ensure_ascii=False, default=_plain)


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """A step, with the settings of the step and of its box."""

    title: str
    values: list[Setting]

    def document(self) -> dict[str, Any]:
        """Return the step for JSON."""
        document = {"step": self.title, "settings": [asdict(value) for value in self.values]}
        return dict(json.loads(json.dumps(document, default=_plain)))


def explained(config: Config, sandbox: str, name: str) -> list[ExplainedStep]:
    """Return the steps of a command in order.

    Raises:
        KeyError: there is no such sandbox or command; the text names it.
    """
    if sandbox not in config.commands:
        raise KeyError(f"sandbox {sandbox}")
    if name not in config.commands[sandbox]:
        raise KeyError(f"command {name} of {sandbox}")
    return list(_Explainer(config).steps(sandbox, name, config.commands[sandbox][name]))


class _Explainer:
    def __init__(self, config: Config) -> None:
        self._config, self._root = config, Path(config.root)
        self._top = layouts.top_file(self._root)
        self._defaults = layouts.read(self._top)

    def steps(self, sandbox: str, name: str, command: Command) -> Iterator[ExplainedStep]:
        file = next(
            file for file in layouts.command_files(self._root) if layouts.stem(file) == sandbox
        )
        given = layouts.read(file)[name]
        places = [("before", command.before, given.get("before"))]
        steps = given.get("steps") or ()
        places += [
            (f"steps[{number}]", step, steps[number]) for number, step in enumerate(command.steps)
        ]
        places.append(("after", command.after, given.get("after")))
        for key, step, values in places:
            if step:
                yield self._step(step, values, file, f"{name}.{key}")

    def _step(self, step: Step, given: Mapping[str, Any], file: Path, key: str) -> ExplainedStep:
        own = [*self._settings(step, given, file, key, "step")]
        box = self._config.boxes.get(step.box_name(""))
        if box:
            place, prefix, values = self._box(box.name)
            own += self._settings(box, values, place, prefix, "box")
        return ExplainedStep(f"{key}: {step.action} in {step.box}", own)

    def _settings(
        self, spec: BoxSpec | Step, given: Mapping[str, Any], file: Path, key: str, kind: str
    ) -> Iterator[Setting]:
        defaults = self._defaults.get(kind) or {}
        for field in fields(spec):
            source = OWN_DEFAULT
            if given.get(field.name) is not None:
                source = f"{self._shown(file)}: {key}.{field.name}".replace(": .", ": ")
            elif defaults.get(field.name) is not None:
                source = f"{self._shown(self._top)}: {kind}.{field.name}"
            yield Setting(f"{kind}.{field.name}", getattr(spec, field.name), source)

    def _box(self, name: str) -> tuple[Path, str, Mapping[str, Any]]:
        """Return the file that has a box, the key in it, and what is there."""
        for file in layouts.box_files(self._root):
            document = layouts.read(file)
            if file == self._root / layouts.ALL_BOXES:
                for key, values in document.items():
                    if (values or {}).get("name", key) == name:
                        return file, key, values or {}
            elif document.get("name", layouts.stem(file)) == name:
                return file, "", document
        return self._top, "box", {}

    def _shown(self, file: Path) -> str:
        return str(file.relative_to(self._root))


def _plain(value: Any) -> Any:
    return asdict(value)
