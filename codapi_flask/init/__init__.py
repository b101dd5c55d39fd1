"""The program `init`, process 1 of a box, and the connections to it.

`init.c` defines the protocol. To use a box, make a `Listener`, start a container with what
`options` returns and the listener's directory at `MOUNT`, and `accept`; then run programs in it
with `InitConnection.run`. Closing the connection ends the box.

Comes in: the argv, user and descriptors of a program. Goes out: `RunDone`, `ResetDone`,
`Preloaded`.
"""

from codapi_flask.init.answers import Preloaded, ResetDone, RunDone, Stage
from codapi_flask.init.connection import InitConnection, Listener
from codapi_flask.init.options import MOUNT, InitOptions, binary, install, is_safe, options

__all__ = [
    "MOUNT",
    "InitConnection",
    "InitOptions",
    "Listener",
    "Preloaded",
    "ResetDone",
    "RunDone",
    "Stage",
    "binary",
    "install",
    "is_safe",
    "options",
]
