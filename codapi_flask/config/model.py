"""What the config files say, merged and checked: boxes, commands and their steps.

The defaults in this module are those of a config that says nothing; they are the safe ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

START_TIMEOUT = 10.0
"""Seconds that a box may take to start, or to be gone, before that is our fault."""

HTTP_TIMEOUT = 10.0
"""Seconds that a command of the http engine may take in all."""

MARGIN = 10.0
"""Seconds on top of all deadlines before a worker counts as hung."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSpec:
    """A container in which steps run: an image and its limits.

    `cpu` is in cores, `memory` in MiB, `storage` as Docker writes sizes (`1g`, empty: no
    limit), `nproc` the number of processes and threads. `volume` says where the work directory
    (`%s`) is mounted. `files` are glob patterns under the config's root. `seccomp` is a profile:
    ours (`default`), Docker's (`docker`) or the text of one in Docker's form. `work_size` is
    what a program may write to disk, in MiB, if it may at all. Of `warm` boxes the stock keeps at
    least that many, each serves up to `uses` runs. Without `init` the box is a plain container,
    started for each step.
    """

    name: str
    image: str
    runtime: str = "runc"
    cpu: float = 1
    memory: int = 64
    storage: str = ""
    network: str = "none"
    writable: bool = False
    volume: str = "%s:/sandbox:ro"
    tmpfs: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ("all",)
    ulimit: tuple[str, ...] = ("nofile=96",)
    nproc: int = 64
    files: tuple[str, ...] = ()
    seccomp: str = "default"
    work_size: int = 64
    warm: int = 0
    uses: int = 1
    init: bool = True

    @property
    def has_gvisor(self) -> bool:
        """Whether gVisor's kernel stands between the box and the host's."""
        return self.runtime.startswith("runsc")

    @property
    def may_write_files(self) -> bool:
        """Whether a program may write to the work directory."""
        mode = self.volume.split(":")[2:]
        return "ro" not in ",".join(mode).split(",")

    @property
    def keeps_nothing(self) -> bool:
        """Whether a program can leave nothing in the box that a reset does not find."""
        return not self.writable and not self.may_write_files

    @property
    def has_watched_layer(self) -> bool:
        """Whether the server has to watch what a program writes to the box's file system."""
        return self.writable and not self.storage

    @property
    def has_quota(self) -> bool:
        """Whether the server has to watch what a program writes to disk: Docker does not."""
        return self.may_write_files or self.has_watched_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a command does: `run` an argv in a box, or `exec` or `stop` in a running one.

    `timeout` is in seconds from the program's start, `noutput` in bytes a stream. `version`
    pins the box's version, `latest` the unversioned box; empty leaves it to the request.
    """

    box: str
    version: str = ""
    user: str = "sandbox"
    action: Literal["run", "exec", "stop"] = "run"
    detach: bool = False
    stdin: bool = False
    command: tuple[str, ...] = ()
    timeout: float = 5
    noutput: int = 4096

    @property
    def runs_as_root(self) -> bool:
        """Whether the config says that the program is root (the image may say so of others)."""
        name = self.user.partition(":")[0]
        try:
            # as Docker reads it: 00 and +0, too; without a name, the group's user is root
            return int(name or "0") == 0
        except ValueError:
            return name == "root"

    def box_name(self, version: str) -> str:
        """Return the name of the box to use for a request of that version (`""`: none)."""
        version = self.version or version
        return self.box if version in ("", "latest") else f"{self.box}:{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a sandbox can be asked to do."""

    engine: Literal["docker", "http"] = "docker"
    entry: str = ""
    before: Step | None = None
    steps: tuple[Step, ...] = ()
    after: Step | None = None

    def all_steps(self) -> tuple[Step, ...]:
        """Return every step in the order of execution."""
        return tuple(step for step in (self.before, *self.steps, self.after) if step)

    def time_budget(self) -> float:
        """Return the seconds after which a worker that has not answered counts as hung."""
        if self.engine == "http":
            return HTTP_TIMEOUT + MARGIN
        return sum(step.timeout + 2 * START_TIMEOUT for step in self.all_steps()) + MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole config.

    `root` is the directory it was read from. `pool_size` bounds the executions at once,
    `stock_size` the boxes that wait for them. A client may send `max_body` bytes and take
    `read_timeout` seconds for that. Up to `queue_size` requests wait for a worker, each for
    `queue_timeout` seconds (0: it is refused at once). Clients need one of the `tokens`, if
    there are any; pages of other `origins` may not read answers, if there are any.
    """

    root: str = "."
    pool_size: int = 8
    stock_size: int = 16
    verbose: bool = False
    work_dir: str = ""
    max_body: int = 1 << 20
    read_timeout: float = 10
    queue_timeout: float = 0
    queue_size: int = 64
    tokens: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    boxes: Mapping[str, BoxSpec] = field(default_factory=dict)
    commands: Mapping[str, Mapping[str, Command]] = field(default_factory=dict)

    def images(self) -> list[str]:
        """Return the names of all images, each once."""
        return list(dict.fromkeys(box.image for box in self.boxes.values()))
