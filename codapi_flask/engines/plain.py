"""Programs in plain containers or in running ones, through the Docker API's streams."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from codapi_flask.boxes.lease import Lease
from codapi_flask.boxes.outcome import (
    ended,
    out_of_memory,
    out_of_processor_time,
    overdue,
    unstartable,
)
from codapi_flask.boxes.quota import Quota
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.attach import Stream
from codapi_flask.daemon.cgroup import bound_sockets
from codapi_flask.daemon.client import PAUSE
from codapi_flask.daemon.container import Container, Exec
from codapi_flask.engines.context import WorkerContext
from codapi_flask.errors import Abandoned, Cancelled, NotRunning, ServerFault
from codapi_flask.init import install
from codapi_flask.models import Outcome
from codapi_flask.program import Program
from codapi_flask.streams import WATCH_INTERVAL, pump

# what process 1 (init, or Docker's tini) and Docker's exec print if a program cannot be started; a
# program that prints such a line misleads only its own client
INIT = re.compile(r"init: exec .*: ([^:\n]+)\n", re.DOTALL)
TINI = re.compile(r"\[FATAL tini \(\d+\)\] exec .* failed: (.+)\n")
EXEC = re.compile(r"OCI runtime exec failed: .*\bexec:? [\"/.].+: ([^:]+): unknown(:.*)?\s*")
NO_USER = re.compile(r"unable to find (user|group) .+\s*")
OOM_DELAY = 1.0
"""Seconds by which the daemon may report a lack of memory after the container's end."""


