"""The web process: what it owns, and how it starts."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing import resource_tracker

from gunicorn.arbiter import Arbiter

from codapi_flask.boxes import instance
from codapi_flask.config.model import Config
from codapi_flask.errors import ConfigError
from codapi_flask.jobs.caching import CachingExecutor
from codapi_flask.pool.pool import Pool
from codapi_flask.process import log_to_stderr, sockets_in
from codapi_flask.server.settings import active_config
from codapi_flask.web.app import App
from codapi_flask.web.metrics import Metrics

RETRY_INTERVAL = 1.0
"""Seconds between two starts of a web process that cannot start, for example on a full disk."""


class Server:
    """What one web process owns: the instance, the pool and the application."""

    def __init__(self, config: Config) -> None:
        """Start everything.

        Raises:
            ConfigError: the work directory cannot be used.
        """
        directory = instance.work_dir(config.work_dir)
        with ExitStack() as stack:
            with _signals_blocked():
                own = stack.enter_context(instance.Instance.created(directory))
                stack.enter_context(sockets_in(own.forkserver))
                self.pool = Pool(config, own)
                stack.callback(self.pool.close)
            self.pool.wait_until_ready()
            executor = CachingExecutor(config, self.pool, self.pool.images)
            metrics = Metrics(self.pool, executor)
            self.app = App(config, executor, metrics, self.pool.images)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End everything that was started; nothing of it is left."""
        self._stack.close()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Delay the signals whose handlers raise an exception anywhere: Ctrl-C, and gunicorn's."""
    # a later start, by a thread, would unblock these signals
    resource_tracker.ensure_running()
    ending = {signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@cache
def server() -> Server:
    """Return this process's server; the first call starts it."""
    config = active_config.current()
    log_to_stderr(config.verbose)
    try:
        return Server(config)
    except ConfigError as error:
        problem = "\n".join(error.problems)
    except OSError as error:
        problem = str(error)
    print(problem, file=sys.stderr)
    if not active_config.has_served:
        sys.exit(Arbiter.APP_LOAD_ERROR)
    # an earlier process started, so a later one may; gunicorn starts it at once
    time.sleep(RETRY_INTERVAL)
    sys.exit(1)


def wsgi() -> App:
    """Return the application, for a WSGI server with one process."""
    return server().app
