"""How gunicorn serves codapi_flask: `gunicorn` in this directory needs no argument."""

import os
import resource
import sys

from codapi_flask import app
from codapi_flask.access import Access
from codapi_flask.reader import ReadingWorker

# at the start, and again at SIGHUP
_config = app.settings.read()
_longest = max(
    (command.deadline() for commands in _config.commands.values() for command in commands.values()),
    default=0,
)


class worker_class(ReadingWorker):
    """The worker, with the config's limits."""

    read_timeout = _config.read_timeout
    max_body = _config.max_body
    access = Access(_config.tokens, _config.origins)

    def is_full(self):
        """Tell whether there is no worker for a request."""
        return app.server().pool.is_full()

    def refusal(self, head, body):
        """Return what is said to a request for which there is no worker."""
        return app.server().refusals.answer(head, body)


# a connection is a descriptor, a box that waits two; systemd gives 1024 unless a program asks
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_files = 16384 if _hard == resource.RLIM_INFINITY else min(16384, _hard)
if _soft != resource.RLIM_INFINITY and _soft < _files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _hard))

wsgi_app = "codapi_flask.app:wsgi()"
_host, _port = os.environ.get("CODAPI_HOST") or "127.0.0.1", os.environ.get("PORT") or "1313"
if not (_port.isascii() and _port.isdigit() and int(_port) < 1 << 16):
    sys.exit(f"PORT={_port}: must be a number, 0 to 65535")
bind = [f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"]
# connections, most of which wait for their client
worker_connections = min(4000, _files // 2)
# a running job holds a thread; refusals and health need some beyond
threads = _config.pool_size + bool(_config.queue_timeout) * _config.queue_size + 24
# above the 60 s for which nginx keeps its connections to us
keepalive = 90
# running jobs may end, and those that wait for a worker
graceful_timeout = int(_longest + _config.queue_timeout) + 5
# a control socket would be one more thing to guard
control_socket_disable = True


def when_ready(server):
    """Warn when strangers can reach the server and need no token."""
    hosts = [address[0] for address in server.cfg.address if isinstance(address, tuple)]
    exposed = [host for host in hosts if host not in ("127.0.0.1", "::1", "localhost")]
    if exposed and not _config.tokens:
        server.log.warning(
            "reachable at %s by anybody, without a token: set auth.tokens in the config, or bind "
            "to 127.0.0.1 behind a proxy",
            ", ".join(exposed),
        )


def post_fork(server, worker):
    """Tell a web process whether it is the first: when that one cannot start, the server ends."""
    app.settings.has_served = worker.age > 1


def nworkers_changed(server, new_value, old_value):
    """Refuse what would break the bound on what runs at once, at the start and later (TTIN)."""
    problem = ""
    if new_value != 1:
        problem = (
            f"codapi_flask needs one gunicorn worker, not {new_value}: it owns the pool whose size "
            "bounds what runs at once (set pool_size in the config instead)"
        )
    elif old_value is None and server.cfg.preload_app:
        problem = "codapi_flask cannot be preloaded: the pool belongs to gunicorn's worker"
    if problem and old_value is None:
        sys.exit(problem)
    if problem:
        server.log.error(problem)
        server.num_workers = 1


def worker_exit(server, worker):
    """End the pool before the process ends."""
    if app.server.cache_info().currsize:
        app.server().close()
