"""Turns a box's spec into Docker's settings (docker-py, `create_host_config`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docker.types import Mount

from codapi_flask import init
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.cgroup import Sockets

MIB = 1 << 20

NO_TERMINALS = {"/dev/pts": "ro,noexec,nosuid,nodev,size=4k,mode=0555"}
"""Boxes have no pseudo-terminals: all boxes and the host share one limit on them."""

IP_FAMILIES = {"index": 0, "value": 4294967287, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}
"""AF_INET and AF_INET6, the first argument of `socket`, in a rule of the seccomp profile."""

NETLINK = {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}
"""AF_NETLINK: its answers, 400 KB a socket, are charged to no box's memory. A box without a network
has no use for them; name lookups work without."""

MEMLOCK = 1 << 16
"""Bytes that a process may lock: cached pages of images are charged to the box that read them."""

QUEUES = {"fs.mqueue.queues_max": "2"}
"""POSIX message queues of a box: the kernel counts their bytes by user, over all boxes."""

NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": "1"}
"""A network namespace that Docker does not set up has IPv6, unlike that of `--network none`: then
`localhost` may be `::1`, where a server on 127.0.0.1 does not listen."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """The paths of the host that a box sees.

    `work` is its work directory, which a service does not have; `hosts` its `/etc/hosts` if it has
    no network. `init` is mounted at `init.MOUNT`: the box's own copy of init, a directory with it
    or with init's listener, or nothing.
    """

    work: Path
    hosts: Path
    init: Path | None


def has_ipv6() -> bool:
    """Whether this host's kernel has IPv6: without it, `NO_IPV6` prevents a box's start."""
    return Path("/proc/sys/net/ipv6").exists()


def plain(box: BoxSpec, mounts: Mounts, sockets: Sockets) -> dict[str, Any]:
    """Return the settings of a container that runs one program and ends.

    Its process 1 is the mounted copy of init, or Docker's own if there is none. `sockets` is what
    limits the memory of the box's sockets.
    """
    return {**_limits(box, sockets), "binds": _binds(box, mounts), "init": not mounts.init}


def with_init(box: BoxSpec, mounts: Mounts, sockets: Sockets) -> dict[str, Any]:
    """Return the settings of a container whose process 1 is init, with its listener mounted."""
    needs = options_of_init(box)
    return {
        **_limits(box, sockets),
        "binds": _binds(box, mounts),
        "cap_add": needs.cap_add,
        "cap_drop": needs.cap_drop,
        "auto_remove": True,
    }


def service(box: BoxSpec, mounts: Mounts, sockets: Sockets) -> dict[str, Any]:
    """Return the settings of a service's container, which sees no work directory."""
    binds = _other_binds(box, mounts)
    return {
        **_limits(box, sockets),
        "binds": binds,
        "init": not mounts.init,
        # nor does it count the thread of process 1
        "pids_limit": box.nproc + 2,
        "auto_remove": True,
    }


def options_of_init(box: BoxSpec) -> init.InitOptions:
    """Return what init needs of the container of a box."""
    return init.options(box.cap_add, box.cap_drop, box.volume.split(":")[1])


def root_box(program: Path, mount: Path | None, pids: str | None) -> dict[str, Any]:
    """Return the settings of a container in which init, the `program`, does a chore as root.

    It may change any file of `mount` (at `/mount`); without `mount` it may kill any process of the
    PID namespace `pids` (`host` or `container:ID`).
    """
    return {
        "binds": [f"{program}:{init.MOUNT}:ro"],
        # unlike a bind, it makes no directory that is missing
        "mounts": [Mount("/mount", str(mount), type="bind")] if mount else [],
        "pid_mode": pids,
        # else its root has no rights over files and processes of ids that its namespace lacks
        "userns_mode": "host",
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "cap_add": ["DAC_OVERRIDE", "FOWNER"] if mount else ["KILL"],
        "security_opt": ["no-new-privileges"],
        "log_config": {"type": "none"},
    }


def _limits(box: BoxSpec, sockets: Sockets) -> dict[str, Any]:
    security = ["no-new-privileges"]
    if box.seccomp != "docker":
        has_network = box.network != "none"
        has_ip = has_network or sockets is not Sockets.NOBODY
        profile = _our_profile(has_network, has_ip) if box.seccomp == "default" else box.seccomp
        security.append(f"seccomp={profile}")
    return {
        "runtime": box.runtime,
        "nano_cpus": round(box.cpu * 1e9),
        "mem_limit": box.memory * MIB,
        # equal limits: no swap
        "memswap_limit": box.memory * MIB,
        "storage_opt": {"size": box.storage} if box.storage else None,
        "network_mode": box.network,
        "read_only": not box.writable,
        "tmpfs": NO_TERMINALS
        | {path: options for path, _, options in (t.partition(":") for t in box.tmpfs)},
        "cap_add": list(box.cap_add),
        "cap_drop": list(box.cap_drop),
        "ulimits": _ulimits(box),
        # nproc does not count process 1
        "pids_limit": box.nproc + 1,
        "security_opt": security,
        "log_config": {"type": "none"},
    }


@cache
def _our_profile(has_network: bool, has_ip: bool) -> str:
    profile = json.loads(Path(__file__).with_name("seccomp.json").read_bytes())
    refused = []
    if not has_network:
        refused.append(NETLINK)
    if not has_ip:
        refused.append(IP_FAMILIES)
    rules = profile["syscalls"]
    profile["syscalls"] = [
        rule for rule in rules if not any(family in rule.get("args", ()) for family in refused)
    ]
    return json.dumps(profile, separators=(",", ":"))


def _ulimits(box: BoxSpec) -> list[dict[str, Any]]:
    ulimits = []
    for limit in box.ulimit:
        name, _, values = limit.partition("=")
        soft, _, hard = values.partition(":")
        ulimits.append({"name": name, "soft": int(soft), "hard": int(hard or soft)})
    own = {limit["name"] for limit in ulimits}
    if "memlock" not in own:
        ulimits.append({"name": "memlock", "soft": MEMLOCK, "hard": MEMLOCK})
    if "core" not in own:
        # where the kernel pipes dumps to a program outside the box, only a limit of 1 prevents
        # them (linux/fs/coredump.c)
        ulimits.append({"name": "core", "soft": 1, "hard": 1})
    if box.has_quota and "fsize" not in own:
        size = box.work_size * MIB
        ulimits.append({"name": "fsize", "soft": size, "hard": size})
    return ulimits


def _binds(box: BoxSpec, mounts: Mounts) -> list[str]:
    return [box.volume % mounts.work, *_other_binds(box, mounts)]


def _other_binds(box: BoxSpec, mounts: Mounts) -> list[str]:
    binds = []
    if box.network == "none":
        # a box starts in half the time if Docker does not set up its network, but then Docker
        # does not make its /etc/hosts
        binds.append(f"{mounts.hosts}:/etc/hosts:ro")
    if mounts.init:
        binds.append(f"{mounts.init}:{init.MOUNT}:ro")
    return binds
