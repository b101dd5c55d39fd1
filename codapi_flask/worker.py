"""A worker process: executes one job after another, each on its own Docker client."""

from __future__ import annotations

import ctypes
import signal
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from codapi_flask import sweeper
from codapi_flask.config import Config
from codapi_flask.containers import Daemon
from codapi_flask.engines import Engine
from codapi_flask.engines.docker import DockerEngine
from codapi_flask.engines.http import HttpEngine
from codapi_flask.errors import Abandoned, FileError, ServerFault
from codapi_flask.instance import Lease
from codapi_flask.models import Execution, Job

PR_SET_PDEATHSIG = 1
"""linux/prctl.h: the signal to get when the parent dies."""


def be_child() -> None:
    """Make this process end with its parent, and by nothing that is meant for the parent.

    Ctrl-C and a service manager's SIGTERM reach the whole process group; only the server
    decides when its children go, by closing their pipes.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(pipe: Connection, config: Config, instance: Path, predecessor: Path | None) -> None:
    """Serve the jobs that come through the pipe until it closes.

    A `predecessor` is the lease of a lost worker, whose leftovers go first. The first message
    is our own lease's path: we are ready.
    """
    be_child()
    daemon = Daemon()
    lease = Lease(instance, "w", guard=instance.parent)
    docker = DockerEngine(config, daemon, instance, lease.path, pipe.fileno())
    engines: dict[str, Engine] = {"docker": docker, "http": HttpEngine(config.hosts)}
    if predecessor:
        sweeper.sweep_lease(predecessor, daemon, docker.root_box)
    pipe.send(lease.path)
    try:
        while True:
            job = pipe.recv()
            command = config.commands[job.sandbox][job.command]
            pipe.send(execute(job, engines[command.engine], config))
    except (EOFError, OSError, Abandoned):
        lease.release()


def execute(job: Job, engine: Engine, config: Config) -> Execution:
    """Execute a job; whatever goes wrong becomes fields of the execution.

    Raises:
        Abandoned: nobody waits for it any more.
    """
    start = time.monotonic()
    try:
        outcome = engine.execute(job, config.commands[job.sandbox][job.command])
    except FileError as error:
        return Execution(job.id, stderr=str(error))
    except Abandoned:
        raise
    except ServerFault as error:
        return Execution(job.id, stderr="internal error", fault=str(error))
    except Exception:
        return Execution(job.id, stderr="internal error", fault=traceback.format_exc())
    return Execution.of(job.id, outcome, round((time.monotonic() - start) * 1000))
