"""The keeper of the stock, as the pool sees it: its starts, its messages and its replacement."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from codapi_flask.boxes.instance import Instance
from codapi_flask.config.model import Config
from codapi_flask.pool.backoff import Backoff
from codapi_flask.pool.preload import PRELOAD
from codapi_flask.process import Child, Failed, describe
from codapi_flask.stock import keeper

FRESH_TIME = 3.0
"""Seconds after the last message for which the ids of the images count as known."""

log = logging.getLogger("codapi")


class SupervisedKeeper:
    """The keeper's process, replaced when it dies or hangs.

    One thread calls `check` and `wait_for_message`, any may call and read the others.
    `stock` counts the started boxes by name and state, `failed_preloads` the failures by name,
    `services` are the services' states by box, each with the reason of a failure, `swept` the
    containers swept. `problem` is why boxes do not see the work directory, `fault` why
    executions cannot work at the moment; both are empty if there is none.
    """

    def __init__(self, config: Config, instance: Instance) -> None:
        self._config, self._instance = config, instance
        self.starts = Backoff("keeper")
        self.child: Child | None = None
        self.stock: Mapping[tuple[str, str], int] = {}
        self.failed_preloads: Mapping[str, int] = {}
        self.services: Mapping[str, tuple[str, str]] = {}
        self.swept = 0
        self.problem = self.fault = ""
        self._is_ready, self._last_words = False, ""
        self._images: Mapping[str, str] = {}
        self._fresh_until = 0.0
        # guards the pipe, which two threads may read
        self._reading = threading.Lock()

    def images(self) -> Mapping[str, str]:
        """Return the ids of the images by name, of none while they are unknown; does not wait.

        The id of a missing image is empty.

        It reads the messages itself, since the supervisor looks only once a second.
        """
        if self._reading.acquire(blocking=False):
            try:
                while self.child and self._receive(self.child, 0):
                    pass
            except (EOFError, OSError):
                # the supervisor finds out why
                self._images = {}
            finally:
                self._reading.release()
        return self._images if time.monotonic() < self._fresh_until else {}

    def check(self, is_successor: bool) -> bool:
        """Read the process's messages; start it if there is none, and return whether that is so."""
        with self._reading:
            if self.child and not self._is_lost(self.child):
                return False
        if self.starts.left:
            return False
        try:
            args = self._config, self._instance, is_successor
            self.child = Child(keeper.main, args, PRELOAD)
        except Exception as error:
            # any exception: the next start may work
            self.starts.failed(describe(error))
            return False
        timeouts = self._config.timeouts
        self.child.deadline = time.monotonic() + timeouts.ready + timeouts.keeper
        return True

    def wait_for_message(self) -> None:
        """Wait for the first message of a new process, as long as it may take to become ready."""
        with self._reading, suppress(EOFError, OSError):
            if self.child:
                self._receive(self.child, self._config.timeouts.ready)

    def _is_lost(self, child: Child) -> bool:
        """Read the messages; whether the process has died or hangs, and is removed."""
        why = ""
        try:
            while self._receive(child, 0):
                pass
            if time.monotonic() < child.deadline:
                return False
            why = "it hangs"
        except (EOFError, OSError):
            why = self._last_words or child.end()
        if self._is_ready:
            log.warning("the keeper is lost, another takes its place: %s", why)
        else:
            self.starts.failed(why)
        self.child, self._images, self._is_ready, self._last_words = None, {}, False, ""
        child.join(time.monotonic())
        return True

    def _receive(self, child: Child, timeout: float) -> bool:
        """Read the next message; return False if none comes in `timeout` seconds.

        Raises:
            EOFError, OSError: the process died.
        """
        if not child.pipe.poll(timeout):
            return False
        match child.pipe.recv():
            case Failed(why):
                self._last_words = why
                raise EOFError
            case str(problem):
                self.problem = problem
            case dict(images):
                self._images = images
            case state:
                self.stock, self.failed_preloads, self.swept, self.fault, self.services = state
                self._is_ready = True
                self.starts.worked()
        now = time.monotonic()
        child.deadline, self._fresh_until = now + self._config.timeouts.keeper, now + FRESH_TIME
        return True
