"""Programs that run as plain containers or in running ones, through the Docker API's streams."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

from codapi_flask.config import START_DEADLINE, Box
from codapi_flask.containers import Container, Daemon, Exec
from codapi_flask.models import Outcome, Program, Reason
from codapi_flask.quota import Quota
from codapi_flask.rootbox import RootBox
from codapi_flask.streams import Stream, carry

# how Docker's own process 1, and its exec, say that a program cannot be started
UNSTARTABLE = re.compile(
    r"\[FATAL tini \(\d+\)\] exec .+ failed: (?P<tini>.+)\n"
    r"|OCI runtime exec failed: (?:exec failed: )?.*: (?P<exec>[^:]+): unknown\s*"
)
NOT_FOUND = {
    "No such file or directory",
    "no such file or directory",
    "executable file not found in $PATH",
}


class Attached:
    """Runs programs for one execution; `lifeline` as for the engine."""

    def __init__(
        self, daemon: Daemon, root_box: RootBox, instance: Path, directory: Path, lifeline: int
    ) -> None:
        self._daemon, self._root_box, self._lifeline = daemon, root_box, lifeline
        self._instance, self._directory = instance, directory

    def run(self, name: str, box: Box, program: Program) -> Outcome:
        """Run a program as a container; on return it is dead and gone.

        Raises:
            NotRunning: somebody removed it.
            ServerFault: the daemon cannot do it.
            Abandoned: nobody waits for the outcome.
        """
        start = time.monotonic()
        deadline = start + START_DEADLINE
        container = self._create(name, box, program, deadline)
        try:
            stream = container.attach(program, deadline)
            try:
                container.start(deadline)
                took = (time.monotonic() - start) * 1000
                quota = Quota(box, self._directory, container.size) if box.has_quota else None
                outcome = self._watch(container, stream, program, quota)
            finally:
                stream.close()
            if outcome.exit_code and container.inspect().get("State", {}).get("OOMKilled"):
                note = f"out of memory ({box.memory} MiB)\n"
                outcome = replace(outcome, reason="memory", note=note)
        finally:
            # confirms, too, that a program which did not end in time is dead
            container.remove()
        return replace(outcome, kind="fresh", start_ms=took)

    def detach(self, name: str, box: Box, program: Program) -> Container:
        """Start a program as a container and return that; it is the caller's to remove."""
        deadline = time.monotonic() + START_DEADLINE
        container = self._create(name, box, program, deadline)
        try:
            container.start(deadline)
        except BaseException:
            container.remove()
            raise
        return container

    def exec(self, container: Container, own: bool, program: Program) -> Outcome:
        """Run a program in a running container; if it takes too long, it is killed.

        With it, its container is killed when that is our `own`.

        Raises:
            NotRunning: the container does not run.
        """
        exec = container.exec(program)
        stream = exec.start(time.monotonic() + START_DEADLINE)
        try:
            outcome = self._watch(exec, stream, program)
        finally:
            stream.close()
        if outcome.reason == "timeout":
            if own:
                container.remove()
            elif pid := exec.pid():
                self._root_box.kill(pid)
        return outcome

    def _create(self, name: str, box: Box, program: Program, deadline: float) -> Container:
        daemon, place = self._daemon, (self._instance, self._directory)
        return daemon.create(name, box, program, *place, deadline)

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
        carry(self._lifeline, [stream], sink, stdin, deadline, check)
        if quota and quota.is_exceeded:
            return quota.outcome()
        # a program may close its streams and go on
        code = started.wait(deadline)
        texts = stream.stdout.text(), stream.stderr.text()
        if code in (126, 127) and (said := UNSTARTABLE.fullmatch("".join(texts))):
            why = said["tini"] or said["exec"]
            why = "not found" if why in NOT_FOUND else why[:1].upper() + why[1:]
            texts = "", f"{program.argv[0]}: {why}"
        return Outcome(
            *texts,
            exit_code=code,
            signal=code - 128 if code and code > 128 else None,
            reason=_reason(code),
            truncated=stream.stdout.truncated * ("stdout",) + stream.stderr.truncated * ("stderr",),
            wall_ms=(time.monotonic() - start) * 1000,
        )


def _reason(code: int | None) -> Reason:
    """Tell how a program ended by its exit status (128 + S stands for signal S)."""
    if code is None:
        return "timeout"
    if code == 0:
        return "ok"
    return "signal" if code > 128 else "exit"
