"""gunicorn's settings and hooks, which `gunicorn.conf.py` imports."""

from __future__ import annotations

import math
import os
import resource
import sys
from typing import Any

from codapi_flask import stdio
from codapi_flask.daemon.compat import DOCKER, URLLIB3
from codapi_flask.httpd.compat import GUNICORN
from codapi_flask.httpd.handover import Handover
from codapi_flask.jobs.caching import MAX_WAITING
from codapi_flask.process import MULTIPROCESSING
from codapi_flask.server import process
from codapi_flask.server.settings import active_config, refuse

FILES = 16384
"""Descriptors to ask for: a connection takes one, a waiting box two; systemd allows 1024."""

CONNECTIONS = 4000
"""Limit on connections at once, most of which wait for their client."""

EXTRA_THREADS = 24
"""Threads beyond those of the jobs, for refusals and health checks."""

KEEPALIVE = 90
"""Seconds for which an idle connection is kept: above nginx's 60 s."""

HEARTBEAT = 30
"""Seconds without a heartbeat after which gunicorn kills the web process; more on slow hosts."""

END_MARGIN = 5
"""Seconds beyond the longest job that the last jobs may take when the server ends."""


def settings() -> dict[str, Any]:
    """Read the config and return gunicorn's settings; called at the start and at each SIGHUP."""
    _use_utf8()
    # before gunicorn opens its log
    stdio.install()
    _check_libraries()
    config = active_config.read()
    files = _raise_file_limit()
    commands = [command for named in config.commands.values() for command in named.values()]
    budgets = [
        config.time_budget(command, runs_timeout)
        for command in commands
        for runs_timeout in (0, config.runs_timeout)
    ]
    longest = max(budgets, default=0)
    waiting = config.queue_size if config.queue_timeout else 0
    if config.cache_size and any(command.cache for command in commands):
        waiting += MAX_WAITING
    return {
        "wsgi_app": "codapi_flask.server.process:wsgi()",
        "worker_class": "codapi_flask.httpd.worker.BufferingWorker",
        "bind": [_address()],
        "worker_connections": min(CONNECTIONS, files // 2),
        "threads": config.pool_size + waiting + EXTRA_THREADS,
        "keepalive": KEEPALIVE,
        "timeout": math.ceil(max(HEARTBEAT, 3 * config.start_timeout)),
        "graceful_timeout": int(longest + config.queue_timeout) + END_MARGIN,
        # a request's path, scheme and address are those of its connection, whoever sent it
        "forwarder_headers": "",
        "forwarded_allow_ips": "",
        "secure_scheme_headers": {},
        # a control socket would need protection, too
        "control_socket_disable": True,
        "on_starting": on_starting,
        "when_ready": when_ready,
        "post_fork": post_fork,
        "nworkers_changed": nworkers_changed,
        "worker_exit": worker_exit,
    }


def _use_utf8() -> None:
    """Have the names of files in UTF-8, whatever the locale: start again in that mode (PEP 540)."""
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def library_problems() -> list[str]:
    """Return what the installed libraries lack of what is used of their inside."""
    insides = (GUNICORN, DOCKER, URLLIB3, MULTIPROCESSING)
    return [each for inside in insides for each in inside.problems()]


def _check_libraries() -> None:
    """Refuse to start with a release of a library that lacks what is used of its inside."""
    if problems := library_problems():
        refuse("\n  ".join(["the installed libraries cannot be used:", *problems]))


def _raise_file_limit() -> int:
    """Raise the limit on descriptors as far as allowed and needed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files


def _address() -> str:
    """Return the address to bind, from `CODAPI_HOST` and `PORT`."""
    host, port = os.environ.get("CODAPI_HOST") or "127.0.0.1", os.environ.get("PORT") or "1313"
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        refuse(f"PORT={port}: must be a number, 0 to 65535")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def on_starting(server: Any) -> None:
    """Let a web process serve until its successor does."""
    Handover(server)


def when_ready(server: Any) -> None:
    """Warn if other hosts can reach the server without a token."""
    hosts = [address[0] for address in server.cfg.address if isinstance(address, tuple)]
    exposed = [host for host in hosts if host not in ("127.0.0.1", "::1", "localhost")]
    if exposed and not active_config.current().tokens:
        server.log.warning(
            "reachable at %s by anybody, without a token: set auth.tokens in the config, or bind "
            "to 127.0.0.1 behind a proxy",
            ", ".join(exposed),
        )


def post_fork(server: Any, worker: Any) -> None:
    """Record whether a web process is the first: if that one cannot start, the server ends."""
    active_config.has_served = worker.age > 1


def nworkers_changed(server: Any, new_value: int, old_value: int | None) -> None:
    """Refuse any other number of workers than one, at the start and later (SIGTTIN)."""
    problem = ""
    if new_value != 1:
        problem = (
            f"codapi_flask needs one gunicorn worker, not {new_value}: it owns the pool whose size "
            "bounds what runs at once (set pool_size in the config instead)"
        )
    elif old_value is None and server.cfg.preload_app:
        problem = "codapi_flask cannot be preloaded: the pool belongs to gunicorn's worker"
    if problem and old_value is None:
        refuse(problem)
    if problem:
        server.log.error(problem)
        server.num_workers = 1


def worker_exit(server: Any, worker: Any) -> None:
    """End the pool before the web process ends."""
    if process.server.cache_info().currsize:
        process.server().close()
