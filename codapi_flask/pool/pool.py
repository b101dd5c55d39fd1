"""The pool: `pool_size` worker processes, which bound what runs at once.

A thread with a job takes an idle worker and owns it until the answer is there. If no worker is
idle it waits, as far as the config has a queue, or is refused; there is no dispatcher. One
supervising thread starts all processes, replaces dead workers and kills overdue ones. After a start
that failed it tries one process at a time, with growing pauses.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping

from codapi_flask.boxes.instance import Instance
from codapi_flask.config.model import Config
from codapi_flask.errors import Busy, Cancelled, ConfigError, ServerFault
from codapi_flask.models import Job
from codapi_flask.pool import worker
from codapi_flask.pool.backoff import Backoff
from codapi_flask.pool.child import WorkerChild
from codapi_flask.pool.idle import IdleWorkers, Ticket
from codapi_flask.pool.keeper import SupervisedKeeper
from codapi_flask.pool.preload import PRELOAD
from codapi_flask.pool.run import PoolRun
from codapi_flask.process import StartError, describe

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the workers."""

log = logging.getLogger("codapi")


class Pool:
    """The workers and the keeper. Safe for use by many threads."""

    def __init__(self, config: Config, instance: Instance) -> None:
        """Start all processes in the background; `close` must follow."""
        self.size, self.lost = config.pool_size, 0
        self._config, self._instance = config, instance
        self._lock = threading.RLock()
        self._workers: set[WorkerChild] = set()
        self._idle = IdleWorkers(config, self._lock, self._set_aside)
        self._lost: list[WorkerChild] = []
        self._starts = Backoff("worker")
        self._keeper = SupervisedKeeper(config, instance)
        self._started, self._wake = threading.Event(), threading.Event()
        self._closed = False
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    def wait_until_ready(self) -> None:
        """Wait until all processes have started.

        Raises:
            ConfigError: the boxes cannot see the work directory.
        """
        self._started.wait()
        if self._keeper.problem:
            raise ConfigError([self._keeper.problem])

    @property
    def stock(self) -> Mapping[tuple[str, str], int]:
        """The started boxes, by their box's name and their state."""
        return self._keeper.stock

    @property
    def failed_preloads(self) -> Mapping[str, int]:
        """The failures to preload boxes, by the boxes' name."""
        return self._keeper.failed_preloads

    @property
    def services(self) -> Mapping[str, str]:
        """The services' states by their box: `idle`, `starting`, `ready` or `failed`."""
        return {box: state for box, (state, _) in self._keeper.services.items()}

    @property
    def swept(self) -> int:
        """The number of containers that the keeper has swept."""
        return self._keeper.swept

    def images(self) -> Mapping[str, str]:
        """Return the ids of the images by name, of none while they are unknown; does not wait.

        The id of a missing image is empty.
        """
        return self._keeper.images()

    def start(self, job: Job) -> PoolRun:
        """Return a run, whose worker is idle again at its end."""
        return PoolRun(self, job, self._idle.ticket())

    def begin(self, job: Job, ticket: Ticket) -> WorkerChild:
        """Give a job to an idle worker; wait for one as far as the config has a queue.

        Raises:
            Busy: no worker is idle.
            Cancelled: the ticket is.
            ServerFault: no worker can start.
        """
        command = self._config.commands[job.sandbox][job.command]
        runs_timeout = self._config.runs_timeout if job.runs else 0
        budget = self._config.time_budget(command, runs_timeout)
        while True:
            child = self._take(job.sandbox, ticket)
            child.deadline = time.monotonic() + budget
            try:
                child.begin(job)
            except BaseException as error:
                self.lose(child)
                if not isinstance(error, OSError):
                    raise
                # it died before it read the job, so another worker may execute it
            else:
                return child

    def cancel(self, ticket: Ticket) -> None:
        """Cancel a ticket; a run that waits with it gets no worker."""
        self._idle.cancel(ticket)

    def end(self, child: WorkerChild) -> None:
        """Take back a worker that has answered; it stays busy while an `after` step is due."""
        if not child.is_over:
            # the run's own thread must answer its client
            threading.Thread(target=self._finish, args=[child], daemon=True).start()
            return
        self._idle.put(child)

    def _finish(self, child: WorkerChild) -> None:
        try:
            child.finish()
        except (EOFError, OSError):
            log.warning("id=%s the after step failed: worker %s is lost", child.job_id, child.pid)
            self.lose(child)
        else:
            self.end(child)

    def is_full(self) -> bool:
        """Whether a job would be refused now; the answer may be outdated at once."""
        return self._idle.is_full() and not self._is_broken()

    def needs_worker(self, job: Job) -> bool:
        """Return True."""
        return True

    def problem(self) -> str:
        """Return why executions cannot work at the moment, an empty string if they can."""
        if self._is_broken():
            return self._starts.problem
        if self._keeper.starts.problem:
            return self._keeper.starts.problem
        if not self._workers or not self._keeper.child:
            return "the workers are being started"
        return self._keeper.problem or self._keeper.fault or self._service_problem()

    def _service_problem(self) -> str:
        """Return why a service is not ready, empty if all are.

        One that no request has needed, or whose image is missing, does not count.
        """
        images = self.images()
        for name, (state, why) in self._keeper.services.items():
            is_installed = images.get(self._config.boxes[name].image) != ""
            if state in ("starting", "failed") and is_installed:
                return f"the service {name} is not ready{': ' if why else ''}{why}"
        return ""

    def busy(self) -> int:
        """Return the number of workers that execute a job, its `after` step included."""
        with self._lock:
            return len(self._workers) - len(self._idle)

    def close(self) -> None:
        """End all processes; running jobs are lost, what they started is removed."""
        self._closed = True
        self._wake.set()
        self._supervisor.join()
        # these include the lost workers that are not yet replaced
        children = [*self._workers, *filter(None, [self._keeper.child])]
        for child in children:
            child.hang_up()
        deadline = time.monotonic() + self._config.timeouts.end
        for child in children:
            child.join(deadline)

    def _is_broken(self) -> bool:
        """Whether there is no worker, and none can start."""
        return not self._workers and bool(self._starts.problem)

    def _take(self, sandbox: str, ticket: Ticket) -> WorkerChild:
        with self._lock:
            child = None if self._is_broken() else self._idle.take(ticket, sandbox)
        if child:
            return child
        if ticket.is_cancelled:
            raise Cancelled
        raise ServerFault(self._starts.problem) if self._is_broken() else Busy

    def _set_aside(self, lost: WorkerChild) -> None:
        lost.deadline = math.inf
        self._lost.append(lost)
        self._wake.set()

    def lose(self, child: WorkerChild) -> None:
        """Replace a worker that died or hung, or whose answer is lost."""
        child.forget()
        with self._lock:
            # once: the supervisor and the run's thread may both find it lost
            if child.deadline < math.inf:
                self._set_aside(child)

    def _supervise(self) -> None:
        lost: list[WorkerChild] = []
        while not self._closed:
            try:
                # it starts beside the workers
                is_new = self._keeper.check(is_successor=self._started.is_set())
                self._replace(lost)
                if is_new:
                    self._keeper.wait_for_message()
            except Exception as error:
                # any exception: it would end the thread, which nothing restarts
                self._starts.failed(describe(error))
            self._started.set()
            pauses = [self._starts.left, self._keeper.starts.left]
            # without the zeros: nothing waits for a start that is possible already
            self._wake.wait(min(filter(None, [CHECK_INTERVAL, *pauses])))
            self._wake.clear()
            lost += self._check()
        self._started.set()

    def _check(self) -> list[WorkerChild]:
        """Kill the overdue workers; return those to replace."""
        with self._lock:
            self._idle.drop_lost()
            now = time.monotonic()
            for child in self._workers:
                if now >= child.deadline:
                    child.kill()
                is_dropped = now >= child.deadline + self._config.timeouts.margin
                # the next check finds an idle one dead
                if is_dropped and child not in self._idle:
                    # nobody waits for its answer, or has seen the end
                    self.lose(child)
            lost, self._lost = self._lost, []
        return lost

    def _replace(self, lost: list[WorkerChild]) -> None:
        """Remove the lost workers, and start those that are missing, all at the same time."""
        while lost:
            old = lost.pop()
            log.warning("worker %s is lost, another takes its place", old.pid)
            with self._lock:
                self._workers.discard(old)
                self.lost += 1
            old.join(time.monotonic())
        starts, missing = self._starts, self._config.pool_size - len(self._workers)
        if not missing or starts.left:
            return
        new, fault = self._begin_starts(1 if starts.has_failed else missing)
        deadline = time.monotonic() + self._config.timeouts.ready
        for child in new:
            try:
                child.ready(deadline)
            except StartError as error:
                fault = str(error)
                child.join(time.monotonic())
                continue
            with self._lock:
                self._workers.add(child)
                self._idle.put(child)
        if fault:
            starts.failed(fault)
            if self._is_broken():
                self._idle.dismiss()
        else:
            starts.worked()
            # it may have been one of several
            self._wake.set()

    def _begin_starts(self, count: int) -> tuple[list[WorkerChild], str]:
        """Start workers; return them, and why they are fewer than `count`, empty if not."""
        args = self._config, self._instance, self._started.is_set()
        new: list[WorkerChild] = []
        try:
            while len(new) < count:
                new.append(WorkerChild(self._config.timeouts.clean, worker.main, args, PRELOAD))
        except Exception as error:
            # EOFError, for example: the fork server is gone; the next start makes a new one
            return new, describe(error)
        return new, ""
