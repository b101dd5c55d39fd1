"""The Docker daemon: images, new containers, and the containers of all servers.

Deadlines are instants of `time.monotonic`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.utils

from codapi_flask import init
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon import hostconfig
from codapi_flask.daemon.cgroup import Sockets, sockets
from codapi_flask.daemon.client import Client
from codapi_flask.daemon.container import Container
from codapi_flask.daemon.hostconfig import Mounts
from codapi_flask.errors import NoImage, ServerFault, Vanished
from codapi_flask.models import Image
from codapi_flask.program import Program

INSTANCE = "codapi.instance"
"""The label with the path of the instance that owns a container."""

DIRECTORY = "codapi.directory"
"""The label with the path of the directory that a container lives for."""

NETWORK_MODES = {"none", "host", "bridge", "default"}
"""Networks that need not exist: Podman's socket knows no network of these names."""


class Daemon(Client):
    """The Docker daemon: images and containers. Not for use by two threads."""

    @cached_property
    def has_user_namespace(self) -> bool:
        """Whether root in a container is not root on the daemon's host (userns-remap, rootless)."""
        return self.is_rootless or "name=userns" in self._security()

    @cached_property
    def is_rootless(self) -> bool:
        """Whether the daemon runs as an ordinary user."""
        return "name=rootless" in self._security()

    def _security(self) -> str:
        return " ".join(self.info().get("SecurityOptions") or ())

    def create(
        self,
        name: str,
        box: BoxSpec,
        program: Program,
        mounts: Mounts,
        instance: Path,
        deadline: float,
    ) -> Container:
        """Create the container of a box for one program.

        Its process 1 is init if that is mounted, else Docker's own.

        Raises:
            ServerFault: the image is missing, or the daemon refuses a limit, is gone or too slow.
            Vanished: the image was removed meanwhile.
        """
        image = self.box_image(box)
        process = {
            "image": image.id,
            "command": list(program.argv) or None,
            "user": program.user,
            "stdin_open": program.stdin is not None,
        }
        if mounts.init:
            argv = image.argv(program.argv)
            if not argv:
                raise ServerFault(f"box {box.name}: neither the step nor the image has a command")
            command = ["plain", str(int(self.bounds_sockets(box))), *argv]
            process |= {"entrypoint": [init.MOUNT], "command": command}
        limits = hostconfig.plain(box, mounts, self.sockets())
        return self._create_box(name, box, process, limits, instance, mounts.work, deadline)

    def create_with_init(
        self,
        name: str,
        box: BoxSpec,
        image: Image,
        mounts: Mounts,
        instance: Path,
        deadline: float,
    ) -> Container:
        """Create the container of a box whose process 1 is init, with its listener mounted.

        The daemon removes the container when init exits.

        Raises:
            ServerFault: as for `create`.
        """
        process = {
            "image": image.id,
            "entrypoint": [f"{init.MOUNT}/init"],
            "command": hostconfig.options_of_init(box).command,
            "user": "0:0",
            "stop_signal": "SIGKILL",
        }
        limits = hostconfig.with_init(box, mounts, self.sockets())
        return self._create_box(name, box, process, limits, instance, mounts.work, deadline)

    def create_service(
        self, name: str, box: BoxSpec, mounts: Mounts, instance: Path, deadline: float
    ) -> Container:
        """Create the container of a service. The daemon removes it at its end.

        Its process 1 is init, if its directory is mounted, and ends with that directory's owner.

        Raises:
            ServerFault, Vanished: as for `create`.
        """
        image = self.box_image(box)
        process = {"image": image.id, "command": list(box.command) or None, "user": box.user}
        if mounts.init:
            if not (argv := image.argv(box.command)):
                raise ServerFault(f"box {box.name}: neither the box nor the image has a command")
            command = ["service", str(int(self.bounds_sockets(box))), *argv]
            process |= {"entrypoint": [f"{init.MOUNT}/init"], "command": command}
        limits = hostconfig.service(box, mounts, self.sockets())
        return self._create_box(name, box, process, limits, instance, mounts.work, deadline)

    def _create_box(
        self,
        name: str,
        box: BoxSpec,
        process: Mapping[str, Any],
        limits: Mapping[str, Any],
        instance: Path,
        directory: Path,
        deadline: float,
    ) -> Container:
        limits = {**limits, "sysctls": self._sysctls(box)}
        process = {**process, "environment": list(box.env)}
        with self.calls(f"create a box of {box.image}", deadline) as api:
            return self._create(api, process, limits, box.network, instance, directory, name)

    def _sysctls(self, box: BoxSpec) -> dict[str, str]:
        """Return the kernel settings of a box; gVisor has none of them."""
        sysctls: dict[str, str] = {}
        # in a user namespace it needs a new kernel
        if not (box.has_gvisor or self.has_user_namespace):
            sysctls |= hostconfig.QUEUES
        if not box.has_gvisor and self._disables(box.network) and hostconfig.has_ipv6():
            sysctls |= hostconfig.NO_IPV6
        return sysctls

    def _disables(self, network: str) -> bool:
        """Whether Docker makes a namespace without setting it up, which halves a box's start.

        Not on another host, whose kernel may lack the settings that then are the server's work.
        """
        return network == "none" and self.is_local

    def create_root_box(
        self,
        image: str,
        argv: Sequence[str],
        program: Path,
        instance: Path,
        directory: Path,
        mount: Path | None,
        pids: str | None,
    ) -> Container:
        """Create a small box in which init, the `program`, does a chore as root.

        It lives for `directory`, a lease or the instance. It may change any file under `mount`;
        without `mount` it may kill any process of the PID namespace `pids`.
        """
        process = {"image": image, "entrypoint": [init.MOUNT], "command": argv, "user": "0:0"}
        limits = hostconfig.root_box(program, mount, pids)
        with self.calls(f"create a root box of {image}") as api:
            return self._create(api, process, limits, "none", instance, directory)

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
        try:
            created = api.create_container(
                name=name,
                network_disabled=self._disables(network),
                host_config=api.create_host_config(**limits),
                # an image's health check would run beside the program
                healthcheck={"test": ["NONE"]},
                labels={INSTANCE: str(instance), DIRECTORY: str(directory)},
                **process,
            )
        except docker.errors.ImageNotFound as error:
            # its name may stand for another one by now
            raise Vanished(str(error)) from error
        return Container(self, created["Id"], process["image"])

    def bounds_sockets(self, box: BoxSpec) -> bool:
        """Whether the server must limit the memory of a box's sockets (`bound_sockets`)."""
        # gVisor implements sockets itself, in the box's memory
        return not box.has_gvisor and self.sockets() is Sockets.SERVER

    def sockets(self) -> Sockets:
        """Return what limits the memory of sockets on the daemon's host."""
        if self.is_local:
            return sockets()
        is_v1 = self.info().get("CgroupVersion", "1") == "1"
        return Sockets.NOBODY if is_v1 else Sockets.KERNEL

    def info(self) -> Mapping[str, Any]:
        """Return the daemon's own state (`docker info`)."""
        with self.calls("ask the daemon for its state") as api:
            return dict(api.info())

    def find(self, name: str) -> Container:
        """Return a container by its name or id, whether or not it exists."""
        return Container(self, name)

    def containers(self) -> list[tuple[Container, Path, Path]]:
        """Return the containers of all instances, in any state, with instance and directory."""
        with self.calls("list the containers") as api:
            found = api.containers(all=True, filters={"label": [INSTANCE, DIRECTORY]})
        return [
            (Container(self, c["Id"]), Path(c["Labels"][INSTANCE]), Path(c["Labels"][DIRECTORY]))
            for c in found
        ]

    def image(self, name: str) -> Image | None:
        """Return the image that a name stands for now, `None` if there is none."""
        with self.calls(f"inspect the image {name}") as api:
            try:
                found = api.inspect_image(name)
            except docker.errors.APIError as error:
                # newer daemons answer 400 for a name that no image can have
                if error.status_code in (400, 404):
                    return None
                raise
        process = found["Config"] or {}
        return Image(
            found["Id"],
            tuple(process.get("Entrypoint") or ()),
            tuple(process.get("Cmd") or ()),
            # an empty HOME counts as none
            tuple(text for text in process.get("Env") or () if re.match("HOME=.", text)),
            any(port.endswith("/tcp") for port in process.get("ExposedPorts") or ()),
        )

    def has_network(self, name: str) -> bool:
        """Whether a box can have a network, by its name, its id or a mode."""
        if name in NETWORK_MODES or name.startswith("container:"):
            return True
        with self.calls(f"inspect the network {name}") as api:
            try:
                api.inspect_network(name)
            except docker.errors.NotFound:
                return False
        return True

    def box_image(self, box: BoxSpec) -> Image:
        """Return the image of a box.

        Raises:
            NoImage: it is missing.
            ServerFault: the daemon is gone.
        """
        if image := self.image(box.image):
            return image
        raise NoImage(box.image, box.name)

    def image_events(self) -> Iterator[None]:
        """Yield at once, and after each change of an image or one of its names; blocks.

        Raises:
            ServerFault: the daemon is gone.
        """
        with self.calls("watch the images", math.inf) as api:
            events = api.events(filters={"type": "image"})
            yield
            for _ in events:
                yield
