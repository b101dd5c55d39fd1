"""Hands a started box and its lease over to another process (fd passing, unix(7))."""

from __future__ import annotations

import errno
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from codapi_flask.boxes.box import Box
from codapi_flask.boxes.lease import Lease
from codapi_flask.config.model import BoxSpec
from codapi_flask.init import InitConnection
from codapi_flask.models import Image

MESSAGE_MAX = 1 << 16
"""Limit on a message that may carry a box, in bytes."""

MAX_DESCRIPTORS = 5
"""Those of a box: its connection, its lease's lock, and the pipes of what is preloaded, if any."""


def send(box: Box, to: socket.socket, *more: int) -> int:
    """Hand a box and its lease over to another process; this one no longer has them.

    The descriptors `more` come before those of the box. Returns the size of the message.

    Raises:
        OSError: the other process is gone, or the socket is full; the box dies.
    """
    fields = {
        "name": box.spec.name,
        "container": box.container,
        "image": [box.image.id, box.image.entrypoint, box.image.cmd, box.image.home],
        "lease": str(box.lease.path),
        "kind": box.kind,
        "uses": box.uses,
        "freezer": box.freezer,
        "waits": box.waits,
        "kept": len(box.kept),
    }
    try:
        message = json.dumps({"box": fields}).encode()
        if len(message) > MESSAGE_MAX:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        size = socket.send_fds(to, [message], [*more, box.fileno(), box.lease.lock, *box.kept])
    except OSError:
        box.discard()
        raise
    box.close()
    box.lease.close()
    return size


def receive(source: socket.socket, spec: BoxSpec) -> Box | None:
    """Take over a box from a non-blocking socket; return `None` if there is none.

    It is also `None` if this process has too many descriptors for the box, which dies.
    """
    with suppress(BlockingIOError, ValueError):
        message, descriptors, _, _ = socket.recv_fds(source, MESSAGE_MAX, MAX_DESCRIPTORS)
        if message:
            return received(json.loads(message)["box"], descriptors, spec)
    return None


def received(fields: dict[str, Any], descriptors: list[int], spec: BoxSpec) -> Box:
    """Take over a box, by the fields that `send` wrote and the descriptors that came with them.

    Raises:
        ValueError: descriptors are missing, as this process has too many; the box dies.
    """
    if len(descriptors) != 2 + fields["kept"]:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ValueError("a box came without its descriptors")
    connection, lock, *kept = descriptors
    id, entrypoint, cmd, home = fields["image"]
    box = Box(
        spec,
        fields["container"],
        Image(id, tuple(entrypoint), tuple(cmd), tuple(home)),
        Lease(Path(fields["lease"]), lock),
        InitConnection(socket.socket(fileno=connection)),
        fields["kind"],
    )
    box.uses, box.freezer = fields["uses"], fields["freezer"]
    box.waits, box.kept = fields["waits"], tuple(kept)
    return box
