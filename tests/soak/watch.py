"""The concurrent executions, as seen on the host, without the server."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

INTERVAL = 0.05
EXECUTION = re.compile(rb"\0(\w+_(?:run|hang)_[0-9a-f]{8})\0$")
"""An execution's id, where it is a program's last argument."""

INSTANCE = re.compile(r"/(i-[0-9a-f]+)/x-[0-9a-f]+/work /sandbox ")
"""The directory of a box's web process, in /proc/PID/mountinfo (proc(5))."""


class Watch:
    """Looks repeatedly; `most` is the maximum of concurrent executions of one web process."""

    def __init__(self) -> None:
        self.most, self.looks = 0, 0

    def look(self) -> None:
        running = Counter(instance for _, instance in executions())
        self.most = max([self.most, *running.values()])
        self.looks += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        over = threading.Event()

        def look_on() -> None:
            while not over.wait(INTERVAL):
                self.look()

        thread = threading.Thread(target=look_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def executions() -> set[tuple[bytes, str]]:
    """Return the executions whose programs run now, and the web process's directory of each."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # the process may end meanwhile
        with suppress(OSError):
            id = EXECUTION.search(Path(f"/proc/{pid}/cmdline").read_bytes())
            if id and (box := INSTANCE.search(Path(f"/proc/{pid}/mountinfo").read_text())):
                found.add((id[1], box[1]))
    return found
