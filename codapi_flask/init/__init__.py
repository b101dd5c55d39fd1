"""Boxes whose process 1 is our own small program, `init`, and the connections to them.

`init.c` tells the protocol and why it is as it is. One box goes like this: make a `Listener`,
start a container with what `settings` says and the listener's directory at `MOUNT`, `accept`;
then `Init.run` programs in it. All is over when the connection is closed.
"""

from codapi_flask.init.answers import Clean, Done, Stage
from codapi_flask.init.connection import Init, Listener
from codapi_flask.init.settings import MOUNT, Settings, binary, install, is_safe, settings

__all__ = [
    "MOUNT",
    "Clean",
    "Done",
    "Init",
    "Listener",
    "Settings",
    "Stage",
    "binary",
    "install",
    "is_safe",
    "settings",
]
