"""The Flask application, and how a server process gets all its parts."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path

from flask import Flask
from gunicorn.arbiter import Arbiter

from codapi_flask import api, configfile, init, instance, ops
from codapi_flask.access import Access
from codapi_flask.config import Config
from codapi_flask.errors import ConfigError
from codapi_flask.metrics import Metrics
from codapi_flask.pool import Pool
from codapi_flask.refusals import Refusals
from codapi_flask.sandboxes import Sandboxes

RETRY_INTERVAL = 1.0
"""Seconds between two starts of a web process when it cannot start, as on a full disk."""

log = logging.getLogger("codapi")


def create_app(config: Config, pool: api.Runs, metrics: Metrics) -> Flask:
    """Make the WSGI application of a config; jobs go to the pool."""
    app = Flask(__name__, static_folder=None)
    # a redirect would be HTML
    app.url_map.merge_slashes = False
    access = Access(config.tokens, config.origins)
    routes = api.blueprint(Sandboxes(config), pool, metrics, access, config.max_body)
    app.register_blueprint(routes)
    app.register_blueprint(ops.blueprint(metrics, pool.problem))
    return app


class Server:
    """What one web process owns: the instance, the pool and the application."""

    def __init__(self, config: Config) -> None:
        """Start everything.

        Raises:
            ConfigError: the work directory cannot be used.
        """
        directory = instance.work_dir(config.work_dir)
        with ExitStack() as stack:
            with _undisturbed():
                own = instance.Lease.make(directory, "i", directory)
                stack.callback(own.remove)
                init.install(init.binary(), own.path / "init")
                self.pool = Pool(config, own.path)
                stack.callback(self.pool.close)
            self.pool.wait_until_ready()
            metrics = Metrics(self.pool)
            self.app = create_app(config, self.pool, metrics)
            access = Access(config.tokens, config.origins)
            self.refusals = Refusals(Sandboxes(config), self.pool, metrics, access)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End everything that was started, and leave nothing behind."""
        self._stack.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off what raises an exception anywhere: Ctrl-C, and how gunicorn ends us."""
    # when a thread starts it later, it lets these signals through
    resource_tracker.ensure_running()
    ending = {signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Settings:
    """The config that is in force: read in gunicorn's master, inherited by the web process.

    So a web process that dies is replaced by one with the same config, whatever has become of
    the files; only `read` looks at them again. `has_served` is for the web process: whether
    there was one before it.
    """

    def __init__(self) -> None:
        self._config: Config | None = None
        self.has_served = False

    def read(self) -> Config:
        """Read the config in the directory that `CODAPI_ROOT` names (default: the current one).

        When it has problems, says so and keeps the one in force; ends the process if none is.
        """
        try:
            config = configfile.load(Path(os.environ.get("CODAPI_ROOT", ".")).resolve())
            instance.check(instance.work_dir(config.work_dir))
            self._config = config
        except ConfigError as error:
            problems = "\n  ".join(["the config cannot be used:", *error.problems])
            if self._config is None:
                sys.exit(problems)
            log.error("%s\nthe old one stays in force", problems)
        return self._config

    def current(self) -> Config:
        """Return the config in force; read it if there is none yet."""
        return self._config or self.read()


settings = Settings()


@cache
def server() -> Server:
    """Return this process's server, started by the first call."""
    config = settings.current()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.DEBUG if config.verbose else logging.INFO)
    try:
        return Server(config)
    except ConfigError as error:
        problem = "\n".join(error.problems)
    except OSError as error:
        problem = str(error)
    print(problem, file=sys.stderr)
    if not settings.has_served:
        sys.exit(Arbiter.APP_LOAD_ERROR)
    # what worked before may work again; gunicorn tries any other status at once
    time.sleep(RETRY_INTERVAL)
    sys.exit(1)


def wsgi() -> Flask:
    """Return the application for a WSGI server that has one process."""
    return server().app
