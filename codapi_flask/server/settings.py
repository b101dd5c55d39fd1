"""The config in force."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from codapi_flask.boxes import instance
from codapi_flask.config.load import load_config
from codapi_flask.config.model import Config
from codapi_flask.daemon import address
from codapi_flask.errors import ConfigError

log = logging.getLogger("codapi")


def refuse(text: str) -> NoReturn:
    """Print why the server cannot start, and exit with status 78, `EX_CONFIG` of sysexits.h.

    Another attempt would be in vain: the unit's `RestartPreventExitStatus` has this status.
    """
    print(text, file=sys.stderr)
    sys.exit(os.EX_CONFIG)


class ActiveConfig:
    """The config in force: gunicorn's master reads it, the web process inherits it.

    A web process that dies is replaced by one with the same config, even if the files have
    changed; only `read` reads them again.
    """

    def __init__(self) -> None:
        self._config: Config | None = None
        self.has_served = False
        """In the web process: whether another one ran before it."""

    def read(self) -> Config:
        """Read the config in the directory that `CODAPI_ROOT` names (default: the current one).

        If the config has problems they are reported, and the one in force stays; if there is none,
        the process ends.
        """
        try:
            config = load_config(Path(os.environ.get("CODAPI_ROOT", ".")).resolve())
            address.check()
            instance.check(instance.work_dir(config.work_dir))
            self._config = config
        except ConfigError as error:
            problems = "\n  ".join(["the config cannot be used:", *error.problems])
            if self._config is None:
                refuse(problems)
            log.error("%s\nthe old one stays in force", problems)
        return self._config

    def current(self) -> Config:
        """Return the config in force; read it if there is none yet."""
        return self._config or self.read()


active_config = ActiveConfig()
