"""Which sandboxes of a config a host can serve, and what the others lack."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codapi_flask.config.crosscheck import candidates
from codapi_flask.config.model import TOP_FILES, BoxSpec, Command, Config
from codapi_flask.files import matching

IMAGE = "without their image, build or pull it"
NETWORK = "without their network, make it with docker network create"
RUNTIME = "without their runtime, install it in the daemon"
CPU = "with more cpu than the host has, lower it"
STORAGE = "with more storage than the host has, lower it"
NO_STORAGE = "with storage, which the daemon limits only with overlay2 on xfs, remove it"
FILES = "with files that match nothing, add these or correct the pattern"
HOSTS = "that answer each request with `host not allowed`, name hosts in http.hosts"

UNITS = "bkmgtp"
SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?) ?([{UNITS}]?)(?:i?b)?", re.IGNORECASE)
"""A size as Docker reads it. Source: docker/go-units, size.go."""


@dataclass(frozen=True, slots=True)
class Host:
    """What there is for boxes: names of images, networks and runtimes.

    `processors` are all of them, `disk` is the size of Docker's file system in bytes; 0 is
    unknown. `limits_storage` tells whether Docker can limit the size of a box's file system.
    """

    images: Collection[str] = ()
    networks: Collection[str] = ()
    runtimes: Collection[str] = ()
    processors: int = 0
    disk: int = 0
    limits_storage: bool = True


def served(config: Config, host: Host) -> str:
    """Return a line with the names of the sandboxes that the host can serve."""
    names = sorted(
        name
        for name, commands in config.commands.items()
        if any(_is_usable(command, config, host) for command in commands.values())
    )
    count = f"{len(names)} of {len(config.commands)}"
    return f"serving {count} sandboxes: {', '.join(names)}" if names else "serving no sandbox"


def warnings(config: Config, host: Host) -> Iterator[str]:
    """Yield a warning for each kind of lack, with the sandboxes and what each of them lacks.

    The first is about a top file that is not read.
    """
    yield from unread(config)
    for kind, sandboxes in lacks(config, host).items():
        yield described(kind, sandboxes)


def unread(config: Config) -> Iterator[str]:
    """Yield a warning if there is a top file that is not read."""
    read, ignored = TOP_FILES
    if all((Path(config.root) / name).exists() for name in TOP_FILES):
        yield f"{ignored} is not read, as there is {read}: move its keys there"


def lacks(config: Config, host: Host) -> dict[str, dict[str, list[str]]]:
    """Return what sandboxes lack: by kind of lack (`IMAGE` and the like), then by sandbox."""
    found: dict[str, dict[str, list[str]]] = {}
    for sandbox in sorted(config.commands):
        for command in config.commands[sandbox].values():
            for kind, what in _lacks(command, config, host):
                whats = found.setdefault(kind, {}).setdefault(sandbox, [])
                if what and what not in whats:
                    whats.append(what)
    return found


def described(kind: str, sandboxes: Mapping[str, list[str]]) -> str:
    """Return a kind of lack in a line, with its sandboxes and what each of them lacks."""
    named = [_named(sandbox, whats) for sandbox, whats in sandboxes.items()]
    return f"sandboxes {kind}: {', '.join(named)}"


def is_installed(command: Command, config: Config, images: Mapping[str, str]) -> bool | None:
    """Whether some request can run all steps of a command, by the ids of the images.

    The id of a missing image is empty. The answer is `None` while a name that decides it is not in
    `images`.
    """
    steps = list[bool | None]()
    for boxes in _boxes(command, config):
        ids = [images.get(box.image) for box in boxes]
        steps.append(True if any(ids) else None if None in ids else False)
    return False if False in steps else None if None in steps else True


def _named(sandbox: str, whats: list[str]) -> str:
    return f"{sandbox} ({', '.join(whats)})" if whats else sandbox


def _lacks(command: Command, config: Config, host: Host) -> Iterator[tuple[str, str]]:
    if command.engine == "http" and not config.hosts:
        yield HOSTS, ""
    for boxes in _boxes(command, config):
        for box in boxes:
            yield from _lacks_of_box(box, host)
            for pattern in box.files:
                if not any(matching(Path(config.root), pattern)):
                    yield FILES, pattern


def _is_usable(command: Command, config: Config, host: Host) -> bool:
    """Whether some request can run all steps of a command in boxes."""
    if command.engine == "http":
        return bool(config.hosts)
    return all(
        any(not any(_lacks_of_box(box, host)) for box in boxes) for boxes in _boxes(command, config)
    )


def _boxes(command: Command, config: Config) -> Iterator[list[BoxSpec]]:
    """Yield the boxes in which some request can run each step; of exec steps, the services."""
    for step in command.all_steps() if command.engine == "docker" else ():
        found = candidates(step, config.boxes)
        if step.action == "run" or any(box.service for box in found):
            yield found


def _lacks_of_box(box: BoxSpec, host: Host) -> Iterator[tuple[str, str]]:
    if box.image not in host.images:
        yield IMAGE, box.image
    if box.network not in host.networks:
        yield NETWORK, box.network
    if box.runtime not in host.runtimes:
        yield RUNTIME, box.runtime
    if host.processors and box.cpu > host.processors:
        yield CPU, f"{box.cpu:g} of {host.processors}"
    if box.storage and not host.limits_storage:
        yield NO_STORAGE, box.storage
    elif host.disk and size(box.storage) > host.disk:
        yield STORAGE, f"{box.storage} of {host.disk >> 30} GiB"


def size(text: str) -> float:
    """Return a size in bytes, such as `1g` or `512MiB`; 0 for any other text."""
    found = SIZE.fullmatch(text)
    return float(found[1]) * 1024 ** UNITS.index(found[2].lower() or "b") if found else 0
