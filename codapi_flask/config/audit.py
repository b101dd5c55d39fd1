"""Warnings about a config and a daemon: weak isolation, ignored limits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codapi_flask.config.model import BoxSpec, Config

SAFE_RUNC = (1, 1, 12)
"""The first runc without CVE-2024-21626 (leaked descriptors)."""

CGROUP_V2 = "with cgroup v1 only a server that is root on the host can limit that; use cgroup v2"

LIMITS = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "CpuCfsQuota": "cpu",
    "PidsLimit": "nproc",
}
"""The limits that a daemon may not support, by their names in `docker info`."""


def examine(
    config: Config,
    info: Mapping[str, Any],
    work_dir: Path,
    sockets_are_bounded: bool = True,
    shared: Sequence[str] = (),
) -> Iterator[str]:
    """Yield a warning for each kind of thing found, with the names of all boxes that have it.

    `info` is the daemon's (`docker info`). `sockets_are_bounded` tells whether the memory of
    sockets has a limit, `shared` are the boxes whose programs run as the server's user.
    """
    yield from _examine_daemon(info)
    if not sockets_are_bounded:
        yield f"programs get no IP sockets, as the memory of these has no limit: {CGROUP_V2}"
    boxes: dict[str, list[str]] = {}
    if shared:
        boxes[
            f"programs run as the server's user, {os.geteuid()}, and share what the kernel counts "
            "for a user with the server: run it as a user of its own"
        ] = [*shared]
    for box in config.boxes.values():
        for text in _examine_box(box, sockets_are_bounded):
            boxes.setdefault(text, []).append(box.name)
    for text, names in boxes.items():
        yield f"{'boxes' if len(names) > 1 else 'box'} {', '.join(names)}: {text}"
    if not any(config.commands.values()):
        yield "the config has no command: add one, until then every sandbox is unknown"
    if any(not box.keeps_nothing for box in config.boxes.values()) and _is_shared(work_dir):
        yield f"{work_dir} shares a disk with the system: give it a file system of its own"
    if roots := list(_commands_of_root(config)):
        yield f"commands that run as root, by sandbox: {', '.join(roots)}"


def _commands_of_root(config: Config) -> Iterator[str]:
    for sandbox, commands in config.commands.items():
        for name, command in commands.items():
            if any(step.runs_as_root for step in command.all_steps() if step.action != "stop"):
                yield f"{sandbox} {name}"


def _examine_box(box: BoxSpec, sockets_are_bounded: bool) -> Iterator[str]:
    if box.network != "none":
        yield f"network {box.network}: programs reach what that reaches"
    if not sockets_are_bounded and (box.network != "none" or box.seccomp != "default"):
        yield f"the memory of sockets has no limit: {CGROUP_V2}"
    if box.cap_add:
        yield f"capabilities {', '.join(box.cap_add)}"
    if "ALL" not in map(str.upper, box.cap_drop):
        yield "root has capabilities: cap_drop does not hold 'all'"
    if box.seccomp != "default":
        whose = "Docker's" if box.seccomp == "docker" else "a file's"
        yield f"seccomp is {whose}: more of the kernel is within reach"
    if any(limit.startswith("core=") for limit in box.ulimit):
        yield "programs make core dumps, which may start a helper of the host's"
    if box.writable or not box.keeps_nothing:
        hows = []
        if box.writable and box.storage:
            hows.append(f"Docker limits its file system to {box.storage}")
        if box.has_quota:
            hows.append(f"what they write is watched, and limited to {box.work_size} MiB a run")
        yield f"programs may write to a disk: {'; '.join(hows)}"


def _examine_daemon(info: Mapping[str, Any]) -> Iterator[str]:
    if "Rootless" in info:
        yield "the daemon is Podman, which refuses the server's seccomp profile: use Docker"
    missing = [limit for key, limit in LIMITS.items() if info.get(key) is False]
    if missing:
        yield (
            f"the daemon ignores limits: {', '.join(missing)}: one program can take all that the "
            "host has (a rootless daemon needs cgroup v2, with these controllers delegated)"
        )
    if not any("seccomp" in option for option in info.get("SecurityOptions") or ()):
        yield "the daemon has no seccomp: programs may call all of the kernel"
    runc = re.match(r"(?:v?)(\d+)\.(\d+)\.(\d+)", _runc_version(info))
    if runc and tuple(map(int, runc.groups())) < SAFE_RUNC:
        yield f"runc {runc[0]} is old: unless your distribution has mended it, programs can get out"


def _runc_version(info: Mapping[str, Any]) -> str:
    return str((info.get("RuncCommit") or {}).get("ID", ""))


def _is_shared(directory: Path) -> bool:
    return os.stat(directory).st_dev == os.stat("/").st_dev
