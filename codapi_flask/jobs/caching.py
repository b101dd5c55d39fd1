"""An executor in front of another one that remembers successful executions.

A job of a command with a `cache` gets the execution of an earlier, equal job, or waits together
with others for one that is under way.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from codapi_flask.config.model import Config
from codapi_flask.errors import Busy, ServerFault
from codapi_flask.jobs.executor import Event, Executor, Run
from codapi_flask.jobs.memory import Key, Keys, Memory
from codapi_flask.models import Execution, Job, Printed

MAX_WAITING = 100
"""Limit on jobs that wait for another one's execution, each of which occupies a thread."""

Result = Execution | Busy | ServerFault


class CachingExecutor:
    """Remembers executions of another executor. Safe for use by many threads."""

    def __init__(
        self, config: Config, executor: Executor, find_images: Callable[[], Mapping[str, str]]
    ) -> None:
        """Use an executor; `find_images` returns ids by name, of none while they are unknown."""
        self._executor, self._keys = executor, Keys(config, find_images)
        self._lock = threading.Lock()
        self._memory = Memory(config.cache_size << 20)
        self._shared: dict[bytes, _Shared] = {}
        self._waiting = 0
        self.requests = Counter(hit=0, merge=0, miss=0)
        """The jobs of commands with a cache, by where their execution comes from."""

    def start(self, job: Job) -> Run:
        """Return a run; that of a command with a cache may need no worker."""
        if not self._keys.lifetime(job):
            return self._executor.start(job)
        return CachedRun(self, job)

    def needs_worker(self, job: Job) -> bool:
        """Whether a job that came now would neither be remembered nor wait for another one."""
        key = self._keys.of(job)
        if not key:
            return self._executor.needs_worker(job)
        with self._lock:
            may_wait = key.digest in self._shared and self._waiting < MAX_WAITING
            return not may_wait and key not in self._memory

    def busy(self) -> int:
        """Return how many jobs are executed, until the end of their `after` steps."""
        return self._executor.busy()

    def is_full(self) -> bool:
        """Whether a job that needs a worker would be refused now."""
        return self._executor.is_full()

    def problem(self) -> str:
        """Return why executions cannot work at the moment, empty when they can."""
        return self._executor.problem()

    def usage(self) -> tuple[int, int]:
        """Return the number of remembered executions, and their size in bytes."""
        with self._lock:
            return self._memory.usage()

    def enter(self, run: CachedRun) -> Execution | _Shared | None:
        """Return the remembered execution, or what the run shares with equal ones.

        The run is the leader if it is the first, or if so many wait that this one must not. A
        cancelled run gets `None`.
        """
        key = self._keys.of(run.job)
        with self._lock:
            if run.is_cancelled:
                return None
            if key and (execution := self._memory.find(key)):
                self.requests["hit"] += 1
                return execution
            shared = self._shared.get(key.digest) if key else None
            if shared and self._waiting < MAX_WAITING:
                self.requests["merge"] += 1
                self._waiting += 1
                shared.members += 1
            else:
                self.requests["miss"] += 1
                is_first, shared = not shared, _Shared(self._lock, key, run)
                if key and is_first:
                    self._shared[key.digest] = shared
            run.shared = shared
            return shared

    def begin(self, shared: _Shared) -> Run:
        """Return the run of the execution that equal runs share."""
        run = self._executor.start(shared.leader.job)
        with self._lock:
            shared.run = run
            is_needed = shared.members > 0
        if not is_needed:
            run.cancel()
        return run

    def end(self, shared: _Shared, result: Result) -> None:
        """Let all runs have a result, unless they have one."""
        with self._lock:
            if shared.result:
                return
            shared.result = result
            self._close(shared)
            if shared.key and isinstance(result, Execution):
                self._memory.remember(shared.key, result)
            shared.changed.notify_all()

    def wait(self, run: CachedRun, shared: _Shared) -> Result | None:
        """Wait for the result of the leader; `None` if the run is cancelled."""
        with self._lock:
            while not (shared.result or run.is_cancelled):
                shared.changed.wait()
            self._waiting -= 1
            return shared.result

    def cancel(self, run: CachedRun) -> None:
        """Cancel a run, and the execution that it shares with equal ones once no other needs it."""
        with self._lock:
            unneeded = None if run.is_cancelled else self._leave(run)
            run.is_cancelled = True
        if unneeded:
            unneeded.cancel()

    def _leave(self, run: CachedRun) -> Run | None:
        """Let a run share nothing any more; return the execution's run if nobody needs it now."""
        shared, run.shared = run.shared, None
        if not shared:
            return None
        shared.members -= 1
        shared.changed.notify_all()
        if shared.members:
            return None
        self._close(shared)
        return shared.run

    def _close(self, shared: _Shared) -> None:
        """Let no further run share an execution."""
        if shared.key and self._shared.get(shared.key.digest) is shared:
            del self._shared[shared.key.digest]


class _Shared:
    """An execution that equal runs wait for: the thread of the `leader` executes it.

    `members` counts the runs that are not cancelled. The executor's lock guards it and the result.
    """

    def __init__(self, lock: threading.Lock, key: Key | None, leader: CachedRun) -> None:
        self.key, self.leader, self.members = key, leader, 1
        self.changed = threading.Condition(lock)
        self.run: Run | None = None
        self.result: Result | None = None


class CachedRun:
    """A run of a job whose command has a cache."""

    def __init__(self, executor: CachingExecutor, job: Job) -> None:
        self._executor, self.job = executor, job
        self.shared: _Shared | None = None
        self.is_cancelled = False
        self._own: Run | None = None

    def __iter__(self) -> Iterator[Event]:
        """Yield the execution: a remembered one, that of an equal job, or its own with its events.

        Raises:
            Busy: no worker is idle.
            ServerFault: nothing can execute jobs at the moment.
        """
        start = time.monotonic()
        found: Execution | _Shared | Result | None = self._executor.enter(self)
        if isinstance(found, _Shared):
            if found.leader is self:
                yield from self._lead(found, start)
                return
            found = self._executor.wait(self, found)
        if isinstance(found, Execution):
            duration = round((time.monotonic() - start) * 1000)
            yield replace(found, id=self.job.id, duration=duration, is_cached=True)
        elif found:
            raise found
        else:
            yield Execution.cancelled(self.job.id, start)

    def cancel(self) -> None:
        """Cancel the run; returns at once, safe from any thread."""
        self._executor.cancel(self)

    def fileno(self) -> int:
        """Return a descriptor that is readable when the execution has another event."""
        return self._own.fileno() if self._own else -1

    def acknowledge(self, size: int) -> None:
        """Do nothing: what others may wait for, and may be remembered, waits for no reader."""

    def _lead(self, shared: _Shared, start: float) -> Iterator[Event]:
        """Execute the job, to the end: others may wait for it when its own reader has gone."""
        result: Result = ServerFault("the run of an equal job was lost")
        try:
            self._own = run = self._executor.begin(shared)
            for event in run:
                if isinstance(event, Execution):
                    self._executor.end(shared, event)
                    if self.is_cancelled:
                        event = Execution.cancelled(self.job.id, start)
                elif isinstance(event, Printed):
                    run.acknowledge(len(event.text))
                yield event
        except (Busy, ServerFault) as error:
            result = error
            raise
        finally:
            self._executor.end(shared, result)
