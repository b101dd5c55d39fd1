"""The boxes of one execution: warm, reused, cold, or plain containers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from codapi_flask.boxes import trees
from codapi_flask.boxes.box import Box, InitEnded, NoInit, can_have_init
from codapi_flask.boxes.quota import Quota
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.container import Container
from codapi_flask.engines.context import WorkerContext
from codapi_flask.engines.detached import Detached
from codapi_flask.engines.plain import PlainBoxes
from codapi_flask.engines.services import Leftovers
from codapi_flask.errors import NotRunning, ServerFault, Vanished
from codapi_flask.models import Outcome
from codapi_flask.program import Program

FALLBACK_TIME = 300
"""Seconds for which a box whose init did not report runs as a plain container."""

ATTEMPTS = 100
"""Boxes that a program may get in the time of one start, if others remove them."""

STOP_INTERVAL = 0.1
"""Seconds between two checks of a box that is stopping, while boxes may write to disk."""

T = TypeVar("T")

log = logging.getLogger("codapi")


class Workspace:
    """Runs the programs of one execution, one at a time, in its work directory."""

    def __init__(self, context: WorkerContext, first: BoxSpec | None) -> None:
        """Make the work directory, or take a started box of `first` with its directory.

        `first` is the box of the first step, `None` if that needs none. `close` must follow in
        any case, unless `give_back` returns true.

        Raises:
            OSError: the directory cannot be made.
        """
        self._context = context
        self._taken: BoxSpec | None = None
        self._box: Box | None = None
        self._is_new = True
        self._detached: dict[str, Detached] = {}
        self._was_alone = True
        self._was_writable = False
        if first and context.uses_init(first):
            self._taken = first
            self._box = context.stock.take(first)
        try:
            self._lease = self._box.lease if self._box else context.instance.lease()
        except OSError:
            self._report_used()
            raise
        self.directory = self._lease.work
        self._empty_size = _size(self.directory)
        self._plain = PlainBoxes(context, self._lease, self._quota)
        self._leftovers = Leftovers(context, self._lease)

    def run(self, name: str, box: BoxSpec, program: Program) -> Outcome:
        """Run a program in a box; on return it is dead.

        A box that vanishes before its program has begun is replaced.

        Raises:
            NotRunning: the box died.
            ServerFault: the box cannot be started, or the program's user does not exist.
            Cancelled, Abandoned: a reason of the context's `cancel` raised it.
        """
        self._was_writable |= box.may_write_files
        if self._context.uses_init(box):
            try:
                return self._with_others(lambda _: self._run_with_init(box, program))
            except NoInit as error:
                self._context.without_init[box.name] = time.monotonic() + FALLBACK_TIME
                log.warning("%s: using plain containers for %d s", error, FALLBACK_TIME)
        self._leave()
        outcome = self._with_others(lambda end: self._plain.run(name + end, box, program))
        return replace(outcome, fell_back=can_have_init(box, self._context.daemon))

    def detach(self, name: str, box: BoxSpec, program: Program) -> Detached:
        """Start a program that runs in a box of its own until `end_detached`.

        Raises:
            ServerFault: the box cannot be started.
        """
        self._was_writable |= box.may_write_files
        self._was_alone = False
        container, stream = self._with_others(
            lambda end: self._plain.detach(name + end, box, program)
        )
        detached = Detached(box, program, container, stream, self._context.cancel)
        self._detached[name] = detached
        return detached

    def detached(self, name: str) -> Detached | None:
        """Return what `detach` started under that name, `None` without it."""
        return self._detached.get(name)

    @property
    def has_detached(self) -> bool:
        """Whether detached programs may run."""
        return bool(self._detached)

    def exec(self, container: Container, own: bool, program: Program) -> Outcome:
        """Run a program in a running container; see `PlainBoxes.exec`.

        What it leaves running there ends with the execution.
        """
        if not own:
            program = replace(program, user=self._leftovers.marked(container, program.user))
        return self._plain.exec(container, own, program)

    def stop(self, container: Container, timeout: float) -> Outcome:
        """Stop a running container; kill it after `timeout` seconds, or over the quota.

        Raises:
            NotRunning: there is no such container.
            ServerFault: the daemon failed.
            Cancelled, Abandoned: a reason of the context's `cancel` raised it.
        """
        quota = self._quota(None, None)
        if not quota:
            container.stop(timeout)
            return Outcome()
        deadline = time.monotonic() + timeout
        with suppress(NotRunning):
            # it may have ended already
            container.begin_stop()
        while container.is_running() and not quota.check() and time.monotonic() < deadline:
            self._context.cancel.check()
            time.sleep(STOP_INTERVAL)
        container.stop(0)
        return quota.outcome() if quota.is_exceeded else Outcome()

    def end_detached(self) -> None:
        """Kill and remove all detached boxes; on return they are dead and removed.

        Raises:
            ServerFault: the daemon did not confirm that.
        """
        with ExitStack() as stack:
            for detached in self._detached.values():
                stack.callback(detached.remove)
        self._detached.clear()

    def give_back(self) -> bool:
        """Give back the box with its directory; return False if it cannot be reused.

        The next execution must find no trace of this one in the box or in the directory, whose
        owner, mode, attributes and size outlive the files in it.
        """
        box = self._box
        if not box or box.uses < 1 or not box.spec.keeps_nothing:
            return False
        if self._detached or self._was_writable or self._leftovers:
            return False
        if not self._is_new and not self._reset(box):
            self._leave()
            return False
        try:
            trees.empty(self.directory)
            # made for a detached box
            self._lease.plain_init.unlink(missing_ok=True)
            is_as_new = 0 <= _size(self.directory) == self._empty_size
        except OSError:
            # the disk failed
            is_as_new = False
        if not is_as_new:
            self._leave()
            return False
        if self._taken and self._taken.name != box.spec.name:
            # the box of a later step, which did not come from the keeper
            self._report_used()
        self._context.stock.give(box)
        return True

    def close(self) -> None:
        """Give the box back if possible, else remove it with its directory.

        Raises:
            ServerFault: something is left, for a sweeper to remove.
        """
        is_given = False
        try:
            is_given = self.give_back()
            if not is_given:
                self._leave()
                self._report_used()
                try:
                    self._leftovers.kill()
                finally:
                    self.end_detached()
                    self._context.root_box.remove_tree(self._lease.path)
        finally:
            if not is_given:
                self._lease.close()

    def _quota(self, box: BoxSpec | None, container: Container | None) -> Quota | None:
        """Return what watches the boxes that may write to disk: this one and the detached ones.

        `None` if no box may write.
        """
        boxes = [(detached.box, detached.container) for detached in self._detached.values()]
        if box and container:
            boxes.append((box, container))
        writers = [(box, container) for box, container in boxes if box.has_quota]
        if not writers:
            return None
        is_larger = partial(self._context.root_box.is_larger, self._lease.path)
        return Quota(self.directory, writers, is_larger)

    def _with_others(self, run: Callable[[str], T]) -> T:
        """Run a program, again in another box if one vanishes before its program has begun.

        `run` gets an end for the container's name, since that of a removed one may not be free.

        Raises:
            ServerFault: all boxes did.
            NoInit: init does not report in a box, or in the last of those that ended before.
        """
        deadline = time.monotonic() + self._context.daemon.timeouts.box
        attempt = 0
        while True:
            is_last = attempt == ATTEMPTS - 1 or time.monotonic() >= deadline
            try:
                return run(f".{attempt}" if attempt else "")
            except InitEnded:
                if is_last:
                    raise
            except Vanished as error:
                self._leave()
                if is_last:
                    raise ServerFault(f"{attempt + 1} boxes were removed: {error}") from error
            attempt += 1

    def _run_with_init(self, box: BoxSpec, program: Program) -> Outcome:
        start = time.monotonic()
        started = self._enter(box)
        # a box in which nothing has run cannot be reset
        self._context.cancel.check()
        started.uses -= 1
        self._is_new = False
        took = (time.monotonic() - start) * 1000
        container = self._context.daemon.find(started.container)
        outcome = self._run(started, program, container)
        return replace(outcome, start_ms=took, image=started.image.id)

    def _enter(self, box: BoxSpec) -> Box:
        """Return a box that is new or as new; it may be the box of the step before."""
        if self._box and self._box.spec.name == box.name:
            is_as_new = self._is_new or (not box.writable and self._reset(self._box))
            if is_as_new:
                return self._box
        self._leave()
        context = self._context
        self._box = Box.start(context.daemon, box, context.instance, self._lease, "cold")
        self._is_new = True
        return self._box

    def _reset(self, box: Box) -> bool:
        """Reset a box; log a failure that is the first of its kind for boxes of this name."""
        if box.reset(self._context.daemon.timeouts.reset, self._was_alone):
            return True
        failure = box.spec.name, box.unclean
        if box.unclean and failure not in self._context.unclean:
            self._context.unclean.add(failure)
            log.warning("box %s: a reset failed (%s), the box is replaced", *failure)
        return False

    def _run(self, box: Box, program: Program, container: Container) -> Outcome:
        quota = self._quota(box.spec, container)
        try:
            timeout = self._context.daemon.timeouts.kill
            return box.run(program, self._context.cancel, quota, timeout, container.memory)
        except (NotRunning, ServerFault):
            # the box must be dead before anything else is done
            container.remove()
            raise

    def _report_used(self) -> None:
        if self._taken:
            self._context.stock.used(self._taken)

    def _leave(self) -> None:
        if self._box:
            self._box.close()
        self._box = None


def _size(directory: Path) -> int:
    """Return the size of the directory itself, -1 if it is unknown."""
    try:
        return os.stat(directory).st_size
    except OSError:
        return -1
