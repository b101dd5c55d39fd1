"""The one door to the Docker daemon.

Only this module imports `docker`. It turns the errors of docker-py, and those of `requests` and
of sockets that leak through it, into ours. Deadlines are instants of `time.monotonic`.
"""

from __future__ import annotations

import io
import math
import os
import re
import ssl
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.utils
import requests
import urllib3
from docker.transport import UnixHTTPAdapter
from docker.types import Mount

from codapi_flask import hostconfig, init
from codapi_flask.cgroup import Sockets, sockets
from codapi_flask.config import Box
from codapi_flask.errors import NotRunning, ServerFault
from codapi_flask.models import Image, Program
from codapi_flask.streams import Stream

INSTANCE = "codapi.instance"
"""The label with the path of the instance that owns a container."""

DIRECTORY = "codapi.directory"
"""The label with the path of the directory that a container lives for."""

CALL_TIMEOUT = 10.0
"""Seconds that the daemon may take for a call that has no deadline of its own."""

PAUSE = 0.01
"""Seconds between two looks at something that the daemon does not announce."""


class _OnePool(UnixHTTPAdapter):  # type: ignore[misc]
    """Uses a connection again for any call; docker-py keeps one for each of the last 25 URLs."""

    def get_connection(self, url: str, proxies: object = None) -> Any:
        """Return the pool of the only host there is."""
        return super().get_connection("")


