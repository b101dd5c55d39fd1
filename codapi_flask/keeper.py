"""The keeper process: looks after what no single worker can."""

from __future__ import annotations

import logging
import secrets
from multiprocessing.connection import Connection
from pathlib import Path

from codapi_flask import sweeper
from codapi_flask.config import Config
from codapi_flask.containers import Daemon
from codapi_flask.errors import ServerFault
from codapi_flask.rootbox import RootBox
from codapi_flask.worker import be_child

SWEEP_INTERVAL = 10.0
"""Seconds between two looks for what dead owners left."""

log = logging.getLogger("codapi")


def main(pipe: Connection, config: Config, instance: Path) -> None:
    """Check the work directory, then sweep now and again, until the pipe closes.

    The only message says what is wrong with the work directory; it is empty when nothing is.
    """
    be_child()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    daemon, images = Daemon(), list(dict.fromkeys(box.image for box in config.boxes.values()))
    root_box = RootBox(daemon, instance, images)
    pipe.send(check_work_directory(daemon, instance, images))
    while True:
        try:
            if count := sweeper.sweep(instance.parent, daemon, root_box):
                log.warning("swept %d containers of dead owners", count)
        except ServerFault as fault:
            log.error("cannot sweep: %s", fault)
        if pipe.poll(SWEEP_INTERVAL):
            return


def check_work_directory(daemon: Daemon, instance: Path, images: list[str]) -> str:
    """Return what is wrong when boxes do not see our work directory, else nothing.

    Says nothing when that cannot be told: without a daemon, or without any image.
    """
    token = instance / "token"
    token.write_bytes(secrets.token_bytes(8))
    try:
        image = next(filter(daemon.has_image, images), None)
        if image is None:
            log.warning("none of the boxes' images exists: build them (make images)")
            return ""
        seen = daemon.read(image, token, instance)
    except ServerFault as fault:
        log.error("the Docker daemon cannot be used yet: %s", fault)
        return ""
    if seen == token.read_bytes():
        return ""
    return (
        f"the Docker daemon does not see our work directory {instance.parent}: when the server "
        "runs in a container, mount a directory of the host at the same path inside and outside "
        f"(--volume {instance.parent}:{instance.parent}), or name one with CODAPI_WORK_DIR"
    )
