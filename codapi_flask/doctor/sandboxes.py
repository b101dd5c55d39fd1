"""Checks of the config's sandboxes on this host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from codapi_flask.config import inventory
from codapi_flask.doctor.finding import Finding, broken, fine, weak
from codapi_flask.doctor.subject import Subject
from codapi_flask.models import OWN_IMAGE
from codapi_flask.stock import preflight


def config(subject: Subject) -> Iterator[Finding]:
    """Check the config files."""
    found = subject.config
    if subject.problems:
        yield from (broken(problem) for problem in subject.problems)
        yield weak("what follows is tried with the defaults")
    else:
        yield fine(f"{len(found.commands)} sandboxes, {len(found.boxes)} boxes in {found.root}")
    yield from map(weak, inventory.unread(found))


def images(subject: Subject) -> Iterator[Finding]:
    """Check which sandboxes have their images, and whatever else they need of the host."""
    if subject.problems:
        return
    known = subject.config.images()
    have = f"{len(subject.host.images)} of {len(known)} images are there"
    served = inventory.served(subject.config, subject.host)
    is_useless = not subject.host.images and known
    yield (broken if is_useless else fine)(f"{have}, {served}")
    for kind, lacking in inventory.lacks(subject.config, subject.host).items():
        text = inventory.described(kind, lacking)
        if kind is inventory.IMAGE:
            yield weak(text, _commands(lacking))
        else:
            yield broken(text)


def runtimes(subject: Subject) -> Iterator[Finding]:
    """Try a box with each runtime that boxes use; `images` tells of those that are missing."""
    for name in subject.runtimes:
        details = subject.run("echo hello", runtime=name)
        if details["stdout"] == "hello\n":
            yield fine(f"{name} runs a program")
        else:
            yield broken(f"{name} does not run a program: {details['told']}")


def audit(subject: Subject) -> Iterator[Finding]:
    """Tell what the server warns about at its start: weak isolation, ignored limits."""
    if subject.problems:
        return
    found = [*preflight.warnings(subject.daemon, subject.config, subject.instance)]
    yield from map(weak, found)
    if not found:
        yield fine("nothing in the config or the daemon weakens the isolation")


def _commands(lacking: Mapping[str, list[str]]) -> str:
    """Return the commands that get the images that sandboxes lack."""
    missing = dict.fromkeys(image for images in lacking.values() for image in images)
    own = [found[1] for image in missing if (found := OWN_IMAGE.fullmatch(image))]
    others = [image for image in missing if not OWN_IMAGE.fullmatch(image)]
    build = [f"codapi sandbox build {' '.join(own)}"] if own else []
    return "; ".join(build + [f"docker pull {image}, or build it" for image in others])
