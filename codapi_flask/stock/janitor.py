"""Sweeps what dead owners left, checks that executions can work, and watches for new images."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from codapi_flask.boxes import sweeper
from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.rootbox import RootBox
from codapi_flask.config.model import Config
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import ServerFault

SWEEP_INTERVAL = 10.0
"""Seconds between two sweeps."""

SWEEP_PATIENCE = 30.0
"""Seconds after which a sweep stops at the next thing that it cannot remove."""

RETRY_INTERVAL = 1.0
"""Seconds before the next attempt while executions cannot work, or the daemon is gone."""

log = logging.getLogger("codapi")


class Janitor:
    """Sweeps for an instance; `swept` counts containers, `fault` is why executions cannot work."""

    def __init__(self, instance: Instance, images: list[str]) -> None:
        self._instance, self._images = instance, images
        self._ending = threading.Event()
        self.swept, self.fault = 0, ""

    def end(self) -> None:
        """Make `sweep` return after its current round; safe from any thread."""
        self._ending.set()

    def sweep(self, daemon: Daemon) -> None:
        """Sweep at once and at intervals, until `end`."""
        root_box = RootBox(daemon, self._instance, self._images)
        pause, stuck = 0.0, list[str]()
        while not self._ending.wait(pause):
            try:
                place = self._instance.work_dir
                count, faults = sweeper.sweep(place, daemon, root_box, SWEEP_PATIENCE)
                if count:
                    log.warning("swept %d containers of dead owners", count)
                    self.swept += count
                if faults and faults != stuck:
                    log.warning("cannot sweep, will try again: %s", "; ".join(faults))
                stuck = faults
                self._probe(root_box)
                self.fault = ""
            except Exception as error:
                # any exception: it would end the thread, which nothing restarts
                fault = str(error)
                if isinstance(error, OSError):
                    # without the file's name, which differs each time
                    fault = f"{self._instance.path}: {error.strerror}"
                if fault != self.fault:
                    log.error("executions cannot work: %s", fault)
                self.fault = fault
            pause = RETRY_INTERVAL if self.fault else SWEEP_INTERVAL

    def _probe(self, root_box: RootBox) -> None:
        """Write to the disk as an execution does."""
        lease = self._instance.lease()
        try:
            (lease.work / "probe").write_bytes(b"probe")
        finally:
            lease.close()
            root_box.remove_tree(lease.path)


def watch_images(
    daemon: Daemon, config: Config, report: Callable[[Mapping[str, str]], None]
) -> None:
    """Report the ids of all images by name, at once and after each change; does not return.

    The id of a missing image is empty. While the daemon is gone, and the ids are unknown, the
    report is empty.
    """
    while True:
        with suppress(ServerFault):
            for _ in daemon.image_events():
                found = {name: daemon.image(name) for name in config.images()}
                report({name: image.id if image else "" for name, image in found.items()})
        report({})
        time.sleep(RETRY_INTERVAL)
