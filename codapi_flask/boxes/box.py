"""A box with init: its start, runs, resets and end.

Such a box is a lease with two directories (the work directory `work`, and for the start `init`),
a container that lives for it, and the connection to its init. The process that holds the
connection owns the box; when it closes, the box dies and the daemon removes it.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace

from codapi_flask.boxes import pipes, preload
from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.lease import Lease
from codapi_flask.boxes.outcome import (
    ended,
    out_of_memory,
    out_of_processor_time,
    overdue,
    unstartable,
)
from codapi_flask.boxes.quota import Quota
from codapi_flask.config.model import BoxSpec, Preload
from codapi_flask.config.names import safe
from codapi_flask.daemon import cgroup
from codapi_flask.daemon.container import Container
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.errors import Cancelled, NotRunning, ServerFault, Vanished
from codapi_flask.init import (
    InitConnection,
    Listener,
    Preloaded,
    ResetDone,
    RunDone,
    Stage,
)
from codapi_flask.models import Image, Kind, Outcome
from codapi_flask.program import Program
from codapi_flask.streams import Cancel, Output, pump

LOOK_INTERVAL = 0.5
"""Seconds between two checks whether a box that does not report has died."""

PROBLEM_MAX = 500
"""Bytes of the last line of a preloaded program's stderr that the log repeats."""

STAGGER = 10
"""The jitter of a box's uses, in percent, from a hundred uses on."""


def can_have_init(spec: BoxSpec, daemon: Daemon) -> bool:
    """Whether a box can have init."""
    # init cannot connect to a socket of this process from another host
    return daemon.is_local and spec.may_have_init


class NoInit(Exception):
    """A box's init did not report in time: the box cannot be used with init."""


class InitEnded(NoInit):
    """A box ended before its init reported: others removed it, or init failed."""


