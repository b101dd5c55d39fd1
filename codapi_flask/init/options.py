"""What a container needs to have init as its process 1."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOUNT = "/.codapi"
"""Where the directory of its `Listener` is mounted in a box."""

OWN = {"KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8}
"""The capabilities that init needs (`capabilities(7)`); Docker's default ones include them."""

MIGHTY = {"ALL", "SYS_ADMIN", "SYS_PTRACE"}
"""The capabilities with which a program that runs as root takes over process 1."""


@dataclass(frozen=True, slots=True)
class InitOptions:
    """A container's entrypoint, arguments and capabilities.

    Apart from these it must have: user `0:0`, the security option `no-new-privileges`, the
    listener's directory mounted at `MOUNT` (read-only), one process more in its limit, `SIGKILL`
    as its stop signal, and automatic removal.
    """

    entrypoint: list[str]
    command: list[str]
    cap_add: list[str]
    cap_drop: list[str]


def binary(machine: str = "") -> Path:
    """Return the program's file for a machine as `uname -m` names it (default: this one).

    Raises:
        FileNotFoundError: this installation has none for that machine.
    """
    file = Path(__file__).parent / "bin" / f"init-{machine or platform.machine()}"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: not built: run `make setup`")
    return file


def install(binary: Path, path: Path) -> None:
    """Copy the program to `path`, for one server or for the boxes of one execution.

    Each needs its own copy: programs of different clients could lock and watch a shared file.
    """
    shutil.copyfile(binary, path)
    # regardless of the umask: in the box, init has no more rights than others
    path.chmod(0o555)


def is_safe(cap_add: Sequence[str]) -> bool:
    """Whether init is out of reach of all programs in a box with these capabilities."""
    return MIGHTY.isdisjoint(_names(cap_add))


def options(
    cap_add: Sequence[str], cap_drop: Sequence[str], work_directory: str = "-"
) -> InitOptions:
    """Return the options of a box that would have these capabilities in plain Docker.

    init gets its own capabilities on top, and takes those that the box would not have from its
    programs. `work_directory` is where the work directory is mounted in the box; a reset deletes
    nothing in it.
    """
    add, drop = _names(cap_add), _names(cap_drop)
    own = {name for name in OWN if not _has(name, add, drop)}
    return InitOptions(
        entrypoint=[f"{MOUNT}/init"],
        command=["box", f"{sum(1 << OWN[name] for name in own):x}", work_directory],
        cap_add=[*add, *sorted(own)],
        cap_drop=[name for name in drop if name not in own],
    )


def _names(capabilities: Sequence[str]) -> list[str]:
    return [name.upper().removeprefix("CAP_") for name in capabilities]


def _has(name: str, add: Sequence[str], drop: Sequence[str]) -> bool:
    """Whether Docker gives a box a capability that is one of its defaults.

    Source: moby, oci/caps/utils.go, `TweakCapabilities`.
    """
    if "ALL" in add:
        return name not in drop
    return name in add or (name not in drop and "ALL" not in drop)
