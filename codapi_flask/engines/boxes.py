"""The boxes of one execution: from the stock, or started for it, or plain containers."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from codapi_flask.config import Box
from codapi_flask.containers import Daemon
from codapi_flask.engines.attached import Attached
from codapi_flask.errors import NotRunning, ServerFault
from codapi_flask.initbox import InitBox, NoInit, can_have_init
from codapi_flask.instance import Lease
from codapi_flask.models import Outcome, Program
from codapi_flask.quota import Quota
from codapi_flask.rootbox import RootBox
from codapi_flask.stock import Stock

FALLBACK_TIME = 300
"""Seconds without init for a box in which it did not report."""

log = logging.getLogger("codapi")


@dataclass(slots=True)
class Place:
    """What all executions of one worker share.

    When `lifeline` (a descriptor) becomes readable, whoever waits for us is gone. `without_init`
    holds until when a box is not tried with init any more, because it did not report; `unclean`
    the boxes' names, and in which ways their resets have failed.
    """

    daemon: Daemon
    root_box: RootBox
    instance: Path
    stock: Stock
    lifeline: int
    without_init: dict[str, float] = field(default_factory=dict)
    unclean: set[tuple[str, str]] = field(default_factory=set)

    def can_have_init(self, box: Box) -> bool:
        """Whether the box may be one with init: else it is a plain container."""
        is_trusted = time.monotonic() >= self.without_init.get(box.name, 0)
        # from another host, init cannot connect to a socket of ours
        return self.daemon.is_local and is_trusted and can_have_init(box)


class Boxes:
    """Runs the programs of one execution, one at a time, in its work directory."""

    def __init__(self, place: Place, first: Box | None) -> None:
        """Make the directory, or take a started box with its one: `first`, if that is the first.

        Whatever else happens, `close` must follow, unless `give_back` returns true.

        Raises:
            OSError: the directory cannot be made.
        """
        self._place = place
        self._taken: Box | None = None
        self._box: InitBox | None = None
        self._is_new = True
        if first and place.can_have_init(first):
            self._taken = first
            self._box = place.stock.take(first)
        if self._box:
            self._lease = self._box.lease
        else:
            try:
                self._lease = Lease.make_work(place.instance)
            except OSError:
                self._tell_used()
                raise
        self.directory = self._lease.path / "work"
        self.attached = Attached(
            place.daemon, place.root_box, place.instance, self.directory, place.lifeline
        )

    def run(self, name: str, box: Box, program: Program) -> Outcome:
        """Run a program in a box; on return it is dead.

        Raises:
            NotRunning: the box died.
            ServerFault: the box cannot be started, or the program's user does not exist.
            Abandoned: nobody waits for the outcome.
        """
        start = time.monotonic()
        if self._place.can_have_init(box):
            try:
                started = self._enter(box)
            except NoInit as error:
                self._place.without_init[box.name] = time.monotonic() + FALLBACK_TIME
                log.warning("%s: using plain containers for %d s", error, FALLBACK_TIME)
            else:
                started.uses -= 1
                self._is_new = False
                took = (time.monotonic() - start) * 1000
                quota = None
                if box.has_quota:
                    container = self._place.daemon.find(started.container)
                    quota = Quota(box, self.directory, container)
                outcome = self._run(started, program, quota)
                return replace(outcome, start_ms=took)
        self._leave()
        outcome = self.attached.run(name, box, program)
        return replace(outcome, fell_back=can_have_init(box))

    def give_back(self) -> bool:
        """Give the box back, with the directory; False when it cannot serve again."""
        box = self._box
        if not box or box.uses < 1 or not box.box.keeps_nothing:
            return False
        if not self._is_new and not self._reset(box):
            self._leave()
            return False
        try:
            _empty(self.directory)
        except OSError:
            # the disk does not do it
            self._leave()
            return False
        if self._taken and self._taken.name != box.box.name:
            # it is a later step's, which the keeper has not given
            self._tell_used()
        self._place.stock.give(box)
        return True

    def close(self) -> None:
        """Give the box back if that was not tried, else remove it with the directory."""
        if self.give_back():
            return
        self._leave()
        self._tell_used()
        try:
            self._place.root_box.remove_tree(self._lease.path)
        finally:
            self._lease.close()

    def _enter(self, box: Box) -> InitBox:
        """Return a box in which nothing ran before, or all that did is gone."""
        if self._box and self._box.box.name == box.name:
            is_as_new = self._is_new or (not box.writable and self._reset(self._box))
            if is_as_new:
                return self._box
        self._leave()
        place = self._place
        self._box = InitBox.start(place.daemon, box, place.instance, self._lease, "cold")
        return self._box

    def _reset(self, box: InitBox) -> bool:
        """Reset a box; the first time that one of this name fails in this way, say so."""
        if box.reset():
            return True
        failure = box.box.name, box.unclean
        if box.unclean and failure not in self._place.unclean:
            self._place.unclean.add(failure)
            log.warning("box %s: a reset failed (%s), the box is replaced", *failure)
        return False

    def _run(self, box: InitBox, program: Program, quota: Quota | None) -> Outcome:
        try:
            return box.run(program, self._place.lifeline, quota)
        except (NotRunning, ServerFault):
            # whatever it was, the box is dead before anything else is done
            self._place.daemon.find(box.container).remove()
            raise

    def _tell_used(self) -> None:
        if self._taken:
            self._place.stock.used(self._taken)

    def _leave(self) -> None:
        if self._box:
            self._box.close()
        self._box = None


def _empty(directory: Path) -> None:
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
