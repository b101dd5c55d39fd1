"""The version of Docker's API that server and daemon speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker.constants import DEFAULT_DOCKER_API_VERSION

from codapi_flask.errors import ServerFault, UnfitDaemon

OLDEST, OLDEST_ENGINE = "1.41", "20.10"
"""The oldest API that the server was tried with, and the Docker Engine that brought it."""

NEWEST = str(DEFAULT_DOCKER_API_VERSION)
"""The newest API that docker-py knows."""


def negotiate(said: Mapping[str, Any]) -> str:
    """Return the newest API version that both sides know, from the daemon's answer to `version`.

    Without that, docker-py speaks the daemon's newest, even if it does not know that.

    Raises:
        UnfitDaemon: there is none.
        ServerFault: the answer is not a Docker daemon's.
    """
    try:
        newest = _key(said["ApiVersion"])
        oldest = _key(said.get("MinAPIVersion") or said["ApiVersion"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ServerFault(
            "the address of DOCKER_HOST is not that of a Docker daemon: correct it"
        ) from error
    engine, needs = said.get("Version", "of unknown version"), f"API {OLDEST} to {NEWEST}"
    if newest < _key(OLDEST):
        raise UnfitDaemon(
            f"the Docker daemon {engine} is too old: it speaks API {said['ApiVersion']}, this "
            f"server {needs}: install Docker Engine {OLDEST_ENGINE} or newer"
        )
    if oldest > _key(NEWEST):
        raise UnfitDaemon(
            f"the Docker daemon {engine} is too new: it speaks API {said['MinAPIVersion']} and "
            f"later, this server {needs}: start dockerd with DOCKER_MIN_API_VERSION={NEWEST} in "
            "its environment, or upgrade this server"
        )
    return min(str(said["ApiVersion"]), NEWEST, key=_key)


def _key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
