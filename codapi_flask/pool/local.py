"""Executes jobs in this process, without a pool."""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from codapi_flask.config.model import Command, Config
from codapi_flask.engines import Engine
from codapi_flask.engines.context import WorkerContext
from codapi_flask.engines.docker import DockerEngine
from codapi_flask.engines.http import HttpEngine
from codapi_flask.errors import (
    Abandoned,
    Cancelled,
    DaemonGone,
    FileError,
    NoImage,
    NotReady,
    ServerFault,
)
from codapi_flask.models import STARTING, UNAVAILABLE, Execution, Job, Report, not_installed

MAX_CAUSE = 500
"""Characters of a failed `after` step's error that the log repeats."""

log = logging.getLogger("codapi")


class LocalExecutor:
    """Executes one job at a time, each on the same Docker client. Not for use by two threads."""

    def __init__(self, config: Config, context: WorkerContext) -> None:
        """Use the engines of a config; the caller owns what is in the context."""
        self._config = config
        self._engines: dict[str, Engine] = {
            "docker": DockerEngine(config, context),
            "http": HttpEngine(config.hosts, config.timeouts.http, context.cancel),
        }
        self._context, self._lock = context, threading.Lock()
        self._current: LocalRun | None = None
        self._cancel = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        context.cancel.add(self._cancel, self._end)

    def start(self, job: Job) -> LocalRun:
        """Prepare a run; iterating it executes the job."""
        command = self._config.commands[job.sandbox][job.command]
        self._context.live.reset()
        self._current = LocalRun(job, command, self._engines[command.engine], self)
        return self._current

    def cancel(self, run: LocalRun) -> None:
        """Cancel a run that has not ended."""
        with self._lock:
            if self._current is run:
                os.eventfd_write(self._cancel, 1)

    def acknowledge(self, size: int) -> None:
        """Let a live job's program print `size` characters more."""
        self._context.live.acknowledge(size)

    def end(self, run: LocalRun) -> None:
        """Let no cancellation of a run that has ended reach the next one."""
        with self._lock, suppress(BlockingIOError):
            if self._current is run:
                self._current = None
                os.eventfd_read(self._cancel)

    def busy(self) -> int:
        """Return 1 while a job is executed, its `after` step included, else 0."""
        are_over = all(engine.is_over() for engine in self._engines.values())
        return int(self._current is not None or not are_over)

    def is_full(self) -> bool:
        """Return False."""
        return False

    def needs_worker(self, job: Job) -> bool:
        """Return True."""
        return True

    def problem(self) -> str:
        """Return an empty string."""
        return ""

    def close(self) -> None:
        """Close the executor's own descriptor."""
        with self._lock:
            self._current = None
        self._context.cancel.remove(self._cancel)
        os.close(self._cancel)

    def _end(self) -> None:
        os.eventfd_read(self._cancel)
        raise Cancelled


class LocalRun:
    """A job that this process executes: yields the execution, then finishes and cleans up.

    The context's `live` gets the other events, as they happen.
    """

    def __init__(self, job: Job, command: Command, engine: Engine, executor: LocalExecutor) -> None:
        self._job, self._command, self._engine = job, command, engine
        self._executor = executor

    def __iter__(self) -> Iterator[Execution]:
        """Execute the job and yield its execution; iterated further, finish and clean up.

        Raises:
            Abandoned: the web process is gone.
        """
        try:
            execution = self._execute()
            self._executor.end(self)
            yield execution
            self.finish()
        finally:
            self._clean_up()

    def cancel(self) -> None:
        """Cancel the run; returns at once, safe from any thread."""
        self._executor.cancel(self)

    def fileno(self) -> int:
        """Return -1: the execution is the only event."""
        return -1

    def acknowledge(self, size: int) -> None:
        """Let a live job's program print `size` characters more."""
        self._executor.acknowledge(size)

    @property
    def is_over(self) -> bool:
        """Whether no step is due."""
        return self._engine.is_over()

    def finish(self) -> None:
        """Execute the `after` step that a failure left due; its own failure goes to the log.

        Raises:
            Abandoned: the web process is gone.
        """
        if self.is_over:
            return
        cause = ""
        try:
            outcome = self._engine.finish()
            if not outcome.ok:
                # repr: it may hold what the client sent
                cause = repr(Execution.of(self._job.id, Report([outcome]), 0).stderr[:MAX_CAUSE])
        except Cancelled:
            # the execution has ended
            pass
        except Abandoned:
            raise
        except (ServerFault, OSError) as error:
            cause = str(error)
        except Exception:
            cause = traceback.format_exc()
        if cause:
            log.warning("id=%s the after step failed: %s", self._job.id, cause)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to clean up."""
        return self._engine.is_clean()

    def _execute(self) -> Execution:
        """Execute the job's command; a failure becomes fields of the execution."""
        job, start = self._job, time.monotonic()
        try:
            report = self._engine.execute(job, self._command)
        except FileError as error:
            return Execution(job.id, stderr=str(error), results=() if job.runs else None)
        except Cancelled:
            return Execution.cancelled(job.id, start)
        except Abandoned:
            raise
        except DaemonGone as error:
            return Execution.failed(job.id, str(error), start, UNAVAILABLE)
        except NotReady as error:
            return Execution.failed(job.id, str(error), start, STARTING)
        except NoImage as error:
            text = not_installed(job.sandbox, error.image)
            failed = Execution.failed(job.id, str(error), start, text)
            return replace(failed, results=() if job.runs else None)
        except (ServerFault, OSError) as error:
            return Execution.failed(job.id, str(error), start)
        except Exception:
            return Execution.failed(job.id, traceback.format_exc(), start)
        return Execution.of(job.id, report, round((time.monotonic() - start) * 1000))

    def _clean_up(self) -> None:
        """Have the engine clean up; the sweeper removes what the engine cannot."""
        try:
            self._engine.clean_up()
        except (ServerFault, OSError) as error:
            log.warning("id=%s cannot clean up, the sweeper will: %s", self._job.id, error)
        except Exception:
            # any exception: a program's leftovers must not end a worker
            log.exception("id=%s cannot clean up, the sweeper will", self._job.id)
