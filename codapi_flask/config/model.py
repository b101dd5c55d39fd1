"""What the config files say, merged and checked: boxes, commands and their steps.

A field with a line of documentation is a key of the config files: its type has the check
(`config.values`), its default is that of a config that says nothing, which is the safe one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from codapi_flask.config.timeouts import START, Timeouts
from codapi_flask.config.values import (
    Amount,
    Boxes,
    CacheSize,
    CacheTime,
    Capability,
    Count,
    Directory,
    Disk,
    Entry,
    Flag,
    Glob,
    Image,
    Lazy,
    Memory,
    Module,
    OutputsCount,
    OutputsSize,
    Pattern,
    Processes,
    Requests,
    Seconds,
    StartTime,
    StockMemory,
    Text,
    Tmpfs,
    Ulimit,
    User,
    Volume,
    Word,
)
from codapi_flask.init import is_safe

TOP_FILES = "codapi.json", "configs/config.json"
"""The top files below the root: the first that exists is read."""

ARGS = ":args"
"""The element of a step's command that a request's args replace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preload:
    """What waits in a box for its next run, already started.

    It is the `command`, or with `python` the server's waiter for Python; then `command` is the
    interpreter.
    """

    python: Annotated[
        tuple[Module, ...] | None, "modules that a waiting Python has imported, maybe none"
    ] = None
    command: Annotated[tuple[Text, ...], "a program that waits by init's protocol"] = ()
    user: Annotated[User, "its user; by default that of the step that it waits for"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSpec:
    """A container in which steps run: an image and its limits.

    `seccomp` is a profile: the server's (`default`), Docker's (`docker`) or the text of one in
    Docker's form. `env` holds `NAME=value`.
    """

    name: Annotated[Word, "the box's name, if it differs from its key, file or folder"]
    image: Annotated[Image, "name of the image"]
    runtime: Annotated[Word, "a runtime of the daemon, such as runsc (gVisor)"] = "runc"
    cpu: Annotated[Amount, "cores"] = 1
    memory: Annotated[Memory, "memory limit of the whole box in MiB, tmpfs included"] = 64
    storage: Annotated[Text, "size limit of the box's own file system"] = ""
    network: Annotated[Word, "none, or a Docker network such as bridge"] = "none"
    writable: Annotated[Flag, "whether programs may write to the box's own file system"] = False
    volume: Annotated[Volume, "mount point of the work directory (%s), read-only with ro"] = (
        "%s:/sandbox:ro"
    )
    tmpfs: Annotated[tuple[Tmpfs, ...], "in-memory file systems that programs may write to"] = ()
    cap_add: Annotated[tuple[Capability, ...], "Linux capabilities to add"] = ()
    cap_drop: Annotated[tuple[Capability, ...], "Linux capabilities to drop"] = ("all",)
    ulimit: Annotated[tuple[Ulimit, ...], "limits of each process, soft and hard"] = ("nofile=96",)
    nproc: Annotated[Processes, "maximum number of processes and threads"] = 64
    env: Annotated[tuple[str, ...], "variables of the environment, on top of the image's"] = ()
    files: Annotated[
        tuple[Glob, ...], "files below the root that the server copies into the work directory"
    ] = ()
    seccomp: Annotated[Word, "which system calls are allowed"] = "default"
    work_size: Annotated[Disk, "disk space in MiB that a run may use in the work directory"] = 64
    warm: Annotated[Boxes, "minimum number of boxes kept started, from startup on"] = 0
    uses: Annotated[Count, "maximum number of runs that one box serves"] = 1
    init: Annotated[Flag, "whether the server's init is process 1"] = True
    preload: Annotated[
        Preload | None, "the program that waits in a box for its next run, already started"
    ] = None
    service: Annotated[
        Lazy, "whether the server keeps one container of the box running, for exec steps"
    ] = False
    command: Annotated[tuple[Text, ...], "program and arguments of a service"] = ()
    user: Annotated[User, "the user of a service"] = ""
    ready: Annotated[
        tuple[Text, ...],
        "program and arguments that succeed once a detached box or a service serves",
    ] = ()
    ready_timeout: Annotated[
        Amount, "seconds in which a detached box or a service must be ready"
    ] = 30

    @property
    def home(self) -> tuple[str, ...]:
        """`HOME=…` of the environment, if it is set and not empty."""
        return tuple(text for text in self.env if re.match("HOME=.", text, re.DOTALL))

    @property
    def has_gvisor(self) -> bool:
        """Whether gVisor's kernel stands between the box and the host's."""
        return self.runtime.startswith("runsc")

    @property
    def may_have_init(self) -> bool:
        """Whether init can be process 1, on a local daemon."""
        # init cannot connect to a socket of the host from gVisor
        return self.init and is_safe(self.cap_add) and not self.has_gvisor

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
    """One thing a command does: `run` an argv in a box, or `exec` or `stop` in a running one."""

    box: Annotated[Word, "name of the box"]
    version: Annotated[Text, "pins the box's version and overrides that of the request"] = ""
    user: Annotated[User, "name or number, optionally with :group"] = "sandbox"
    action: Annotated[
        Literal["run", "exec", "stop"],
        "run starts a program in a box, exec in a running container",
    ] = "run"
    detach: Annotated[Flag, "start the box and continue with the next step"] = False
    stdin: Annotated[Flag, "pass the request's files, concatenated, on stdin"] = False
    command: Annotated[tuple[Text, ...], "program and arguments, without a shell"] = ()
    timeout: Annotated[Amount, "seconds from the program's start"] = 5
    noutput: Annotated[Count, "maximum bytes of each of stdout and stderr"] = 4096
    outputs: Annotated[
        tuple[Pattern, ...], "patterns of the files that a client may get back from the step"
    ] = ()
    outputs_size: Annotated[OutputsSize, "maximum KiB of these files in all"] = 1024
    outputs_count: Annotated[OutputsCount, "maximum number of these files"] = 16

    @property
    def takes_args(self) -> bool:
        """Whether the command has a place for a request's args."""
        return ARGS in self.command

    def argv(self, name: str, args: Sequence[str]) -> list[str]:
        """Return the program and its arguments, with `name` for `:name` and `args` for `:args`."""
        argv: list[str] = []
        for text in self.command:
            argv += args if text == ARGS else [text.replace(":name", name)]
        return argv

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

    engine: Annotated[Literal["docker", "http"], "the engine that executes the command"] = "docker"
    entry: Annotated[
        Entry, 'name under which the code (the file named "") is written, such as main.py'
    ] = ""
    cache: Annotated[CacheTime, "seconds for which the server remembers successful answers"] = 0
    before: Annotated[Step | None, "the first step"] = None
    steps: Annotated[tuple[Step, ...], "run in order until one fails"] = ()
    after: Annotated[Step | None, "the last step"] = None

    def all_steps(self) -> tuple[Step, ...]:
        """Return every step in the order of execution."""
        return tuple(step for step in (self.before, *self.steps, self.after) if step)

    @property
    def gives_files(self) -> bool:
        """Whether a client may get files back."""
        return self.engine == "docker" and any(step.outputs for step in self.all_steps())

    @property
    def input_step(self) -> Step | None:
        """The step that can read a request's stdin, and run several times; `None` if none can."""
        last = self.steps[-1] if self.engine == "docker" and self.steps else None
        return last if last and last.action != "stop" and not last.detach else None

    @property
    def takes_stdin(self) -> bool:
        """Whether a request may bring an stdin: the last step can read it, and reads no files."""
        return self.input_step is not None and not self.input_step.stdin

    @property
    def takes_args(self) -> bool:
        """Whether a request may bring args."""
        return self.engine == "docker" and any(step.takes_args for step in self.steps)

    def time_budget(self, timeouts: Timeouts, runs_timeout: float = 0) -> float:
        """Return the seconds after which a worker that has not answered counts as hung.

        `runs_timeout` is that of a job with runs, else 0.
        """
        if self.engine == "http":
            return timeouts.http + timeouts.margin
        steps = self.all_steps()
        programs = sum(step.timeout for step in steps)
        if runs_timeout and self.input_step:
            programs += runs_timeout - self.input_step.timeout
        return timeouts.margin + programs + 2 * timeouts.box * len(steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole config.

    `root` is the directory it was read from. Clients need one of the `tokens`, if there are any;
    pages of other `origins` may not read answers, if there are any. `titles` and `starters`
    (programs to begin with) are by sandbox; not every sandbox has one.
    """

    root: str = "."
    pool_size: Annotated[Count, "number of worker processes, and so of concurrent executions"] = 8
    stock_size: Annotated[
        Boxes | None, "maximum number of started boxes that the server keeps waiting"
    ] = None
    stock_memory: Annotated[StockMemory | None, "memory for waiting boxes, in MiB"] = None
    verbose: Annotated[Flag, "log at the level DEBUG"] = False
    work_dir: Annotated[Directory, "directory for the files of requests"] = ""
    max_body: Annotated[Count, "maximum size of a request body, in bytes"] = 1 << 20
    read_timeout: Annotated[Amount, "seconds in which a client must have sent its request"] = 10
    start_timeout: Annotated[StartTime, "seconds that a box may take to start"] = START
    runs_timeout: Annotated[Amount, "seconds that all runs of a request may take together"] = 30
    queue_timeout: Annotated[Seconds, "seconds for which a request waits for a worker"] = 0
    queue_size: Annotated[Requests, "maximum number of waiting requests"] = 64
    cache_size: Annotated[CacheSize, "memory for remembered answers, in MiB"] = 64
    tokens: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    boxes: Mapping[str, BoxSpec] = field(default_factory=dict)
    commands: Mapping[str, Mapping[str, Command]] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    starters: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def time_budget(self, command: Command, runs_timeout: float = 0) -> float:
        """Return a command's time budget, with the seconds in which detached boxes become ready."""
        wait = max((box.ready_timeout for box in self.boxes.values() if box.ready), default=0)
        waits = wait * sum(step.detach for step in command.all_steps())
        return command.time_budget(self.timeouts, runs_timeout) + waits

    def images(self) -> list[str]:
        """Return the names of all images, each once."""
        return list(dict.fromkeys(box.image for box in self.boxes.values()))
