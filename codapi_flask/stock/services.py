"""Keeps the services of a config running, each in a thread of the keeper."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.service import Bulletin, Service
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import NoImage, NotRunning, ServerFault

FIRST, LONGEST = 0.1, 10.0
"""Seconds before the second start of a service that fails, doubled each time, and their maximum."""

LONGEST_AFTER_READY = 1.0
"""Their maximum once it was ready: then a client may have ended it, and others wait for it."""

READY_INTERVAL = 0.1
"""Seconds between two tries of a service's `ready`."""

LEAST_TRY = 1.0
"""Seconds that each of them may take at least, though `ready_timeout` ends: its output says why."""

CHECK_INTERVAL, CHECKS = 10.0, 3
"""Seconds between two checks of a ready service, and how many fail until it starts again."""

CHECK_TIMEOUT = 10.0
"""Seconds that a check of a ready service may take."""

LOOK_INTERVAL = 0.25
"""Seconds between two looks for a reason to start or to end a service."""

LACK_TIME = 1.5
"""Seconds for which a doubted service lacks memory, until it starts again."""

MAX_SHOWN = 500
"""Characters of a service's last output that the log repeats."""

log = logging.getLogger("codapi")


class SupervisedService:
    """A service that is started again when it ends. `serve` runs in a thread of its own.

    `state` is `idle` (lazy, and no request has needed it), `starting`, `ready` or `failed`; `why`
    is the reason of the last failure, of the service or its `ready`.
    """

    def __init__(self, box: BoxSpec, instance: Instance) -> None:
        self._box, self._instance = box, instance
        self._bulletin = Bulletin(instance, box.name)
        self._ending = threading.Event()
        self.state, self.why = "idle", ""
        self._was_ready = False
        self.image = ""
        """The id of the box's image now, empty while that is unknown."""

    def end(self) -> None:
        """Make `serve` end the service and return; safe from any thread."""
        self._ending.set()

    def serve(self, daemon: Daemon) -> None:
        """Keep the service running until `end`."""
        # an earlier keeper's service ends with that
        self._bulletin.withdraw()
        while self._box.service == "lazy" and not self._bulletin.is_wanted:
            if self._ending.wait(LOOK_INTERVAL):
                return
        pause = FIRST
        while not self._ending.is_set():
            self.state = "starting"
            start = time.monotonic()
            try:
                why = self._run_once(daemon)
            except NoImage as error:
                # the warning at the start names it
                self.state, self.why = "failed", str(error)
                self._await_image()
                continue
            except Exception as error:
                # any exception: it would end the thread, which nothing restarts
                why = str(error)
            if not why:
                continue
            log.warning("the service %s is not ready, will start again: %s", self._box.name, why)
            self.state, self.why = "failed", why
            if time.monotonic() > start + 2 * LONGEST:
                pause = FIRST
            longest = LONGEST_AFTER_READY if self._was_ready else LONGEST
            self._ending.wait(min(pause, longest))
            pause = min(pause * 2, longest)

    def _await_image(self) -> None:
        deadline = time.monotonic() + LONGEST
        while not (self.image or self._ending.wait(LOOK_INTERVAL)):
            if time.monotonic() > deadline:
                return

    def _run_once(self, daemon: Daemon) -> str:
        """Run the service once; return why it is over, empty if that is as it should be."""
        self._was_ready = False
        service = Service.start(daemon, self._box, self._instance)
        try:
            if (why := self._until_ready(service)) or self._ending.is_set():
                return why
            service.weigh()
            self._bulletin.trust()
            self._bulletin.publish(service.container.id)
            self._was_ready = True
            self.state, self.why = "ready", ""
            log.info("the service %s is ready", self._box.name)
            return self._watch(service)
        finally:
            self._bulletin.withdraw()
            self.state = "starting"
            service.close()

    def _until_ready(self, service: Service) -> str:
        why = "its program does not run"
        deadline = time.monotonic() + self._box.ready_timeout
        while (left := deadline - time.monotonic()) > 0 and not self._ending.is_set():
            if not service.wait(READY_INTERVAL):
                return _ended(service)
            found = self._try(service, max(left, LEAST_TRY)) if self._box.ready else None
            if found is None:
                return ""
            self.why = why = found
        if self._ending.is_set():
            return ""
        return f"not ready within {self._box.ready_timeout:g} s: {why[-MAX_SHOWN:]}"

    def _watch(self, service: Service) -> str:
        failures, check_at, trusted_at = 0, time.monotonic() + CHECK_INTERVAL, time.monotonic()
        while service.wait(LOOK_INTERVAL):
            if self._ending.is_set():
                return ""
            if self.image and service.container.image != self.image:
                log.info("the service %s starts again, with its new image", self._box.name)
                return ""
            if not self._bulletin.is_doubted:
                trusted_at = time.monotonic()
            elif not service.lacks_memory():
                self._bulletin.trust()
            elif time.monotonic() > trusted_at + LACK_TIME:
                return "programs have filled its memory"
            if self._box.ready and time.monotonic() >= check_at:
                found = self._try(service, CHECK_TIMEOUT)
                failures = 0 if found is None else failures + 1
                if failures == CHECKS:
                    return f"not ready any more: {found}"
                check_at = time.monotonic() + CHECK_INTERVAL
        return _ended(service)

    def _try(self, service: Service, seconds: float) -> str | None:
        try:
            return service.try_ready(seconds, self._ending.is_set)
        except (NotRunning, ServerFault) as error:
            return str(error)


class Services:
    """All services of a config; `run` starts a thread."""

    def __init__(self, boxes: Mapping[str, BoxSpec], instance: Instance) -> None:
        self._services = {
            name: SupervisedService(box, instance) for name, box in boxes.items() if box.service
        }
        self._images = {name: box.image for name, box in boxes.items()}

    def run(
        self, run: Callable[[Callable[[Daemon], None]], threading.Thread]
    ) -> list[threading.Thread]:
        """Keep the services running, each in a thread that `run` starts; return the threads."""
        return [run(service.serve) for service in self._services.values()]

    def end(self) -> None:
        """End them; the threads return."""
        for service in self._services.values():
            service.end()

    def retire(self, images: Mapping[str, str]) -> None:
        """Have services start again whose image, by the ids of the images, is another one now."""
        for name, service in self._services.items():
            service.image = images.get(self._images[name], "")

    def states(self) -> dict[str, tuple[str, str]]:
        """Return the state of each service by its box, with the reason of a failure."""
        return {name: (each.state, each.why) for name, each in self._services.items()}


def _ended(service: Service) -> str:
    output = service.output[-MAX_SHOWN:]
    # repr: it may hold what a client sent
    return f"it has ended: {output!r}" if output else "it has ended"
