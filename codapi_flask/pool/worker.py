"""A worker process: executes one job after another, each on the same Docker client."""

from __future__ import annotations

import pickle
import select
from contextlib import suppress
from multiprocessing.connection import Connection

from codapi_flask.boxes import sweeper
from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.rootbox import RootBox
from codapi_flask.config.model import Config
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.engines.context import WorkerContext
from codapi_flask.errors import Abandoned, Cancelled, ServerFault
from codapi_flask.live import WINDOW, Live
from codapi_flask.models import Job
from codapi_flask.pool.local import LocalExecutor
from codapi_flask.process import become_child, reported
from codapi_flask.stock.client import StockClient
from codapi_flask.streams import Cancel

HOLD_TIME = 0.02
"""Seconds for which the worker keeps a reusable box for its next job."""

CLEAN_DELAY = 0.05
"""Seconds before the cleanup, so that concurrent runs finish first; a new job ends it."""


def main(pipe: Connection, config: Config, instance: Instance, is_successor: bool) -> None:
    """Execute the jobs that come through the pipe until it closes.

    The first message reports that the worker is ready. The answer to a job is its execution,
    whether that is over, and whether all that it left is gone. If an `after` step is still due,
    a message follows at its end. If something is left, the last message follows once that is gone,
    before the next job is read. The events of a live job precede its answer; a number acknowledges
    so many characters of them. Another message cancels the running job. The successor of a lost
    worker first removes what that one left: its boxes count toward the bound.
    """
    become_child(config.verbose)
    with reported(pipe):
        daemon, stock, cancel = Daemon(config.timeouts), StockClient(instance), Cancel()
        live = Live(lambda event: pipe.send_bytes(pickle.dumps(event)), WINDOW)
        cancel.add(pipe.fileno(), lambda: _hear(pipe, live))
        root_box = RootBox(daemon, instance, config.images())
        context = WorkerContext(daemon, root_box, instance, stock, cancel, live)
        executor = LocalExecutor(config, context)
        if is_successor:
            with suppress(ServerFault):
                sweeper.sweep(instance.work_dir, daemon, root_box)
    pipe.send("ready")
    jobs = select.poll()
    jobs.register(pipe, select.POLLIN)
    with suppress(EOFError, OSError, Abandoned):
        while True:
            if not jobs.poll(HOLD_TIME * 1000):
                stock.release()
                stock.wait(pipe.fileno())
            job = pipe.recv()
            # anything else is for a job that has ended
            if isinstance(job, Job):
                _serve(pipe, jobs, executor, job)


def _serve(pipe: Connection, jobs: select.poll, executor: LocalExecutor, job: Job) -> None:
    run = executor.start(job)
    for execution in run:
        is_over, is_clean = run.is_over, run.is_clean
        pipe.send_bytes(pickle.dumps((execution, is_over, is_clean)))
        if not is_over:
            run.finish()
            pipe.send("over")
        if not is_clean:
            # the cleanup makes the daemon use processors that other runs need
            jobs.poll(CLEAN_DELAY * 1000)
    if not is_clean:
        pipe.send("clean")


def _hear(pipe: Connection, live: Live) -> None:
    """Read what the web process says while a job runs."""
    try:
        message = pipe.recv()
    except (EOFError, OSError) as error:
        raise Abandoned from error
    if not isinstance(message, int):
        raise Cancelled
    live.acknowledge(message)