class Daemon:
    """A connection to the Docker daemon, made at the first call. Not for use by two threads."""

    def __init__(self) -> None:
        self._client: docker.APIClient | None = None
        self._address = {"base_url": "unix:///var/run/docker.sock"} | docker.utils.kwargs_from_env()

    @cached_property
    def has_user_namespace(self) -> bool:
        """Whether root in a container is not root on the daemon's host (userns-remap, rootless)."""
        options = self.info().get("SecurityOptions") or ()
        return any("name=userns" in option or "name=rootless" in option for option in options)

    @property
    def is_local(self) -> bool:
        """Whether the daemon shares this host: its boxes can reach sockets of ours."""
        return str(self._address["base_url"]).startswith(("unix://", "http+unix://"))

    def create(
        self,
        name: str,
        box: Box,
        program: Program,
        instance: Path,
        lease: Path,
        init_copy: Path | None,
        deadline: float,
    ) -> Container:
        """Create the container of a box for one program, with the lease's work directory mounted.

        Its process 1 is the `init_copy`, which no other box may see, or Docker's if there is none.

        Raises:
            ServerFault: the image is missing, the daemon refuses a limit, is gone or too slow.
        """
        process = {
            "image": box.image,
            "command": list(program.argv) or None,
            "user": program.user,
            "stdin_open": program.stdin is not None,
        }
        if init_copy:
            image = self.box_image(box)
            argv = image.argv(program.argv)
            if not argv:
                raise ServerFault(f"box {box.name}: neither the step nor the image has a command")
            command = ["plain", str(int(self.bounds_sockets(box))), *argv]
            process |= {"image": image.id, "entrypoint": [init.MOUNT], "command": command}
        limits = hostconfig.plain(box, lease, init_copy, self.sockets())
        return self._create_box(name, box, process, limits, instance, lease, deadline)

    def create_with_init(
        self, name: str, box: Box, image: Image, instance: Path, lease: Path, deadline: float
    ) -> Container:
        """Create the container of a box whose process 1 is our init, and runs what it is told.

        The lease holds the work directory (`work`) and the one of init's listener (`init`). The
        daemon removes the container when init exits.

        Raises:
            ServerFault: as for `create`.
        """
        process = {
            "image": image.id,
            "entrypoint": [f"{init.MOUNT}/init"],
            "command": hostconfig.settings_of_init(box).command,
            "user": "0:0",
            "stop_signal": "SIGKILL",
        }
        limits = hostconfig.with_init(box, lease, self.sockets())
        return self._create_box(name, box, process, limits, instance, lease, deadline)

    def _create_box(
        self,
        name: str,
        box: Box,
        process: Mapping[str, Any],
        limits: Mapping[str, Any],
        instance: Path,
        lease: Path,
        deadline: float,
    ) -> Container:
        if not (box.has_gvisor or self.has_user_namespace):
            # gVisor has no such setting, and in a user namespace it needs a new kernel
            limits = {**limits, "sysctls": hostconfig.QUEUES}
        with self.calls(f"create a box of {box.image}", deadline) as api:
            return self._create(api, process, limits, box.network, instance, lease / "work", name)

    def create_root_box(
        self, image: str, argv: Sequence[str], instance: Path, mount: Path | None = None
    ) -> Container:
        """Create a small box in which our own program, `init`, does a chore as root.

        It may change any file under `mount`; without, it may end any process of the host.
        """
        process = {"image": image, "entrypoint": [init.MOUNT], "command": argv, "user": "0:0"}
        limits = hostconfig.root_box(instance, mount)
        with self.calls(f"create a root box of {image}") as api:
            return self._create(api, process, limits, "none", instance, mount or instance)

    def _create(
        self,
        api: docker.APIClient,
        process: Mapping[str, Any],
        limits: Mapping[str, Any],
        network: str,
        instance: Path,
        directory: Path,
        name: str | None = None,
    ) -> Container:
        created = api.create_container(
            name=name,
            network_disabled=network == "none",
            host_config=api.create_host_config(**limits),
            # an image's health check would run beside the program
            healthcheck={"test": ["NONE"]},
            labels={INSTANCE: str(instance), DIRECTORY: str(directory)},
            **process,
        )
        return Container(self, created["Id"])

    def bounds_sockets(self, box: Box) -> bool:
        """Whether the server has to bound the memory of a box's sockets (`bound_sockets`)."""
        # gVisor has sockets of its own, in memory of the box
        return not box.has_gvisor and self.sockets() is Sockets.SERVER

    def sockets(self) -> Sockets:
        """Return who bounds the memory of sockets on the daemon's host."""
        if self.is_local:
            return sockets()
        is_v1 = self.info().get("CgroupVersion", "1") == "1"
        return Sockets.NOBODY if is_v1 else Sockets.KERNEL

    def read(self, image: str, file: Path, instance: Path) -> bytes | None:
        """Return a small file of our disk as a box sees it; `None` when it is not there."""
        mount = Mount("/mount", str(file.parent), type="bind", read_only=True)
        return self._read(image, f"/mount/{file.name}", instance, file.parent, [mount])

    def user_id(self, image: str, user: str, instance: Path) -> int | None:
        """Return the number of a user (`name`, `uid`, maybe with `:group`) in an image, if any."""
        name = user.partition(":")[0] or "0"
        if name.isdigit():
            return int(name)
        passwd = self._read(image, "/etc/passwd", instance, instance) if self.image(image) else None
        for line in (passwd or b"").decode(errors="replace").splitlines():
            known, _, number, *_ = [*line.split(":"), "", ""]
            if known == name and number.isdigit():
                return int(number)
        return None

    def _read(
        self, image: str, path: str, instance: Path, directory: Path, mounts: Sequence[Mount] = ()
    ) -> bytes | None:
        """Return a small file of a box that is created for a directory; nothing runs in it."""
        with self.calls("read a file in a box") as api:
            limits = api.create_host_config(mounts=[*mounts], network_mode="none")
            labels = {INSTANCE: str(instance), DIRECTORY: str(directory)}
            try:
                box = api.create_container(image, ["-"], host_config=limits, labels=labels)["Id"]
            except docker.errors.APIError as error:
                if "bind source path does not exist" in str(error):
                    return None
                raise
            try:
                chunks, _ = api.get_archive(box, path)
                with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                    member = archive.extractfile(Path(path).name)
                    return member.read() if member else None
            except (docker.errors.NotFound, tarfile.TarError, KeyError):
                # it is not there, or is a link
                return None
            finally:
                api.remove_container(box, force=True, v=True)

    def info(self) -> Mapping[str, Any]:
        """Return what the daemon says of itself (`docker info`)."""
        with self.calls("ask the daemon for its state") as api:
            return dict(api.info())

    def find(self, name: str) -> Container:
        """Return a container by its name or id, whether it exists or not."""
        return Container(self, name)

    def containers(self) -> list[tuple[Container, Path, Path]]:
        """Return the containers of all our instances, in any state: with instance, directory."""
        with self.calls("list the containers") as api:
            found = api.containers(all=True, filters={"label": [INSTANCE, DIRECTORY]})
        return [
            (Container(self, c["Id"]), Path(c["Labels"][INSTANCE]), Path(c["Labels"][DIRECTORY]))
            for c in found
        ]

    def image(self, name: str) -> Image | None:
        """Return what a name stands for now, `None` when the daemon has no such image."""
        with self.calls(f"inspect the image {name}") as api:
            try:
                found = api.inspect_image(name)
            except docker.errors.NotFound:
                return None
        process = found["Config"] or {}
        return Image(
            found["Id"],
            tuple(process.get("Entrypoint") or ()),
            tuple(process.get("Cmd") or ()),
            # an empty one counts as none
            tuple(text for text in process.get("Env") or () if re.match("HOME=.", text)),
        )

    def box_image(self, box: Box) -> Image:
        """Return the image of a box.

        Raises:
            ServerFault: there is none, or the daemon is gone.
        """
        if image := self.image(box.image):
            return image
        raise ServerFault(f"no image {box.image} for the box {box.name}: build or pull it")

    def image_events(self) -> Iterator[None]:
        """Yield at once, and then whenever an image or one of its names has changed; blocks.

        Raises:
            ServerFault: the daemon is gone.
        """
        with self.calls("watch the images", math.inf) as api:
            events = api.events(filters={"type": "image"})
            yield
            for _ in events:
                yield

    @contextmanager
    def calls(self, what: str, deadline: float | None = None) -> Iterator[docker.APIClient]:
        """Give the client for calls until the deadline; turn what goes wrong into our error.

        Raises:
            ServerFault: the daemon is gone, too slow, or refuses.
        """
        left = CALL_TIMEOUT if deadline is None else max(deadline - time.monotonic(), PAUSE)
        try:
            if self._client is None:
                self._client = docker.APIClient(**self._address, timeout=CALL_TIMEOUT)
                if self.is_local:
                    address = str(self._address["base_url"])
                    one = _OnePool(address[address.index("://") + 3 :], CALL_TIMEOUT)
                    self._client.mount("http+docker://", one)
            # docker-py reads it at every call
            self._client.timeout = left if left < math.inf else None
            yield self._client
        except (
            docker.errors.DockerException,
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            text = f"{what}: {error}"
            if "PermissionError" in text:
                text += ": this user needs the group of the Docker socket (group_add in compose)"
            raise ServerFault(text) from error


class Container:
    """One container, existing or not."""

    def __init__(self, daemon: Daemon, id: str) -> None:
        self._daemon, self.id = daemon, id

    def attach(self, program: Program, deadline: float) -> Stream:
        """Connect to the program's streams; before the start, or output is lost."""
        params = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(program.stdin is not None)}
        with self._daemon.calls("attach to a box", deadline) as api:
            return _upgrade(api, f"containers/{self.id}/attach", program.noutput, params=params)

    def start(self, deadline: float) -> None:
        """Start the container; on return its program runs, or ran."""
        with self._daemon.calls("start a box", deadline) as api:
            api.start(self.id)

    def wait(self, deadline: float) -> int | None:
        """Return the exit status, or `None` when the container still runs at the deadline.

        Raises:
            NotRunning: somebody has removed it.
        """
        with self._daemon.calls("wait for a box") as api:
            try:
                answer = api.wait(self.id, timeout=max(deadline - time.monotonic(), PAUSE))
            except docker.errors.NotFound as error:
                raise NotRunning("sandbox died") from error
            except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
                # docker-py tells a time-out in either way
                if time.monotonic() < deadline:
                    raise
                return None
        return int(answer["StatusCode"])

    def inspect(self) -> Mapping[str, Any]:
        """Return what Docker knows of the container, nothing when it does not exist."""
        with self._daemon.calls("inspect a box") as api:
            try:
                return dict(api.inspect_container(self.id))
            except docker.errors.NotFound:
                return {}

    def layer(self) -> Path | None:
        """Return the directory of what the container wrote to its own file system, if we see it."""
        driver = self.inspect().get("GraphDriver") or {}
        path = (driver.get("Data") or {}).get("UpperDir", "")
        return Path(path) if os.access(path, os.R_OK | os.X_OK) else None

    def size(self) -> int:
        """Return the bytes of the files that the container wrote to its own file system."""
        with self._daemon.calls("measure a box") as api:
            found = api.containers(filters={"id": self.id}, size=True)
        return int(found[0].get("SizeRw", 0)) if found else 0

    def stop(self, timeout: float) -> None:
        """Stop the container, by force after `timeout` seconds (a fraction counts as one).

        Raises:
            NotRunning: there is no such container.
        """
        deadline = time.monotonic() + timeout + CALL_TIMEOUT
        with self._daemon.calls(f"stop {self.id}", deadline) as api:
            try:
                api.stop(self.id, timeout=math.ceil(timeout))
            except docker.errors.NotFound as error:
                raise NotRunning(f"{self.id} is not running") from error

    def is_running(self) -> bool:
        """Whether the container exists and its program runs."""
        return bool(self.inspect().get("State", {}).get("Running"))

    def begin_stop(self) -> None:
        """Ask the container's program to end, as `stop` does first, and do not wait for that.

        Raises:
            NotRunning: there is no such container.
        """
        name = self.inspect().get("Config", {}).get("StopSignal") or "SIGTERM"
        with self._daemon.calls(f"stop {self.id}") as api, _needs_running(self.id):
            api.kill(self.id, signal=name)

    def remove(self) -> None:
        """Kill and remove the container; on return it is dead and gone.

        Raises:
            ServerFault: the daemon did not confirm that in time.
        """
        deadline = time.monotonic() + CALL_TIMEOUT
        with self._daemon.calls(f"remove {self.id}", deadline) as api:
            while True:
                try:
                    api.remove_container(self.id, force=True, v=True)
                    return
                except docker.errors.NotFound:
                    return
                except docker.errors.APIError as error:
                    # a removal is under way, its end is not
                    if error.status_code != 409 or time.monotonic() > deadline:
                        raise
                time.sleep(PAUSE)

    def exec(self, program: Program) -> Exec:
        """Prepare a program in the running container.

        Raises:
            NotRunning: the container does not exist or does not run.
        """
        with self._daemon.calls(f"exec in {self.id}") as api, _needs_running(self.id):
            created = api.exec_create(
                self.id,
                list(program.argv),
                stdin=program.stdin is not None,
                user=program.user,
            )
        return Exec(self._daemon, self.id, created["Id"], program)


