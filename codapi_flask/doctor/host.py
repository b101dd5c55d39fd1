"""Checks of what the host is: daemon, cgroups, disks, limits, libraries."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from codapi_flask.boxes import instance
from codapi_flask.daemon import address
from codapi_flask.doctor.finding import Finding, broken, fine, weak
from codapi_flask.doctor.subject import IMAGE, Subject
from codapi_flask.errors import ConfigError, DaemonGone, ServerFault
from codapi_flask.server.gunicorn import FILES, library_problems
from codapi_flask.stock import preflight

ENOUGH_DISK, LITTLE_DISK = 1 << 30, 1 << 26
"""Free bytes below which a disk is a weakness, and below which little works."""

ENOUGH_INODES = 10_000
"""Free inodes below which a disk is a weakness: a run takes some ten."""


def libraries(subject: Subject) -> Iterator[Finding]:
    """Check the releases of libraries whose inside the server uses."""
    problems = library_problems()
    yield from (broken(problem) for problem in problems)
    if not problems:
        yield fine("the installed ones have what the server uses")


def daemon(subject: Subject) -> Iterator[Finding]:
    """Check that the daemon answers, and speaks a version of the API that the server does."""
    try:
        address.check()
        info = subject.daemon.info()
    except ConfigError as error:
        yield from (broken(problem) for problem in error.problems)
    except DaemonGone:
        yield broken(f"no Docker daemon answers at {subject.daemon.url}", _start())
    except ServerFault as error:
        if "PermissionError" in str(error):
            yield broken(
                f"this user may not use {subject.daemon.url}",
                f"sudo usermod --append --groups docker {_user_name()}, then log in again",
            )
        else:
            yield broken(str(error))
    else:
        about = [info.get("Driver"), "rootless" if subject.daemon.is_rootless else ""]
        yield fine(", ".join([f"Docker {info.get('ServerVersion')}", *filter(None, about)]))


def _start() -> str:
    """Return how to get a daemon that answers."""
    if os.environ.get("DOCKER_HOST"):
        return "start that daemon, or unset DOCKER_HOST"
    if shutil.which("dockerd"):
        return "sudo systemctl start docker"
    return "scripts/setup installs Docker, and starts it"


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def cgroup(subject: Subject) -> Iterator[Finding]:
    """Tell the version of cgroups; the audit warns of limits that it lacks."""
    info = subject.daemon.info()
    # daemons before 20.10 know only one
    version, driver = info.get("CgroupVersion", "1"), info.get("CgroupDriver")
    if driver == "none":
        yield weak(
            f"version {version}, which the daemon may not use",
            "use cgroup v2 and delegate its controllers to the daemon's user",
        )
    else:
        yield fine(f"version {version}, driver {driver}")


def work_directory(subject: Subject) -> Iterator[Finding]:
    """Check that the work directory can be written, and that boxes see it."""
    try:
        own = subject.instance
        instance.check(own.work_dir)
        images = [IMAGE, *subject.config.images()]
        problem = preflight.check_work_directory(subject.daemon, own, images)
    except ConfigError as error:
        yield from (broken(problem) for problem in error.problems)
        return
    if problem:
        yield broken(problem)
    elif any(map(subject.daemon.image, images)):
        yield fine(f"boxes see {own.work_dir}")
    else:
        yield weak(
            f"without any image it is not known whether boxes see {own.work_dir}",
            "codapi sandbox build sh",
        )


def disk(subject: Subject) -> Iterator[Finding]:
    """Check the free space of the work directory, and of Docker's."""
    config = subject.config
    sizes = [box.work_size << 20 for box in config.boxes.values() if box.has_quota]
    needed = max(ENOUGH_DISK, config.pool_size * max(sizes, default=0))
    yield from _space(subject.instance.work_dir, needed)
    docker = Path(subject.daemon.info().get("DockerRootDir") or "/var/lib/docker")
    if subject.daemon.is_local and docker.is_dir():
        yield from _space(docker, ENOUGH_DISK)


def _space(directory: Path, needed: int) -> Iterator[Finding]:
    free, inodes = shutil.disk_usage(directory).free, os.statvfs(directory)
    text = f"{directory} has {free / (1 << 30):.1f} GiB left"
    if free < LITTLE_DISK:
        yield broken(text, f"make room there: {needed >> 20} MiB or more")
    elif free < needed:
        yield weak(text, f"make room there: runs at once may need {needed >> 20} MiB")
    elif inodes.f_files and inodes.f_favail < ENOUGH_INODES:
        yield weak(f"{directory} has {inodes.f_favail} inodes left", "remove files there")
    else:
        yield fine(text)


def descriptors(subject: Subject) -> Iterator[Finding]:
    """Check how many descriptors the server may have; it raises its soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= FILES:
        yield fine(f"the server can have {FILES}")
    else:
        yield weak(
            f"the server can have {hard}, half of them for connections",
            f"allow {FILES}: LimitNOFILE in a unit, ulimit -Hn in a shell",
        )
