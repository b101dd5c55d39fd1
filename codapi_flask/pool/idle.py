"""The idle workers, and the runs that wait for one in order of arrival."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from codapi_flask.config.model import Config
from codapi_flask.pool.child import WorkerChild


class Candidate(Protocol):
    """An idle worker, as `choose` sees it."""

    sandbox: str
    cleans_up: bool


C = TypeVar("C", bound=Candidate)


def choose(idle: Sequence[C], sandbox: str) -> C | None:
    """Return the idle worker that may still have a box of the sandbox, else the last one used.

    A worker that still cleans up comes last. `idle` is in the order in which they became idle.
    """
    clean = [child for child in reversed(idle) if not child.cleans_up]
    fitting = (child for child in clean if child.sandbox == sandbox)
    return next(fitting, None) or next(iter([*clean, *idle]), None)


class Ticket:
    """A run's right to a worker, until it is cancelled."""

    def __init__(self, lock: threading.RLock) -> None:
        self.is_cancelled = False
        self.child: WorkerChild | None = None
        # a condition of its own: runs are woken in order of arrival, and a cancelled one alone
        self.changed = threading.Condition(lock)


class IdleWorkers:
    """The idle workers, and the queue of runs. Safe for use by many threads."""

    def __init__(
        self, config: Config, lock: threading.RLock, lose: Callable[[WorkerChild], None]
    ) -> None:
        """Use the pool's lock; `lose` is called with an idle worker that is dead."""
        self._size, self._timeout = config.queue_size, config.queue_timeout
        self._lock, self._lose = lock, lose
        self._idle: deque[WorkerChild] = deque()
        self._queue: deque[Ticket] = deque()

    def __contains__(self, child: WorkerChild) -> bool:
        """Whether a worker is idle."""
        with self._lock:
            return child in self._idle

    def __len__(self) -> int:
        """Return the number of idle workers."""
        return len(self._idle)

    def is_full(self) -> bool:
        """Whether a run would be refused now; the answer may be outdated at once."""
        return not (self._idle or (self._timeout and len(self._queue) < self._size))

    def ticket(self) -> Ticket:
        """Return a run's ticket."""
        return Ticket(self._lock)

    def take(self, ticket: Ticket, sandbox: str) -> WorkerChild | None:
        """Take an idle worker out; wait for one if the config has a queue, and it has room.

        `None` if there is none in time, or the ticket is cancelled.
        """
        with self._lock:
            if ticket.is_cancelled:
                return None
            # only those: any other dead worker is found when it gets a job
            self.drop_lost([child for child in self._idle if child.cleans_up])
            ticket.child = choose(self._idle, sandbox)
            if ticket.child:
                self._idle.remove(ticket.child)
            elif len(self._queue) < self._size:
                self._wait(ticket, time.monotonic() + self._timeout)
            if ticket.child and ticket.is_cancelled:
                self.put(ticket.child)
                return None
            if ticket.child:
                ticket.child.sandbox = sandbox
            return ticket.child

    def put(self, child: WorkerChild) -> None:
        """Give an idle worker to the run that has waited longest, or keep it."""
        with self._lock:
            if self._queue:
                ticket = self._queue.popleft()
                ticket.child = child
                ticket.changed.notify()
            else:
                self._idle.append(child)

    def cancel(self, ticket: Ticket) -> None:
        """Cancel a ticket: its place in the queue is free at once."""
        with self._lock:
            ticket.is_cancelled = True
            if ticket in self._queue:
                self._queue.remove(ticket)
                ticket.changed.notify()

    def dismiss(self) -> None:
        """Let no run wait any longer: no worker can come."""
        with self._lock:
            while self._queue:
                self._queue.popleft().changed.notify()

    def drop_lost(self, idle: Sequence[WorkerChild] | None = None) -> None:
        """Take dead workers out, of all idle ones or of some, and lose them."""
        with self._lock:
            candidates = [*self._idle] if idle is None else idle
            for child in filter(WorkerChild.is_lost, candidates):
                self._idle.remove(child)
                self._lose(child)

    def _wait(self, ticket: Ticket, deadline: float) -> None:
        self._queue.append(ticket)
        while ticket in self._queue and (left := deadline - time.monotonic()) > 0:
            ticket.changed.wait(left)
        if ticket in self._queue:
            self._queue.remove(ticket)
