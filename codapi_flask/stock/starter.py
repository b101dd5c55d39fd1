"""Starts the boxes that the keeper orders, in threads beside the main one."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

from codapi_flask.boxes.box import Box
from codapi_flask.boxes.instance import Instance
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.daemon import Daemon

log = logging.getLogger("codapi")


class Starter:
    """A queue of boxes to start, which any number of threads may `serve`."""

    def __init__(self, instance: Instance, report: Callable[[BoxSpec, Box | None], None]) -> None:
        """Start boxes in an instance; `report` gets each, or `None` if it cannot be started."""
        self._instance, self._report = instance, report
        self._orders: queue.SimpleQueue[BoxSpec | None] = queue.SimpleQueue()
        self._faults: dict[str, str] = {}

    def order(self, spec: BoxSpec) -> None:
        """Queue a box to be started."""
        self._orders.put(spec)

    def end(self) -> None:
        """Make one serving thread return after the boxes ordered before."""
        self._orders.put(None)

    def serve(self, daemon: Daemon) -> None:
        """Start the ordered boxes, until `end`."""
        while spec := self._orders.get():
            self._report(spec, self._started(daemon, spec))

    def _started(self, daemon: Daemon, spec: BoxSpec) -> Box | None:
        try:
            lease = self._instance.lease()
            try:
                box = Box.start(daemon, spec, self._instance, lease, "warm")
                self._faults.pop(spec.name, None)
                return box
            except BaseException:
                lease.drop()
                raise
        except Exception as error:
            # any exception: it would end the thread, which nothing restarts
            if self._faults.get(spec.name) != str(error):
                # once: it is tried again every minute
                log.warning("cannot keep box %s warm: %s", spec.name, error)
            self._faults[spec.name] = str(error)
            return None
