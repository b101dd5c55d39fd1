"""The keeper process: holds started boxes ready, and looks after what no single worker can.

The main thread serves the workers and decides; it makes no call that may block. Threads with a
Docker client each start boxes, sweep, and watch for new images; they report over a queue.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from codapi_flask import doctor, sweeper
from codapi_flask.config import Config
from codapi_flask.containers import Daemon
from codapi_flask.errors import ServerFault
from codapi_flask.initbox import MESSAGE_MAX, InitBox, can_have_init
from codapi_flask.instance import Lease
from codapi_flask.rootbox import RootBox
from codapi_flask.shelf import Grace, Shelf
from codapi_flask.stock import ADDRESS
from codapi_flask.worker import be_child

SWEEP_INTERVAL = 10.0
"""Seconds between two looks for what dead owners left."""

SWEEP_PATIENCE = 30.0
"""Seconds for which a sweep goes on after something that it cannot remove."""

TICK = 1.0
"""Seconds between two looks at what the shelf lacks or has too much of."""

STARTERS = 2
"""Boxes that are started at once when nothing else runs; one, when something does."""

log = logging.getLogger("codapi")


def main(pipe: Connection, config: Config, instance: Path) -> None:
    """Keep the stock and sweep until the pipe closes.

    The first message says what is wrong with the work directory; it is empty when nothing is.
    The others, one every second, are the shelf's counts, the number of containers swept, and why
    executions cannot work at the moment (empty when they can).
    """
    be_child()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    with suppress(BrokenPipeError):
        pipe.send(check_work_directory(Daemon(), instance, config.images()))
    Keeper(pipe, config, instance).serve()


class Keeper:
    """The stock of one instance, served over a socket in its directory (see `Stock`)."""

    def __init__(self, pipe: Connection, config: Config, instance: Path) -> None:
        self._pipe, self._config, self._instance = pipe, config, instance
        boxes = {name: box for name, box in config.boxes.items() if can_have_init(box)}
        self._shelf = Shelf(boxes, config.stock_size)
        self._workers: dict[socket.socket, Counter[str]] = {}
        self._reports: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._grace = Grace(len(os.sched_getaffinity(0)))
        self._is_put_off = False
        self._swept, self._fault = 0, ""
        self._ending = threading.Event()

    def serve(self) -> None:
        """Serve until the pipe closes; then end what is being done: half a box would stay."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = self._instance / ADDRESS
        # an earlier keeper's
        address.unlink(missing_ok=True)
        directory = os.open(self._instance, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener.bind(f"/proc/self/fd/{directory}/{ADDRESS}")
        os.close(directory)
        listener.listen(self._config.pool_size)
        register = self._selector.register
        register(self._pipe, selectors.EVENT_READ)
        register(self._wake, selectors.EVENT_READ, self._take_reports)
        register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        threads = self._run_threads(self._sweep)
        if Daemon().is_local:
            threads += self._run_threads(*[self._start_boxes] * STARTERS)
            self._run_threads(self._watch_images)
        tick = time.monotonic()
        while True:
            now = time.monotonic()
            wake = tick if self._grace.is_over else min(tick, self._grace.end)
            events = self._selector.select(max(wake - now, 0))
            if self._is_put_off:
                # whoever comes now would put it off again
                self._order()
            for key, _ in events:
                if key.data is None:
                    self._end(threads)
                    return
                key.data()
            if time.monotonic() >= tick:
                tick = time.monotonic() + TICK
                self._shelf.tidy()
                self._tell()
            self._order()

    def _end(self, threads: list[threading.Thread]) -> None:
        self._ending.set()
        for _ in threads:
            self._orders.put("")
        for thread in threads:
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        worker, _ = listener.accept()
        worker.setblocking(False)
        self._workers[worker] = Counter()
        self._selector.register(worker, selectors.EVENT_READ, lambda: self._answer(worker))

    def _answer(self, worker: socket.socket) -> None:
        """Do what a worker says; forget it, and what it had, when it is gone."""
        taken = self._workers[worker]
        try:
            message, descriptors, _, _ = socket.recv_fds(worker, MESSAGE_MAX, 2)
            if not message:
                raise ConnectionResetError
            match json.loads(message):
                case {"take": name}:
                    self._took(taken, name)
                    row = self._shelf.rows[name].end.fileno()
                    if box := self._shelf.take(name):
                        box.send(worker, row)
                    else:
                        socket.send_fds(worker, [b'{"box": null}'], [row])
                case {"took": name}:
                    self._took(taken, name)
                case {"used": name}:
                    self._returned(taken, name)
                    # its worker may have the next job already, and start a box for it
                    self._grace.give(self._shelf.out.total())
                case {"box": {"name": name} as fields}:
                    self._returned(taken, name)
                    config = self._config.boxes[name]
                    self._shelf.put(InitBox.received(fields, descriptors, config))
        except BlockingIOError:
            return
        except (OSError, ValueError):
            # it is gone, or we have no descriptors left for its box
            self._selector.unregister(worker)
            worker.close()
            for name, count in self._workers.pop(worker).items():
                self._shelf.used(name, count)

    def _took(self, taken: Counter[str], name: str) -> None:
        taken[name] += 1
        self._shelf.took(name)
        self._grace.give(self._shelf.out.total())

    def _returned(self, taken: Counter[str], name: str) -> None:
        """Count a box as no longer in use; what an earlier keeper gave was not counted here."""
        if taken[name]:
            taken[name] -= 1
            self._shelf.used(name)

    def _order(self) -> None:
        """Have boxes started that the shelf lacks: one while a job runs, else some at once."""
        is_busy = self._shelf.out.total() > 0
        self._is_put_off = is_busy and not self._grace.is_over
        if self._is_put_off:
            return
        most = 1 if is_busy else STARTERS
        while self._shelf.starting.total() < most and (name := self._shelf.next_to_start()):
            self._shelf.starting[name] += 1
            self._orders.put(name)

    def _tell(self) -> None:
        with suppress(BrokenPipeError):
            self._pipe.send((self._shelf.counts(), self._swept, self._fault))

    def _take_reports(self) -> None:
        os.eventfd_read(self._wake)
        with suppress(queue.Empty):
            while True:
                self._reports.get_nowait()()

    def _report(self, what: Callable[[], None]) -> None:
        """Have the main thread do something."""
        self._reports.put(what)
        os.eventfd_write(self._wake, 1)

    def _run_threads(self, *loops: Callable[[Daemon], None]) -> list[threading.Thread]:
        threads = [threading.Thread(target=loop, args=[Daemon()], daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        return threads

    def _start_boxes(self, daemon: Daemon) -> None:
        while name := self._orders.get():
            self._report(self._start_box(daemon, name))

    def _start_box(self, daemon: Daemon, name: str) -> Callable[[], None]:
        """Start a box; return what the main thread has to do about that."""
        shelf, config = self._shelf, self._config.boxes[name]
        try:
            lease = Lease.make_work(self._instance)
            try:
                box = InitBox.start(daemon, config, self._instance, lease, "warm")
            except BaseException:
                lease.drop()
                raise
        except Exception as error:
            # whatever it is: nobody replaces a thread that dies of it
            log.warning("cannot keep box %s warm: %s", name, error)

            def give_up() -> None:
                shelf.starting[name] -= 1
                shelf.failed(name)

            return give_up

        def put() -> None:
            shelf.starting[name] -= 1
            shelf.put(box)

        return put

    def _watch_images(self, daemon: Daemon) -> None:
        """Retire the boxes whose image was replaced, as soon as the daemon says so."""
        while True:
            with suppress(ServerFault):
                for _ in daemon.image_events():
                    found = {name: daemon.image(name) for name in self._config.images()}
                    ids = {name: image.id for name, image in found.items() if image}
                    self._report(lambda ids=ids: self._shelf.retire(ids))  # type: ignore[misc]
            time.sleep(TICK)

    def _sweep(self, daemon: Daemon) -> None:
        with suppress(ServerFault):
            missing = [name for name in self._config.images() if not daemon.image(name)]
            found = daemon.info(), missing, self._instance.parent
            shared = boxes_of_own_user(daemon, self._config, self._instance)
            for warning in doctor.examine(self._config, *found, daemon.sockets(), shared):
                log.warning("%s", warning)
        root_box = RootBox(daemon, self._instance, self._config.images())
        pause, stuck = 0.0, list[str]()
        while not self._ending.wait(pause):
            try:
                place = self._instance.parent
                count, faults = sweeper.sweep(place, daemon, root_box, SWEEP_PATIENCE)
                if count:
                    log.warning("swept %d containers of dead owners", count)
                    self._swept += count
                if faults and faults != stuck:
                    log.warning("cannot sweep, will try again: %s", "; ".join(faults))
                stuck = faults
                lease = Lease.make_work(self._instance)
                try:
                    (lease.path / "work" / "probe").write_bytes(b"probe")
                finally:
                    lease.close()
                    root_box.remove_tree(lease.path)
                self._fault = ""
            except Exception as error:
                # whatever it is: nobody replaces a thread that dies of it
                fault = str(error)
                if isinstance(error, OSError):
                    # without the file's name, which is another each time
                    fault = f"{self._instance}: {error.strerror}"
                if fault != self._fault:
                    log.error("executions cannot work: %s", fault)
                self._fault = fault
            pause = TICK if self._fault else SWEEP_INTERVAL


def boxes_of_own_user(daemon: Daemon, config: Config, instance: Path) -> list[str]:
    """Return the boxes in which a step runs as the user that this server runs as.

    Of steps that run as root the doctor warns anyway.
    """
    uid = os.geteuid()
    if not uid:
        return []
    commands = [command for named in config.commands.values() for command in named.values()]
    steps = [step for command in commands for step in command.all_steps() if step.action == "run"]
    used = {(box, step.user) for step in steps if (box := config.boxes.get(step.box_name("")))}
    users = {(box.image, user) for box, user in used}
    own = {found for found in users if daemon.user_id(*found, instance) == uid}
    return sorted({box.name for box, user in used if (box.image, user) in own})


def check_work_directory(daemon: Daemon, instance: Path, images: list[str]) -> str:
    """Return what is wrong when boxes do not see our work directory, else nothing.

    Says nothing when that cannot be told: without a daemon, or without any image.
    """
    # if we die, it is found abandoned with the box that reads it
    lease = Lease.make_work(instance)
    token, text = lease.path / "work" / "token", secrets.token_bytes(8)
    token.write_bytes(text)
    try:
        image = next(filter(daemon.image, images), None)
        if image is None:
            return ""
        seen = daemon.read(image, token, instance)
    except ServerFault as fault:
        log.error("the Docker daemon cannot be used yet: %s", fault)
        return ""
    finally:
        token.unlink()
        lease.drop()
    if seen == text:
        return ""
    return (
        f"the Docker daemon does not see our work directory {instance.parent}: when the server "
        "runs in a container, mount a directory of the host at the same path inside and outside "
        f"(--volume {instance.parent}:{instance.parent}), or name one with CODAPI_WORK_DIR"
    )
