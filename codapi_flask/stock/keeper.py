"""The keeper process: holds the stock, sweeps, and watches for new images.

The main thread serves the workers and decides; it makes no blocking call. Other threads, each with
its own Docker client, start boxes, sweep, and watch for new images; they report over a queue.
"""

from __future__ import annotations

import logging
import os
import queue
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from multiprocessing.connection import Connection

from codapi_flask import unixsocket
from codapi_flask.boxes import handoff
from codapi_flask.boxes.box import Box, can_have_init
from codapi_flask.boxes.instance import Instance
from codapi_flask.config import inventory
from codapi_flask.config.model import BoxSpec, Config
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import ServerFault
from codapi_flask.process import become_child, reported
from codapi_flask.stock import preflight, protocol
from codapi_flask.stock.demand import RefillDelay
from codapi_flask.stock.janitor import Janitor, watch_images
from codapi_flask.stock.preloader import Preloader
from codapi_flask.stock.protocol import Put, Take, Took, Used
from codapi_flask.stock.room import Room
from codapi_flask.stock.services import Services
from codapi_flask.stock.shelf import Shelf
from codapi_flask.stock.starter import Starter

TICK = 1.0
"""Seconds between two checks of what the shelf lacks or has too much of."""

STARTERS = 2
"""Boxes that start at the same time while no job runs, or the shelf is short; else it is one."""

log = logging.getLogger("codapi")


def main(pipe: Connection, config: Config, instance: Instance, is_successor: bool) -> None:
    """Hold the stock and sweep until the pipe closes.

    The first message is the problem with the work directory, empty without one. One every second
    has the shelf's counts, those of failed preloads, the number of containers swept, why executions
    cannot work at the moment (empty if they can), and the states of the services; the first of
    these reports that the keeper is ready. The others, at once and after each change, are mappings:
    the ids of the images by name, empty for a missing one; none while they are unknown. The
    successor of a lost keeper does not repeat the warnings about the config and the daemon.
    """
    become_child(config.verbose)
    with reported(pipe):
        with suppress(BrokenPipeError):
            daemon = Daemon(config.timeouts)
            pipe.send(preflight.check_work_directory(daemon, instance, config.images()))
        Keeper(pipe, config, instance).serve(warns=not is_successor)


