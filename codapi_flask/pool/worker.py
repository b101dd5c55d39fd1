"""A worker process: executes one job after another, each on its own Docker client."""

from __future__ import annotations

import logging
import pickle
import select
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from codapi_flask.boxes import sweeper
from codapi_flask.boxes.rootbox import RootBox
from codapi_flask.config.model import Command, Config
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.engines import Engine
from codapi_flask.engines.docker import DockerEngine
from codapi_flask.engines.http import HttpEngine
from codapi_flask.engines.workspace import WorkerContext
from codapi_flask.errors import Abandoned, FileError, ServerFault
from codapi_flask.models import Execution, Job
from codapi_flask.process import become_child
from codapi_flask.stock.client import StockClient

HOLD_TIME = 0.02
"""Seconds for which a box that may serve again waits here for the next job."""

CALM_TIME = 0.05
"""Seconds that others who came at the same time get before we clean up, unless a job comes."""

log = logging.getLogger("codapi")


def main(pipe: Connection, config: Config, instance: Path, is_successor: bool) -> None:
    """Serve the jobs that come through the pipe until it closes.

    The first message says that we are ready. A job is answered by its execution and whether all
    that it left is gone; if not, another message follows when it is, before the next job is read.
    The successor of a lost worker first removes what that one left: its boxes count for the bound.
    """
    become_child()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    daemon, stock = Daemon(), StockClient(instance)
    root_box = RootBox(daemon, instance, config.images())
    place = WorkerContext(daemon, root_box, instance, stock, pipe.fileno())
    engines: dict[str, Engine] = {
        "docker": DockerEngine(config, place),
        "http": HttpEngine(config.hosts),
    }
    if is_successor:
        with suppress(ServerFault):
            sweeper.sweep(instance.parent, daemon, root_box)
    pipe.send("ready")
    jobs = select.poll()
    jobs.register(pipe, select.POLLIN)
    with suppress(EOFError, OSError, Abandoned):
        while True:
            if not jobs.poll(HOLD_TIME * 1000):
                stock.release()
                stock.wait(pipe.fileno())
            job = pipe.recv()
            command = config.commands[job.sandbox][job.command]
            engine = engines[command.engine]
            try:
                execution = execute(job, command, engine)
                is_clean = engine.is_clean()
                pipe.send_bytes(pickle.dumps((execution, is_clean)))
                if not is_clean:
                    # that keeps the daemon busy, and so the processors
                    jobs.poll(CALM_TIME * 1000)
            finally:
                clean_up(job, engine)
            if not is_clean:
                pipe.send("clean")


def clean_up(job: Job, engine: Engine) -> None:
    """Have an engine clean up after a job; what it cannot remove is left to the sweeper."""
    try:
        engine.clean_up()
    except (ServerFault, OSError) as error:
        log.warning("id=%s cannot clean up, the sweeper will: %s", job.id, error)
    except Exception:
        # whatever it is: no program may end a worker by what it leaves
        log.exception("id=%s cannot clean up, the sweeper will", job.id)


def execute(job: Job, command: Command, engine: Engine) -> Execution:
    """Execute a job's command; whatever goes wrong becomes fields of the execution.

    Raises:
        Abandoned: nobody waits for it any more.
    """
    start = time.monotonic()
    try:
        outcomes = engine.execute(job, command)
    except FileError as error:
        return Execution(job.id, stderr=str(error))
    except Abandoned:
        raise
    except (ServerFault, OSError) as error:
        return Execution.failed(job.id, str(error), start)
    except Exception:
        return Execution.failed(job.id, traceback.format_exc(), start)
    return Execution.of(job.id, outcomes, round((time.monotonic() - start) * 1000))