class Box:
    """A started box that runs one program at a time, until `close` or a handoff."""

    def __init__(
        self,
        spec: BoxSpec,
        container: str,
        image: Image,
        lease: Lease,
        init: InitConnection,
        kind: Kind,
    ) -> None:
        """Own a started box; `kind` is its origin."""
        self.spec, self.container, self.image = spec, container, image
        self.lease, self.kind = lease, kind
        # jitter, so that boxes started together do not wear out together
        self.uses = spec.uses - secrets.randbelow(spec.uses // 100 * STAGGER + 1)
        self._init = init
        self._is_clean = False
        self.unclean = ""
        self.freezer = ""
        """The file that tells whether the box is paused (`daemon.cgroup.freezer`)."""
        self.waits = False
        """Whether what is preloaded waits for the next run."""
        self.memory_kib: int | None = None
        """The memory of the box while it waits that the kernel cannot drop, if it is known."""
        self.kept: tuple[int, ...] = ()
        """The ends of the pipes of what is preloaded: stdin, stdout, stderr."""

    @classmethod
    def start(
        cls, daemon: Daemon, spec: BoxSpec, instance: Instance, lease: Lease, kind: Kind
    ) -> Box:
        """Start a box that lives for the lease, which has a work directory.

        Raises:
            ServerFault: the container cannot be started in time.
            NoInit: it was started, but its init does not report.
            Vanished: others removed it before its start, or the image.
        """
        deadline = time.monotonic() + daemon.timeouts.box
        image = daemon.box_image(spec)
        name = f"{safe(spec.name)}_{lease.path.name}_{os.urandom(2).hex()}"
        listener = Listener(lease.init, instance.init)
        try:
            mounts = lease.mounts(lease.init)
            container = daemon.create_with_init(name, spec, image, mounts, instance.path, deadline)
            try:
                container.start(deadline)
                _await_init(listener, container, deadline)
                init = listener.accept(deadline)
                if daemon.bounds_sockets(spec):
                    cgroup.bound_sockets(init.pid, spec.memory)
            except (TimeoutError, ConnectionError) as error:
                kind_of = NoInit if container.is_running() else InitEnded
                container.remove()
                raise kind_of(f"init does not report in a box of {spec.image}: {error}") from error
            except (ServerFault, Vanished):
                container.remove()
                raise
        finally:
            listener.close()
        box = cls(spec, container.id, image, lease, init, kind)
        box.freezer = cgroup.freezer(init.pid)
        return box

    @property
    def is_alive(self) -> bool:
        """Whether the waiting box can run a program: it has not died, and is not paused."""
        try:
            self.hear()
            return not cgroup.is_frozen(self.freezer)
        except ConnectionError:
            return False

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the waiting box dies, or has news."""
        return self._init.fileno()

    def preload(self) -> None:
        """Start what is to wait for the next run; `hear` returns its news.

        Raises:
            ConnectionError: the box died.
            ValueError: the command is too long, or the image has an entrypoint, which a waiting
                Python would take for the interpreter.
        """
        argv, user = self._preload
        if self.image.entrypoint and self.spec.preload and self.spec.preload.python is not None:
            raise ValueError("the image has an entrypoint")
        pipes.close(self.kept)
        self.kept, ends = pipes.open_pipes()
        try:
            self._init.preload(argv, user, ends, self._env)
        finally:
            pipes.close(ends)

    def preload_problem(self, news: Preloaded) -> str:
        """Return why what was preloaded is over, with the last line that it printed on stderr."""
        argv, user = self._preload
        stderr = pipes.OutputPipe(self.kept[2], 0)
        stderr.output = Output(PROBLEM_MAX, keeps_last=True)
        stderr.drain()
        last = stderr.output.text().rstrip().rpartition("\n")[2]
        return ": ".join(filter(None, [news.problem(argv[0], user), last]))

    def hear(self) -> Preloaded | None:
        """Return the last news of what is preloaded, `None` if there are none.

        Raises:
            ConnectionError: the box died, or init sent anything else.
        """
        news = None
        while answer := self._init.receive():
            if not isinstance(answer, Preloaded):
                raise ConnectionError("init answers without being asked")
            news, self.waits, self.memory_kib = answer, answer.waits, answer.memory_kib
        return news

    def run(
        self,
        program: Program,
        cancel: Cancel,
        quota: Quota | None = None,
        kill_timeout: float = 5,
        memory: Callable[[], tuple[int, int] | None] = lambda: None,
    ) -> Outcome:
        """Run a program; on return all its processes are dead. Over its quota, it is killed.

        Its processes may take `kill_timeout` seconds to die. `memory` is called at the program's
        timeout (see `Container.memory`).

        Raises:
            Vanished: the box died, or is paused, and the program has not begun.
            NotRunning: the box died.
            ServerFault: the program's user does not exist, or init failed.
            Cancelled, Abandoned: a reason of `cancel` raised it.
        """
        # before the pipes: only `_start` closes the program's ends
        cancel.check()
        self._is_clean = False
        with ExitStack() as stack:
            own, ends = self._pipes()
            stdin_pipe = stack.enter_context(closing(pipes.InputPipe(own[0])))
            listen, limit = program.listener, program.noutput
            stdout = stack.enter_context(closing(pipes.OutputPipe(own[1], limit, listen("stdout"))))
            stderr = stack.enter_context(closing(pipes.OutputPipe(own[2], limit, listen("stderr"))))
            if not ends:
                # what was printed before the program's start
                stdout.discard()
                stderr.discard()
            self._start(program, ends)
            answer = Answer(self._init)
            deadline, check = time.monotonic() + program.timeout, quota.check if quota else None
            sources, stdin = (stdout, stderr, answer), program.stdin or b""
            try:
                in_time = pump(cancel, sources, stdin_pipe, stdin, deadline, check, program.live)
            except Cancelled:
                self._kill(answer, Cancel(), time.monotonic() + kill_timeout)
                raise
            is_over_quota = quota is not None and quota.is_exceeded
            is_unread = not (in_time or is_over_quota or self._init.is_read())
            if answer.found_unread or is_unread:
                raise Vanished("sandbox died")
            needed = None
            if not in_time:
                needed = None if is_over_quota else memory()
                self._kill(answer, cancel, time.monotonic() + kill_timeout)
            stdout.drain()
            stderr.drain()
        if quota and quota.is_exceeded:
            return replace(quota.outcome(), kind=self.kind)
        if not isinstance(answer.value, RunDone):
            raise NotRunning("sandbox died")
        self._is_clean = answer.value.is_clean
        outcome = self._outcome(answer.value, program, stdout.output, stderr.output, in_time)
        return outcome if in_time else overdue(outcome, needed)

    def reset(self, timeout: float, was_alone: bool = True) -> bool:
        """Make the box as new after a run; return False if that fails: then discard the box.

        init's own check at the end of the run counts only if the box `was_alone`: a program in
        another box may have held descriptors of this one's places, and written to them later.
        The box has `timeout` seconds. After a failure `unclean` is what was not as new, empty if
        the box died.
        """
        self.kind = "reused"
        if self._is_clean and was_alone:
            return True
        # init kills it
        self.waits = False
        try:
            self._init.reset()
            poll = select.poll()
            poll.register(self._init, select.POLLIN)
            answer = self._init.receive() if poll.poll(timeout * 1000) else None
        except ConnectionError:
            self.unclean = ""
            return False
        if isinstance(answer, ResetDone):
            self.unclean = answer.stage.name.lower()
            return answer.ok
        self.unclean = "too slow"
        return False

    def close(self) -> None:
        """End the box. Its lease stays."""
        self._init.close()
        pipes.close(self.kept)
        self.kept = ()

    def discard(self) -> None:
        """End the unused box and remove its lease's directory."""
        self.close()
        self.lease.drop()

    @property
    def _preload(self) -> tuple[list[str], str]:
        """The argv and the user of what is preloaded."""
        found = self.spec.preload or Preload()
        return self.image.argv(preload.argv(found)), found.user

    @property
    def _env(self) -> tuple[str, ...]:
        """The variables that init must know, on top of those of the container."""
        return self.spec.home or self.image.home

    def _pipes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return this process's ends of the next run's pipes, and the program's: none if it waits.

        The pipes of what does not wait yet may hold what it has printed.
        """
        kept, waits = self.kept, self.waits
        self.kept, self.waits = (), False
        if waits:
            return kept, ()
        pipes.close(kept)
        return pipes.open_pipes()

    def _start(self, program: Program, ends: tuple[int, ...]) -> None:
        """Have init start the program with these ends of its pipes; close them in this process."""
        argv = self.image.argv(program.argv)
        try:
            self._init.run(argv, program.user, ends, self._env)
        except ValueError as error:
            why = error if argv else "neither the step nor the image has a command"
            raise ServerFault(f"box {self.spec.name}: {why}") from error
        except ConnectionError as error:
            raise Vanished("sandbox died") from error
        finally:
            pipes.close(ends)

    def _kill(self, answer: Answer, cancel: Cancel, deadline: float) -> None:
        try:
            self._init.kill()
        except ConnectionError:
            return
        if not pump(cancel, [answer], None, b"", deadline):
            raise ServerFault(f"init of box {self.container} does not kill")

    def _outcome(
        self, done: RunDone, program: Program, stdout: Output, stderr: Output, in_time: bool
    ) -> Outcome:
        argv = self.image.argv(program.argv)
        if done.stage not in (Stage.NONE, Stage.EXEC):
            raise ServerFault(f"box {self.spec.name}: {done.problem(argv[0], program.user)}")
        status = done.status if in_time else None
        outcome = ended(
            status,
            done.signal,
            stdout,
            stderr,
            wall_ms=done.wall_ns / 1e6,
            cpu_ms=None if done.cpu_ns is None else done.cpu_ns / 1e6,
            memory_kib=done.memory_kib,
            kind=self.kind,
            preloaded=done.preloaded,
        )
        if in_time and done.stage is Stage.EXEC:
            return unstartable(outcome, argv[0], os.strerror(done.errno))
        if status and done.oom_kills:
            return out_of_memory(outcome, self.spec.memory)
        return out_of_processor_time(outcome, self.spec)


def _await_init(listener: Listener, container: Container, deadline: float) -> None:
    """Wait until init connects, but no longer than its container lives."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while not poll.poll(LOOK_INTERVAL * 1000):
        if time.monotonic() >= deadline or not container.is_running():
            raise TimeoutError("it did not connect")


class Answer:
    """init's answer to a run, as a source; if it is `None` at the end, the box died."""

    def __init__(self, init: InitConnection) -> None:
        self._init = init
        self.value: RunDone | ResetDone | None = None
        self.found_unread = False
        """Whether the box died without having read what was sent to it."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._init.fileno()

    def read(self) -> bool:
        """Read the answer; return False once it is there, or the box is dead."""
        try:
            value = self._init.receive()
            # late news of what was preloaded
            self.value = None if isinstance(value, Preloaded) else value
        except ConnectionError as error:
            self.found_unread = error.errno == errno.ECONNRESET
            return False
        return self.value is None
