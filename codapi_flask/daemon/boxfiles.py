"""Files as a box sees them, read by the daemon: nothing runs in the box."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import docker
import docker.errors
from docker.types import Mount

from codapi_flask.daemon.daemon import DIRECTORY, INSTANCE, Daemon


def read(daemon: Daemon, image: str, file: Path, instance: Path) -> bytes | None:
    """Return a small file of this host as a box sees it, `None` if the box does not see it.

    Raises:
        ServerFault: the daemon failed.
    """
    mount = Mount("/mount", str(file.parent), type="bind", read_only=True)
    return _read(daemon, image, f"/mount/{file.name}", instance, file.parent, [mount])


def user_id(daemon: Daemon, image: str, user: str, instance: Path) -> int | None:
    """Return the uid of a user (`name`, `uid`, optionally `:group`) in an image, if any.

    Raises:
        ServerFault: the daemon failed.
    """
    name = user.partition(":")[0] or "0"
    if name.isdigit():
        return int(name)
    if not daemon.image(image):
        return None
    passwd = _read(daemon, image, "/etc/passwd", instance, instance)
    for line in (passwd or b"").decode(errors="replace").splitlines():
        known, _, number, *_ = [*line.split(":"), "", ""]
        if known == name and number.isdigit():
            return int(number)
    return None


def _read(
    daemon: Daemon,
    image: str,
    path: str,
    instance: Path,
    directory: Path,
    mounts: Sequence[Mount] = (),
) -> bytes | None:
    """Return a small file of a box that is created for a directory."""
    with daemon.calls("read a file in a box") as api:
        limits = api.create_host_config(mounts=[*mounts], network_mode="none")
        labels = {INSTANCE: str(instance), DIRECTORY: str(directory)}
        try:
            box = api.create_container(image, ["-"], host_config=limits, labels=labels)["Id"]
        except docker.errors.APIError as error:
            if "bind source path does not exist" in str(error):
                return None
            raise
        try:
            chunks, _ = api.get_archive(box, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                member = archive.extractfile(Path(path).name)
                return member.read() if member else None
        except (docker.errors.NotFound, tarfile.TarError, KeyError):
            # it is not there, or is a link
            return None
        finally:
            api.remove_container(box, force=True, v=True)
