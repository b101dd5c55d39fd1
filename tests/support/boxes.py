"""Boxes with init that consist only of its connection, without a container."""

from __future__ import annotations

import socket
from pathlib import Path

from codapi_flask.boxes.box import Box
from codapi_flask.boxes.lease import Lease
from codapi_flask.config.model import BoxSpec
from codapi_flask.init import InitConnection
from codapi_flask.models import Image


def make_box(instance: Path, config: BoxSpec) -> tuple[Box, socket.socket]:
    """Return a box, and init's end of its connection."""
    own, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lease = Lease.make_work(instance)
    return Box(config, "container", Image("1"), lease, InitConnection(own), "warm"), peer
