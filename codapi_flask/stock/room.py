"""How much may wait in the stock: boxes, memory and descriptors."""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from codapi_flask.boxes import handoff
from codapi_flask.config.model import BoxSpec, Config

MAX_SIZE = 1000
"""The most boxes that wait if the config does not say."""

OVERHEAD = 6
"""MiB that a waiting box takes of the host, without a preloaded program: more than measured.

60 boxes took 3.7 to 4.3 MiB of free memory each, of which 2.5 for containerd's shim (PSS), 0.1 for
init, 0.2 in the daemon, and 0.9 in the kernel.
"""

MEMORY_SHARE = 1 / 4
"""Share of the host's available memory that boxes may take if the config does not say."""

DESCRIPTORS_SHARE = 1 / 2
"""Share of the limit on descriptors that boxes may take: runs pass descriptors, too."""


class Room:
    """The bounds of all waiting boxes together, and what a box of each name takes."""

    def __init__(
        self,
        boxes: Mapping[str, BoxSpec],
        size: float = math.inf,
        memory: float = math.inf,
        descriptors: float = math.inf,
    ) -> None:
        """Bound the number of boxes, their memory in MiB, and their descriptors in flight."""
        self._limits = size, memory, descriptors
        self._needs = {
            # until what is preloaded is measured
            name: (1, OVERHEAD + (box.memory if box.preload else 0), descriptors_of(box))
            for name, box in boxes.items()
        }

    @classmethod
    def of(cls, boxes: Mapping[str, BoxSpec], config: Config) -> Room:
        """Return the bounds that the config and the host set at the moment."""
        size = MAX_SIZE if config.stock_size is None else config.stock_size
        return cls(boxes, size, memory_limit(config), descriptor_limit())

    def weigh(self, name: str, kib: int) -> None:
        """Record the memory of a waiting box of a name that the kernel cannot drop, as measured."""
        count, _, descriptors = self._needs[name]
        self._needs[name] = count, OVERHEAD + math.ceil(kib / 1024), descriptors

    def holds(self, counts: Mapping[str, int]) -> bool:
        """Whether so many boxes of each name may wait."""
        needs = [(count, self._needs[name]) for name, count in counts.items() if count]
        return all(
            sum(count * need[kind] for count, need in needs) <= limit
            for kind, limit in enumerate(self._limits)
        )


def descriptors_of(box: BoxSpec) -> int:
    """Return the descriptors of a waiting box: its connection, its lease's lock, its pipes.

    The kernel counts those in flight of all processes of a user together.
    """
    return handoff.MAX_DESCRIPTORS if box.preload else handoff.MAX_DESCRIPTORS - 3


def memory_limit(config: Config) -> float:
    """Return the MiB that waiting boxes may take."""
    if config.stock_memory is not None:
        return config.stock_memory
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 * MEMORY_SHARE if found else math.inf


def descriptor_limit() -> float:
    """Return the number of descriptors that waiting boxes may take."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft * DESCRIPTORS_SHARE


def warnings(config: Config) -> Iterator[str]:
    """Yield what the config wants to keep that the host may not hold."""
    most = max(map(descriptors_of, config.boxes.values()), default=0)
    if (config.stock_size or 0) * most > (limit := descriptor_limit()):
        yield (
            f"stock_size {config.stock_size}: each box that waits takes {most} descriptors of the "
            f"{limit:.0f} that all may take: allow more (ulimit -Hn), or have fewer wait"
        )
    warm, memory = sum(box.warm for box in config.boxes.values()), memory_limit(config)
    if warm * OVERHEAD > memory:
        yield (
            f"the boxes' warm, {warm} in all, takes at least {warm * OVERHEAD} MiB of the stock's "
            f"{memory:.0f}: they are kept, and no others; raise stock_memory, or keep fewer warm"
        )
