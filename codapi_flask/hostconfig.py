"""What a box's config means to Docker, in docker-py's words (`create_host_config`)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from codapi_flask import init
from codapi_flask.config import Box

MIB = 1 << 20


def plain(box: Box, instance: Path, directory: Path) -> dict[str, Any]:
    """Return the settings of a container that runs one program and ends."""
    return {**_limits(box), "binds": _binds(box, instance, directory), "init": True}


def with_init(box: Box, instance: Path, lease: Path) -> dict[str, Any]:
    """Return the settings of a container whose process 1 is our init.

    The lease holds the work directory (`work`) and the one of init's listener (`init`).
    """
    needs = settings_of_init(box)
    return {
        **_limits(box),
        "binds": [*_binds(box, instance, lease / "work"), f"{lease / 'init'}:{init.MOUNT}:ro"],
        "cap_add": needs.cap_add,
        "cap_drop": needs.cap_drop,
        "auto_remove": True,
    }


def settings_of_init(box: Box) -> init.Settings:
    """Return what init needs in the container of a box."""
    return init.settings(box.cap_add, box.cap_drop, box.volume.split(":")[1])


def root_box(instance: Path, mount: Path | None) -> dict[str, Any]:
    """Return the settings of a container in which our own program does a chore as root.

    It may change any file of `mount` (at `/mount`); without, it may end any process of the host.
    """
    binds = [f"{instance / 'init'}:{init.MOUNT}:ro"]
    return {
        "binds": [*binds, f"{mount}:/mount"] if mount else binds,
        "pid_mode": None if mount else "host",
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "cap_add": ["DAC_OVERRIDE", "FOWNER"] if mount else ["KILL"],
        "security_opt": ["no-new-privileges"],
        "log_config": {"type": "none"},
    }


def _limits(box: Box) -> dict[str, Any]:
    security = ["no-new-privileges"]
    if box.seccomp != "docker":
        profile = _our_profile() if box.seccomp == "default" else box.seccomp
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
        "tmpfs": {path: options for path, _, options in (t.partition(":") for t in box.tmpfs)},
        "cap_add": list(box.cap_add),
        "cap_drop": list(box.cap_drop),
        "ulimits": _ulimits(box),
        # the limit is the program's, which is a child of process 1
        "pids_limit": box.nproc + 1,
        "security_opt": security,
        "log_config": {"type": "none"},
    }


@cache
def _our_profile() -> str:
    path = Path(__file__).with_name("seccomp.json")
    return json.dumps(json.loads(path.read_bytes()), separators=(",", ":"))


def _ulimits(box: Box) -> list[dict[str, Any]]:
    ulimits = []
    for limit in box.ulimit:
        name, _, values = limit.partition("=")
        soft, _, hard = values.partition(":")
        ulimits.append({"name": name, "soft": int(soft), "hard": int(hard or soft)})
    own = {limit["name"] for limit in ulimits}
    if "core" not in own:
        # where the kernel pipes dumps to a helper, outside the box, only 1 means none
        # (linux/fs/coredump.c)
        ulimits.append({"name": "core", "soft": 1, "hard": 1})
    if box.has_quota and "fsize" not in own:
        size = box.work_size * MIB
        ulimits.append({"name": "fsize", "soft": size, "hard": size})
    return ulimits


def _binds(box: Box, instance: Path, directory: Path) -> list[str]:
    binds = [box.volume % directory]
    if box.network == "none":
        # such a box starts in half the time when Docker does not set up its network,
        # but then nobody makes its /etc/hosts
        binds.append(f"{instance / 'hosts'}:/etc/hosts:ro")
    return binds
