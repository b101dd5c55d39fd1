"""Configs of the tests: the repository's sandboxes, and a box of each kind."""

from __future__ import annotations

from codapi_flask.config.layouts import read
from tests.support.server import REPOSITORY

BOXES = {"sh": {"image": "codapi/sh"}, "python": {"image": "codapi/python"}}
COMMANDS = {
    "sh": {
        "run": {
            "entry": "main.sh",
            "steps": [{"box": "sh", "command": ["sh", "main.sh", ":args"]}],
        },
    },
    "python": {
        "run": {
            "entry": "main.py",
            "steps": [{"box": "python", "command": ["python", "main.py", ":args"]}],
        },
    },
}
PLOT = {
    "box": read(REPOSITORY / "configs/boxes.json")["plot"],
    "commands": read(REPOSITORY / "configs/commands/plot.json"),
}
"""The repository's sandbox that gives files back."""
KINDS = {
    "plain": {"image": "codapi/sh", "init": False},
    "fresh": {"image": "codapi/sh"},
    "reused": {"image": "codapi/sh", "uses": 1000},
}
"""A box of each kind there is."""