class PlainBoxes:
    """Runs programs of one execution in plain containers and in running ones.

    `quota` returns what watches the disk while a box, in its container, runs beside the detached
    ones; with `None` twice, it watches the detached ones alone.
    """

    def __init__(
        self,
        context: WorkerContext,
        lease: Lease,
        quota: Callable[[BoxSpec | None, Container | None], Quota | None],
    ) -> None:
        self._context, self._lease, self._quota = context, lease, quota
        self._daemon = context.daemon

    def run(self, name: str, box: BoxSpec, program: Program) -> Outcome:
        """Run a program as a container; on return it is dead and removed.

        Raises:
            Vanished: somebody else removed it before its program had begun.
            NotRunning: somebody else removed it.
            ServerFault: the daemon failed.
            Cancelled, Abandoned: a reason of the context's `cancel` raised it.
        """
        start = time.monotonic()
        deadline = start + self._daemon.timeouts.box
        container = self._create(name, box, program, deadline)
        try:
            stream = container.attach(program, deadline)
            try:
                self._start(container, box, deadline)
                took = (time.monotonic() - start) * 1000
                outcome = self._watch(container, stream, program, self._quota(box, container))
                if outcome.reason == "timeout":
                    outcome = overdue(outcome, container.memory())
            finally:
                stream.close()
            if outcome.exit_code:
                outcome = explained(outcome, container, box, program)
        finally:
            # it also confirms that a program which did not end in time is dead
            container.remove()
        return replace(outcome, kind="fresh", start_ms=took, image=container.image)

    def detach(self, name: str, box: BoxSpec, program: Program) -> tuple[Container, Stream]:
        """Start a program as a container; the caller reads its output, and removes it.

        Raises:
            Vanished: somebody else removed it before its program had begun.
            ServerFault: the daemon failed.
        """
        deadline = time.monotonic() + self._daemon.timeouts.box
        container = self._create(name, box, program, deadline)
        try:
            stream = container.attach(program, deadline, keeps_last=True)
            try:
                self._start(container, box, deadline)
            except BaseException:
                stream.close()
                raise
        except BaseException:
            container.remove()
            raise
        return container, stream

    def exec(self, container: Container, own: bool, program: Program) -> Outcome:
        """Run a program in a running container; kill it if it takes too long or writes too much.

        Its container is killed with it if that is the execution's `own`.

        Raises:
            NotRunning: the container does not run.
            ServerFault: the program's user does not exist, or the daemon failed.
            Cancelled, Abandoned: a reason of the context's `cancel` raised it.
        """
        quota = self._quota(None, None)
        exec = container.exec(program)
        stream = exec.start(time.monotonic() + self._daemon.timeouts.box)
        try:
            outcome = self._watch(exec, stream, program, quota)
        except (Abandoned, Cancelled):
            self._kill(exec, container, own)
            raise
        finally:
            stream.close()
        if outcome.reason == "timeout":
            outcome = overdue(outcome, container.memory())
        if outcome.reason == "timeout" or (quota and quota.is_exceeded):
            self._kill(exec, container, own)
        elif outcome.exit_code and not exec.has_begun():
            # the program never ran: the output is the daemon's
            text = outcome.stdout + outcome.stderr
            if NO_USER.fullmatch(text):
                raise ServerFault(f"{container.id}: {text.strip()}")
            if not (said := EXEC.fullmatch(text)):
                raise NotRunning(f"{container.id} is not running")
            outcome = unstartable(outcome, program.argv[0], said[1])
        return outcome

    def _start(self, container: Container, box: BoxSpec, deadline: float) -> None:
        container.start(deadline)
        if self._daemon.bounds_sockets(box):
            # process 1 starts the program only after that
            state = container.inspect().get("State", {})
            bound_sockets(state.get("Pid", 0), box.memory)

    def _kill(self, exec: Exec, container: Container, own: bool) -> None:
        if own:
            container.remove()
            return
        pid, id = exec.process()
        if pid:
            self._context.root_box.kill(pid, id)

    def _create(self, name: str, box: BoxSpec, program: Program, deadline: float) -> Container:
        lease, instance, copy = self._lease, self._context.instance, None
        # Docker's init is one file for all containers, which programs can lock and watch
        if self._daemon.is_local:
            copy = lease.plain_init
            if not copy.exists():
                install(instance.init, copy)
        mounts = lease.mounts(copy)
        return self._daemon.create(name, box, program, mounts, instance.path, deadline)

    def _watch(
        self,
        started: Container | Exec,
        stream: Stream,
        program: Program,
        quota: Quota | None = None,
    ) -> Outcome:
        start = time.monotonic()
        deadline, check = start + program.timeout, quota.check if quota else None
        sink, stdin = None if program.stdin is None else stream, program.stdin or b""
        cancel, live = self._context.cancel, program.live
        is_read = pump(cancel, [stream], sink, stdin, deadline, check, live)
        code = None
        if not (quota and quota.is_exceeded):
            code = self._wait(started, deadline, quota)
        if live and code is not None and not is_read:
            # it ended while its output waited for the client
            pump(cancel, [stream], None, b"", time.monotonic() + WATCH_INTERVAL)
        if quota and quota.is_exceeded:
            return quota.outcome()
        signal = code - 128 if code and code > 128 else None
        wall_ms = (time.monotonic() - start) * 1000
        return ended(code, signal, stream.stdout, stream.stderr, wall_ms=wall_ms)

    def _wait(self, started: Container | Exec, deadline: float, quota: Quota | None) -> int | None:
        """Return the exit status of a program, which may run on after its streams have closed.

        `None` if it still runs at the deadline, or exceeds its quota.
        """
        while True:
            soon = min(time.monotonic() + WATCH_INTERVAL, deadline)
            code = started.wait(soon)
            if code is not None or soon == deadline or (quota and quota.check()):
                return code
            self._context.cancel.check()


def refusal(outcome: Outcome) -> str:
    """Return why process 1 could not start a program, an empty string if it could."""
    text = outcome.stdout + outcome.stderr
    said = INIT.fullmatch(text) or TINI.fullmatch(text)
    return said[1] if said else ""


def explained(outcome: Outcome, container: Container, box: BoxSpec, program: Program) -> Outcome:
    """Return the outcome of a failed program, with Docker's reason for the failure.

    Raises:
        NotRunning: the container is gone.
    """
    killed = outcome.exit_code == 128 + signal.SIGKILL
    deadline = time.monotonic() + (OOM_DELAY if killed else 0)
    while True:
        state = container.inspect().get("State", {})
        if state.get("Status") in (None, "removing", "dead"):
            raise NotRunning("sandbox died")
        if state["OOMKilled"]:
            return out_of_memory(outcome, box.memory)
        if time.monotonic() >= deadline:
            break
        time.sleep(PAUSE)
    if why := refusal(outcome):
        return unstartable(outcome, program.argv[0], why)
    return out_of_processor_time(outcome, box)
