"""One container, whether or not it exists, and the programs in it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

from codapi_flask.daemon.attach import Stream, upgrade
from codapi_flask.daemon.client import PAUSE, Client
from codapi_flask.errors import NotRunning, ServerFault, Vanished
from codapi_flask.program import Program

MEMORY_TIMEOUT = 1.0
"""Seconds that the daemon may take to tell a container's memory; a program's end waits for it."""

ROOT = re.compile(r"^\S+ \S+ \S+ / / .* - overlay .*[ ,]upperdir=(/[^,\s]+)", re.MULTILINE)
"""The root of a container, whose upper directory holds what it wrote, in `mountinfo` (proc(5))."""


LISTENING = re.compile(r"^ *\d+: \S+ \S+ 0A ", re.MULTILINE)
"""A socket that listens, in `/proc/PID/net/tcp` (proc(5)); 0A is `TCP_LISTEN`."""


class Container:
    """One container, whether or not it exists; `image` is what a new one was created from."""

    def __init__(self, client: Client, id: str, image: str = "") -> None:
        self._client, self.id, self.image = client, id, image

    def attach(self, program: Program, deadline: float, keeps_last: bool = False) -> Stream:
        """Connect to the program's streams; must precede `start`, or output is lost.

        Raises:
            Vanished: the container was removed.
        """
        params = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(program.stdin is not None)}
        with self._client.calls("attach to a box", deadline) as api, _unless_removed():
            path = f"containers/{self.id}/attach"
            return upgrade(api, path, program, keeps_last, params=params)

    def start(self, deadline: float) -> None:
        """Start the container; on return its program runs or has ended.

        Raises:
            Vanished: the container was removed before.
        """
        with self._client.calls("start a box", deadline) as api, _unless_removed():
            api.start(self.id)

    def wait(self, deadline: float) -> int | None:
        """Return the exit status, or `None` if the container still runs at the deadline.

        Raises:
            NotRunning: the container was removed.
        """
        with self._client.calls("wait for a box") as api:
            try:
                answer = api.wait(self.id, timeout=max(deadline - time.monotonic(), PAUSE))
            except docker.errors.NotFound as error:
                raise NotRunning("sandbox died") from error
            except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
                # docker-py raises either for a timeout
                if time.monotonic() < deadline:
                    raise
                return None
        return int(answer["StatusCode"])

    def inspect(self) -> Mapping[str, Any]:
        """Return what Docker knows of the container, an empty mapping if it does not exist."""
        with self._client.calls("inspect a box") as api:
            try:
                return dict(api.inspect_container(self.id))
            except docker.errors.NotFound:
                return {}

    def layer(self) -> Path | None:
        """Return the directory of the container's writable layer, as the daemon's host names it.

        `None` if the container has ended.

        Raises:
            ServerFault: the layer cannot be found.
        """
        found = self.inspect()
        data = (found.get("GraphDriver") or {}).get("Data") or {}
        pid = found.get("State", {}).get("Pid")
        if path := data.get("UpperDir"):
            return Path(path)
        if not pid:
            return None
        # with containerd's image store the daemon names no directory, but the kernel does
        with suppress(OSError):
            mounts = Path(f"/proc/{pid}/mountinfo").read_text()
            # in another PID namespace, the pid is that of another process
            is_in_container = found["Id"] in Path(f"/proc/{pid}/cgroup").read_text()
            if is_in_container and (root := ROOT.search(mounts)):
                return Path(root[1])
        raise ServerFault(
            f"no limit on what {found['Name']} writes to its own file system, as its directory is "
            "unknown: set the box's storage, or use a tmpfs instead of writable"
        )

    def listens(self) -> bool | None:
        """Whether a program in the container listens on a TCP port; `None` if that is unknown."""
        found = self.inspect()
        pid = found.get("State", {}).get("Pid")
        try:
            # in another PID namespace, the pid is that of another process
            if not pid or found["Id"] not in Path(f"/proc/{pid}/cgroup").read_text():
                return None
            tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
            return any(LISTENING.search(table.read_text()) for table in tables if table.exists())
        except OSError:
            return None

    def memory(self) -> tuple[int, int] | None:
        """Return how many bytes the running container needs, and its limit; `None` if unknown.

        Pages of files that the kernel may drop are not needed.
        """
        with suppress(ServerFault, KeyError):
            deadline = time.monotonic() + MEMORY_TIMEOUT
            with self._client.calls("measure a box", deadline) as api:
                return needed(api.stats(self.id, stream=False, one_shot=True)["memory_stats"])
        return None

    def stop(self, timeout: float) -> None:
        """Stop the container; kill it after `timeout` seconds, rounded up.

        Raises:
            NotRunning: there is no such container.
        """
        deadline = time.monotonic() + timeout + self._client.timeouts.call
        with self._client.calls(f"stop {self.id}", deadline) as api:
            try:
                api.stop(self.id, timeout=math.ceil(timeout))
            except docker.errors.NotFound as error:
                raise NotRunning(f"{self.id} is not running") from error

    def is_running(self) -> bool:
        """Whether the container exists and its program runs."""
        return bool(self.inspect().get("State", {}).get("Running"))

    def begin_stop(self) -> None:
        """Send the container's stop signal, as `stop` does first, without waiting for the end.

        Raises:
            NotRunning: there is no such container.
        """
        name = self.inspect().get("Config", {}).get("StopSignal") or "SIGTERM"
        with self._client.calls(f"stop {self.id}") as api, _needs_running(self.id):
            api.kill(self.id, signal=name)

    def remove(self) -> None:
        """Kill and remove the container; on return it is dead and removed.

        Raises:
            ServerFault: the daemon did not confirm that in time.
        """
        deadline = time.monotonic() + self._client.timeouts.box
        with self._client.calls(f"remove {self.id}", deadline) as api:
            while True:
                try:
                    api.remove_container(self.id, force=True, v=True)
                    return
                except docker.errors.NotFound:
                    return
                except docker.errors.APIError as error:
                    # 409: another removal is in progress
                    if error.status_code != 409 or time.monotonic() > deadline:
                        raise
                time.sleep(PAUSE)

    def groups(self) -> set[int]:
        """Return the real groups of all processes in the running container.

        Raises:
            NotRunning: the container does not run.
        """
        with self._client.calls(f"look into {self.id}") as api, _needs_running(self.id):
            found = api.top(self.id, ps_args="-eo pid,rgid")
        return {int(row[-1]) for row in found["Processes"] or ()}

    def exec(self, program: Program) -> Exec:
        """Prepare a program in the running container.

        Raises:
            NotRunning: the container does not exist or does not run.
        """
        with self._client.calls(f"exec in {self.id}") as api, _needs_running(self.id):
            created = api.exec_create(
                self.id,
                list(program.argv),
                stdin=program.stdin is not None,
                user=program.user,
            )
        return Exec(self._client, self.id, created["Id"], program)


def needed(stats: Mapping[str, Any]) -> tuple[int, int]:
    """Return `Container.memory` of the daemon's `memory_stats`, of cgroup v1 or v2.

    Raises:
        KeyError: the container does not run.
    """
    detail = stats["stats"]
    # v1 counts the container's own cgroup apart from those below it
    dropped = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return stats["usage"] - dropped, stats["limit"]


class Exec:
    """A program that is executed in a running container."""

    def __init__(self, client: Client, container: str, id: str, program: Program) -> None:
        self._client, self._container, self._id = client, container, id
        self._program = program

    def start(self, deadline: float) -> Stream:
        """Start the program; return its streams.

        Raises:
            NotRunning: the container no longer exists or runs.
        """
        with self._client.calls("start an exec", deadline) as api, _needs_running(self._container):
            body = {"Tty": False, "Detach": False}
            return upgrade(api, f"exec/{self._id}/start", self._program, json=body)

    def wait(self, deadline: float) -> int | None:
        """Return the exit status, or `None` if the program still runs at the deadline."""
        while True:
            state = self._inspect()
            if state["ExitCode"] is not None:
                return int(state["ExitCode"])
            if time.monotonic() > deadline:
                return None
            time.sleep(PAUSE)

    def process(self) -> tuple[int, str]:
        """Return the program's pid on the daemon's host, and the full id of its container.

        The pid is 0 if the program has ended.
        """
        deadline = time.monotonic() + self._client.timeouts.call
        while True:
            state = self._inspect()
            if state["ExitCode"] is not None:
                return 0, state["ContainerID"]
            # the daemon answers `start` before the process exists
            if state["Pid"] or time.monotonic() > deadline:
                return int(state["Pid"]), state["ContainerID"]
            time.sleep(PAUSE)

    def has_begun(self) -> bool:
        """Whether the program, which has ended, was ever started."""
        return bool(self._inspect()["Pid"])

    def _inspect(self) -> Mapping[str, Any]:
        with self._client.calls("inspect an exec") as api:
            return dict(api.exec_inspect(self._id))


@contextmanager
def _unless_removed() -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        text = str(error).lower()
        if "no such container" in text or "marked for removal" in text:
            raise Vanished(str(error)) from error
        raise


@contextmanager
def _needs_running(container: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        # the daemon answers 500 for a container that is just ending
        if error.status_code in (404, 409) or "is not running" in str(error):
            raise NotRunning(f"{container} is not running") from error
        raise