class Keeper:
    """The stock of one instance, served over a socket in its directory (see `protocol`)."""

    def __init__(self, pipe: Connection, config: Config, instance: Instance) -> None:
        self._pipe, self._config, self._instance = pipe, config, instance
        daemon = Daemon(config.timeouts)
        boxes = {name: box for name, box in config.boxes.items() if _waits(box, daemon)}
        self._shelf = Shelf(boxes, Room.of(boxes, config))
        self._workers: dict[socket.socket, Counter[str]] = {}
        self._reports: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._processors = len(os.sched_getaffinity(0))
        self._grace = RefillDelay(self._processors)
        self._is_put_off = False
        self._preloader = Preloader(config.timeouts.box, self._selector, self._preloaded)
        self._shelf.preloading = self._preloader.counts
        self._starter = Starter(instance, self._box_started)
        self._janitor = Janitor(instance, config.images())
        self._services = Services(config.boxes, instance)

    def serve(self, warns: bool) -> None:
        """Serve until the pipe closes; then finish starts and sweeps, which else leave boxes."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = self._instance.socket
        # left by an earlier keeper
        address.unlink(missing_ok=True)
        unixsocket.bind(listener, address)
        listener.listen(self._config.pool_size)
        register = self._selector.register
        register(self._pipe, selectors.EVENT_READ)
        register(self._wake, selectors.EVENT_READ, self._take_reports)
        register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        threads = [
            self._run(partial(self._look_around, warns)),
            *(self._run(self._starter.serve) for _ in range(STARTERS)),
            *self._services.run(self._run),
        ]
        self._run(lambda daemon: watch_images(daemon, self._config, self._images_changed))
        tick = time.monotonic()
        while True:
            now = time.monotonic()
            wake = tick if self._grace.is_over else min(tick, self._grace.end)
            events = self._selector.select(max(wake - now, 0))
            if self._is_put_off:
                # the events below may postpone the refill again
                self._order()
            for key, _ in events:
                if key.data is None:
                    self._end(threads)
                    return
                key.data()
            if time.monotonic() >= tick:
                tick = time.monotonic() + TICK
                self._shelf.tidy(self._preloader.stays)
                self._preloader.tidy()
                self._report_state()
            self._order()

    def _end(self, threads: list[threading.Thread]) -> None:
        self._janitor.end()
        self._services.end()
        for _ in range(STARTERS):
            self._starter.end()
        for thread in threads:
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        worker, _ = listener.accept()
        worker.setblocking(False)
        self._workers[worker] = Counter()
        self._selector.register(worker, selectors.EVENT_READ, lambda: self._answer(worker))

    def _answer(self, worker: socket.socket) -> None:
        """Handle a worker's message; when the worker is gone, stop counting its boxes as used."""
        taken = self._workers[worker]
        try:
            message, descriptors, _, _ = socket.recv_fds(
                worker, handoff.MESSAGE_MAX, handoff.MAX_DESCRIPTORS
            )
            if not message:
                raise ConnectionResetError
            match protocol.parse(message):
                case Take(name):
                    self._took(taken, name)
                    waiting = self._shelf.queues[name].end.fileno()
                    if box := self._shelf.take(name) or self._preloader.take(name):
                        handoff.send(box, worker, waiting)
                    else:
                        socket.send_fds(worker, [protocol.encode(Put(None))], [waiting])
                case Took(name):
                    self._took(taken, name)
                case Used(name):
                    self._returned(taken, name)
                    # the worker may have its next job already, and start a box for it
                    self._grace.give(self._shelf.out.total())
                case Put(dict() as fields):
                    name = fields["name"]
                    self._returned(taken, name)
                    spec = self._config.boxes[name]
                    self._put(handoff.received(fields, descriptors, spec))
        except BlockingIOError:
            return
        except (OSError, ValueError):
            # the worker is gone, or this process has no descriptors left for its box
            self._selector.unregister(worker)
            worker.close()
            for name, count in self._workers.pop(worker).items():
                self._shelf.used(name, count)

    def _took(self, taken: Counter[str], name: str) -> None:
        taken[name] += 1
        self._shelf.took(name)
        self._grace.give(self._shelf.out.total())

    def _returned(self, taken: Counter[str], name: str) -> None:
        """Count a box as no longer in use, unless an earlier keeper handed it out."""
        if taken[name]:
            taken[name] -= 1
            self._shelf.used(name)

    def _put(self, box: Box) -> None:
        """Have a box wait for its next run, preloaded first if it should be."""
        if self._preloader.wants(box) and self._shelf.admits(box):
            self._preloader.add(box)
        else:
            self._shelf.put(box)

    def _preloaded(self, box: Box) -> None:
        if box.memory_kib is not None:
            self._shelf.weigh(box.spec.name, box.memory_kib)
        self._shelf.put(box)

    def _order(self) -> None:
        """Order the boxes that the shelf lacks: one while a job runs, else several at once.

        Before them come those that are only to be preloaded.

        While the shelf is short, runs postpone no refill unless they are a crowd, and there are
        always several: the next runs would have to wait for starts of their own.
        """
        running = self._shelf.out.total()
        is_crowd = running > self._processors
        is_due = not running or self._grace.is_over
        is_short = (is_due or not is_crowd) and self._shelf.is_short
        self._is_put_off = not (is_due or is_short)
        if self._is_put_off:
            return
        most = STARTERS if is_short or not running else 1
        self._preloader.begin(most - self._preloader.begun - self._shelf.starting.total())
        most -= self._preloader.begun
        while self._shelf.starting.total() < most and (
            name := self._shelf.next_to_start(may_evict=not running)
        ):
            self._shelf.starting[name] += 1
            self._starter.order(self._config.boxes[name])

    def _report_state(self) -> None:
        failed = dict(self._preloader.failed)
        counts, services = self._shelf.counts(), self._services.states()
        self._send((counts, failed, self._janitor.swept, self._janitor.fault, services))

    def _send(self, message: object) -> None:
        with suppress(BrokenPipeError):
            self._pipe.send(message)

    def _take_reports(self) -> None:
        os.eventfd_read(self._wake)
        with suppress(queue.Empty):
            while True:
                self._reports.get_nowait()()

    def _report(self, what: Callable[[], None]) -> None:
        """Have the main thread call a function; safe from any thread."""
        self._reports.put(what)
        os.eventfd_write(self._wake, 1)

    def _look_around(self, warns: bool, daemon: Daemon) -> None:
        if warns:
            try:
                self._warn(daemon)
            except ServerFault:
                # the janitor reports it
                pass
            except Exception:
                # any exception: without this thread nothing is swept
                log.exception("cannot examine the config")
        self._janitor.sweep(daemon)

    def _warn(self, daemon: Daemon) -> None:
        host = preflight.host(daemon, self._config)
        log.info("%s", inventory.served(self._config, host))
        # each is logged before the daemon is asked for the next
        for warning in chain(
            inventory.warnings(self._config, host),
            preflight.warnings(daemon, self._config, self._instance),
        ):
            log.warning("%s", warning)

    def _images_changed(self, ids: Mapping[str, str]) -> None:
        def changed() -> None:
            if known := {name: id for name, id in ids.items() if id}:
                self._shelf.retire(known)
                self._preloader.retire(self._shelf.is_outdated)
                self._services.retire(known)
            self._send(dict(ids))

        self._report(changed)

    def _box_started(self, spec: BoxSpec, box: Box | None) -> None:
        def put() -> None:
            self._shelf.starting[spec.name] -= 1
            if box:
                self._put(box)
            else:
                self._shelf.failed(spec.name)

        self._report(put)

    def _run(self, loop: Callable[[Daemon], None]) -> threading.Thread:
        """Run a function in a thread with its own Docker client."""
        thread = threading.Thread(target=loop, args=[Daemon(self._config.timeouts)], daemon=True)
        thread.start()
        return thread


def _waits(box: BoxSpec, daemon: Daemon) -> bool:
    """Whether started boxes may wait for the next run."""
    return not box.service and can_have_init(box, daemon)