class Exec:
    """One program in a container that runs something else."""

    def __init__(self, daemon: Daemon, container: str, id: str, program: Program) -> None:
        self._daemon, self._container, self._id = daemon, container, id
        self._program = program

    def start(self, deadline: float) -> Stream:
        """Start the program; return its streams.

        Raises:
            NotRunning: the container no longer exists or runs.
        """
        with self._daemon.calls("start an exec", deadline) as api, _needs_running(self._container):
            body = {"Tty": False, "Detach": False}
            return _upgrade(api, f"exec/{self._id}/start", self._program.noutput, json=body)

    def wait(self, deadline: float) -> int | None:
        """Return the exit status, or `None` when the program still runs at the deadline."""
        while True:
            state = self._inspect()
            if state["ExitCode"] is not None:
                return int(state["ExitCode"])
            if time.monotonic() > deadline:
                return None
            time.sleep(PAUSE)

    def process(self) -> tuple[int, str]:
        """Return the program's process on the daemon's host, 0 when it has ended.

        With it comes the full id of its container.
        """
        deadline = time.monotonic() + CALL_TIMEOUT
        while True:
            state = self._inspect()
            if state["ExitCode"] is not None:
                return 0, state["ContainerID"]
            # the daemon answers `start` before there is a process
            if state["Pid"] or time.monotonic() > deadline:
                return int(state["Pid"]), state["ContainerID"]
            time.sleep(PAUSE)

    def has_begun(self) -> bool:
        """Whether the program, which has ended, was ever started."""
        return bool(self._inspect()["Pid"])

    def _inspect(self) -> Mapping[str, Any]:
        with self._daemon.calls("inspect an exec") as api:
            return dict(api.exec_inspect(self._id))


@contextmanager
def _needs_running(container: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        # the daemon has no better status than 500 for one that ends just now
        if error.status_code in (404, 409) or "is not running" in str(error):
            raise NotRunning(f"{container} is not running") from error
        raise


def _upgrade(api: docker.APIClient, path: str, noutput: int, **request: Any) -> Stream:
    """Turn a call into a stream (docker-py's own way drops what comes with the head)."""
    response = api.post(
        f"{api.base_url}/v{api.api_version}/{path}",
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        stream=True,
        timeout=api.timeout,
        **request,
    )
    if response.status_code >= 400:
        raise docker.errors.APIError(response.reason, response, response.text)
    reader = response.raw._fp.fp
    connection = reader.raw._sock
    connection.setblocking(False)
    leftover = b""
    with suppress(ssl.SSLWantReadError):
        leftover = reader.peek()
    return Stream(connection, leftover, noutput, response)
