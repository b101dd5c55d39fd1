"""Boxes with init, without a container: what counts is their connection."""

from __future__ import annotations

import socket
from pathlib import Path

from codapi_flask.config import Box
from codapi_flask.init import Init
from codapi_flask.initbox import InitBox
from codapi_flask.instance import Lease
from codapi_flask.models import Image


def make_box(instance: Path, config: Box) -> tuple[InitBox, socket.socket]:
    """Return a box, and the end of its connection that its init would have."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lease = Lease.make_work(instance)
    return InitBox(config, "container", Image("1"), lease, Init(ours), "warm"), theirs
