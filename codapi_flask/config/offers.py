"""What clients may use: the sandboxes with their commands, as `GET /v1/sandboxes` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codapi_flask.config.inventory import is_installed
from codapi_flask.config.model import BoxSpec, Command, Config


@dataclass(frozen=True, slots=True)
class Offer:
    """A command: the name of its entry file, empty without one, and what it takes.

    `versions` are those that a request may name. `cache` is for how many seconds answers are
    remembered. `installed` is whether the images are there, `None` if that is unknown.
    """

    name: str
    entry: str
    versions: list[str]
    stdin: bool
    args: bool
    outputs: bool
    cache: float
    installed: bool | None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox, with its commands and a program to begin with, empty without one."""

    name: str
    title: str
    starter: str
    commands: list[Offer]


def offered(config: Config, images: Mapping[str, str]) -> list[Sandbox]:
    """Return the sandboxes of a config by name, with what the ids of the images tell."""
    return [
        Sandbox(
            name,
            config.titles.get(name, name),
            config.starters.get(name, ""),
            [
                _offer(name, command, config, is_installed(command, config, images))
                for name, command in sorted(commands.items())
            ],
        )
        for name, commands in sorted(config.commands.items())
    ]


def _offer(name: str, command: Command, config: Config, installed: bool | None) -> Offer:
    return Offer(
        name,
        command.entry,
        _versions(command, config.boxes) if command.engine == "docker" else [],
        stdin=command.takes_stdin,
        args=command.takes_args,
        outputs=command.gives_files,
        cache=command.cache,
        installed=installed,
    )


def _versions(command: Command, boxes: Mapping[str, BoxSpec]) -> list[str]:
    """Return the versions of which all steps that follow a request's version have a box."""
    follow = {step.box for step in command.all_steps() if step.action == "run" and not step.version}
    names = (name.partition(":") for name in boxes)
    versions = dict.fromkeys(version for box, _, version in names if box in follow and version)
    # a request's `latest` is the unversioned box
    versions.pop("latest", None)
    return [each for each in versions if all(f"{box}:{each}" in boxes for box in follow)]
