"""What the keeper checks once, at its start."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress

from codapi_flask.boxes.instance import Instance
from codapi_flask.config import audit
from codapi_flask.config.inventory import Host
from codapi_flask.config.model import Config
from codapi_flask.daemon import boxfiles
from codapi_flask.daemon.cgroup import Sockets
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import ServerFault, UnfitDaemon
from codapi_flask.stock import room

log = logging.getLogger("codapi")


LIMITED_STORAGE = {"btrfs", "devicemapper", "zfs"}
"""The storage drivers of Docker that limit a box's file system on any host."""


def host(daemon: Daemon, config: Config) -> Host:
    """Return what there is for the boxes of a config.

    Raises:
        ServerFault: the daemon is gone.
    """
    info, boxes = daemon.info(), config.boxes.values()
    backing = dict(info.get("DriverStatus") or ()).get("Backing Filesystem")
    driver, disk = info.get("Driver"), 0
    with suppress(OSError):
        disk = shutil.disk_usage(info.get("DockerRootDir") or "").total if daemon.is_local else 0
    return Host(
        images={name for name in config.images() if daemon.image(name)},
        networks=set(filter(daemon.has_network, {box.network for box in boxes})),
        # Podman's socket names none
        runtimes=set(info.get("Runtimes") or {box.runtime for box in boxes}),
        processors=int(info.get("NCPU") or 0),
        disk=disk,
        limits_storage=driver in LIMITED_STORAGE or (driver, backing) == ("overlay2", "xfs"),
    )


def warnings(daemon: Daemon, config: Config, instance: Instance) -> Iterator[str]:
    """Yield warnings of what weakens the isolation of boxes, and of a stock that is too large.

    Raises:
        ServerFault: the daemon is gone.
    """
    shared = boxes_of_own_user(daemon, config, instance)
    are_bounded = daemon.sockets() is not Sockets.NOBODY
    yield from audit.examine(config, daemon.info(), instance.work_dir, are_bounded, shared)
    yield from room.warnings(config)


def boxes_of_own_user(daemon: Daemon, config: Config, instance: Instance) -> list[str]:
    """Return the names of the boxes in which a step runs as this server's user.

    There are none if that is root: the audit warns of steps that run as root. Nor are there any if
    boxes have a user namespace, whose users are others outside.
    """
    uid = os.geteuid()
    if not uid or daemon.has_user_namespace:
        return []
    commands = [command for named in config.commands.values() for command in named.values()]
    steps = [step for command in commands for step in command.all_steps() if step.action == "run"]
    used = {(box, step.user) for step in steps if (box := config.boxes.get(step.box_name("")))}
    users = {(box.image, user) for box, user in used}
    own = {found for found in users if boxfiles.user_id(daemon, *found, instance.path) == uid}
    return sorted({box.name for box, user in used if (box.image, user) in own})


def check_work_directory(daemon: Daemon, instance: Instance, images: list[str]) -> str:
    """Return the problem if boxes do not see the work directory, else an empty string.

    The problem may also be that the daemon is too old or too new. The string is also empty if that
    cannot be checked: without a daemon, or without any image.
    """
    # if this process dies, a sweeper finds the lease abandoned, and the box that reads it
    lease = instance.lease()
    token, text = lease.work / "token", secrets.token_bytes(8)
    token.write_bytes(text)
    try:
        image = next(filter(daemon.image, images), None)
        if image is None:
            return ""
        seen = boxfiles.read(daemon, image, token, instance.path)
    except UnfitDaemon as fault:
        return str(fault)
    except ServerFault as fault:
        log.error("the Docker daemon cannot be used yet: %s", fault)
        return ""
    finally:
        token.unlink()
        lease.drop()
    if seen == text:
        return ""
    return (
        f"the Docker daemon does not see the work directory {instance.work_dir}: if the server "
        "runs in a container, mount a directory of the host at the same path inside and outside "
        f"(--volume {instance.work_dir}:{instance.work_dir}), or name one with CODAPI_WORK_DIR"
    )
