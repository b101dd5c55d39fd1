"""A reload without a gap: the old web process serves until its successor does.

gunicorn's master ends the old process at once, and then waits for its end without replacing a
successor that dies. As there, no more than two web processes exist: each has a pool.
"""

from __future__ import annotations

import signal
import time
from typing import Any


class Handover:
    """Starts and ends the web processes of gunicorn's master; each reload makes a generation."""

    def __init__(self, arbiter: Any) -> None:
        """Take over from the master (gunicorn's `Arbiter`), which must not have started any."""
        self._arbiter, self._last_age, self._is_due = arbiter, 0, False
        arbiter.reload, arbiter.manage_workers = self.reload, self.manage

    def reload(self) -> None:
        """Read the settings again, and start a web process with them, once there is only one."""
        self._is_due = True
        self.manage()

    def manage(self) -> None:
        """Start a web process if the generation has none; end those that have a successor.

        The master calls it at each signal, a child's end included, and once a second.
        """
        arbiter = self._arbiter
        if self._is_due and len(arbiter.WORKERS) < 2:
            self._is_due = False
            self._begin_generation()
        if all(worker.age <= self._last_age for worker in arbiter.WORKERS.values()):
            arbiter.spawn_worker()
        workers = dict(arbiter.WORKERS)
        newest = max((worker.age for worker in workers.values() if _serves(worker)), default=0)
        for pid, worker in workers.items():
            if worker.age < newest:
                arbiter.kill_worker(pid, signal.SIGTERM)

    def _begin_generation(self) -> None:
        arbiter = self._arbiter
        arbiter.app.reload()
        arbiter.setup(arbiter.app)
        arbiter.log.reopen_files()
        self._last_age = arbiter.worker_age


def _serves(worker: Any) -> bool:
    """Whether a web process has sent a heartbeat: the time on the monotonic clock.

    Before that the file's time is of the wall clock, decades later.
    """
    return bool(worker.tmp.last_update() <= time.monotonic())
