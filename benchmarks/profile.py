"""Shows where a process of the server spends its time: `python -m benchmarks.profile web`.

Needs root, and py-spy (`pip install py-spy`) or with --syscalls strace.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import Question, closed_loop
from benchmarks.plan import QUICK
from benchmarks.programs import PYTHON, SH, serving

PROGRAMS = {program.name: program for program in (SH, PYTHON)}
TOP = 30
"""Lines of a table."""


def main() -> None:
    """Start a server, keep it busy, and watch one of its processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("role", choices=["web", "worker", "keeper"])
    parser.add_argument("--program", choices=PROGRAMS, default="sh")
    parser.add_argument("--uses", type=int, default=1000, help="runs of a box (1000)")
    parser.add_argument("--clients", type=int, default=8, help="back to back (8)")
    parser.add_argument("--seconds", type=int, default=10, help="to watch (10)")
    parser.add_argument("--syscalls", action="store_true", help="count these instead")
    options = parser.parse_args()
    tool = "strace" if options.syscalls else "py-spy"
    # it may be in the virtual environment
    path = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
    if not path:
        parser.error(f"needs {tool}")
    program = PROGRAMS[options.program]
    boxes = {"box": (program, {"uses": options.uses})}
    with serving(QUICK, boxes, pool_size=options.clients) as server:
        question = program.question("box")
        with _load(server.port, question, options.clients) as answers:
            time.sleep(2)
            count = len(answers)
            lines = WATCH[tool](path, server.pids[options.role][0], options.seconds)
            count = len(answers) - count
    sharing = options.clients if options.role == "worker" else 1
    print(f"{count} runs, {count // sharing} of them by this process")
    print("\n".join(lines))


def syscalls(path: str, pid: int, seconds: int) -> list[str]:
    """Return strace's counts of the system calls of a process, its threads included."""
    command = ["timeout", "--signal=INT", str(seconds), path, "-f", "-c", "-p", str(pid)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True).stderr.splitlines()


def functions(path: str, pid: int, seconds: int) -> list[str]:
    """Return which functions use the processor: alone, and with everything that they call."""
    own, with_calls = Counter[str](), Counter[str]()
    with tempfile.NamedTemporaryFile() as file:
        command = [path, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", "200"]
        output = ["--gil", "--format", "raw", "--output", file.name]
        subprocess.run([*command, *output], check=True, capture_output=True)
        for line in Path(file.name).read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = [re.sub(r"\(.*/site-packages/", "(", frame) for frame in stack.split(";")]
            own[frames[-1]] += int(count)
            with_calls.update(dict.fromkeys(frames, int(count)))
    total = own.total()
    return [
        line
        for title, counter in (("alone", own), ("with all that they call", with_calls))
        for line in (
            f"\n{title}, % of {total} samples",
            *(f"{n * 100 / total:6.1f}  {name}" for name, n in counter.most_common(TOP)),
        )
    ]


WATCH = {"strace": syscalls, "py-spy": functions}


@contextmanager
def _load(port: int, question: Question, clients: int) -> Iterator[list[int]]:
    """Keep a server busy; the list grows by one with each answer."""
    answers: list[int] = []
    ends = threading.Event()

    def goes_on(count: int) -> bool:
        answers.append(count)
        return not ends.is_set()

    thread = threading.Thread(target=closed_loop, args=(port, question, clients, goes_on))
    thread.start()
    try:
        yield answers
    finally:
        ends.set()
        thread.join()


if __name__ == "__main__":
    main()
