"""The mix of a soak: the program of each execution, and the expected answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.instance import BOX_DEFAULTS

IMAGE = "codapi/python"
BOXES: dict[str, dict[str, Any]] = {
    "plain": {"image": IMAGE, "init": False},
    "fresh": {"image": IMAGE},
    # few uses, so that boxes are replaced all the time
    "reused": {"image": IMAGE, "uses": 20},
    "preloaded": {"image": IMAGE, **BOX_DEFAULTS["preloaded"], "uses": 20},
}
SHARES = {"plain": 10, "fresh": 10, "reused": 50, "preloaded": 30}
"""Percentage of uses of each box; the first two need a new container each time."""

LIVE = 0.2
"""Share of the clients that get events."""

# the execution's id is the last argument of its processes, to identify them on the host
_ARGV = ["sh", "main.sh", ":name"]
COMMANDS = {
    box: {
        name: {"entry": "main.sh", "steps": [{"box": box, "command": _ARGV, "timeout": timeout}]}
        for name, timeout in (("run", 30), ("hang", 1))
    }
    for box in BOXES
}
for box, commands in COMMANDS.items():
    steps = [{"box": box, "command": ["sh", "main.sh"]}]
    commands["cached"] = {"entry": "main.sh", "cache": 5, "steps": steps}
NOUTPUT = 4096

Expected = tuple[bool, str, str]
"""`ok`, `stdout` and `stderr` of an answer; `:name` in them stands for its id."""


@dataclass(frozen=True)
class Case:
    """One execution: the request, the answer, and its client's behavior.

    It asks again `pause` seconds after it was refused. If it `leaves` that is so many seconds after
    it has sent; `sends` is the share of the request that it sends. A client that is `live` gets
    events.
    """

    kind: str
    sandbox: str
    files: dict[str, str]
    expected: Expected
    pause: float
    command: str = "run"
    leaves: float | None = None
    sends: float = 1
    live: bool = False
    runs: tuple[str, ...] = ()
    """The stdin of each run; the program repeats it before what is expected."""

    @property
    def document(self) -> dict[str, object]:
        runs = {"runs": [{"stdin": text} for text in self.runs]} if self.runs else {}
        return {"sandbox": self.sandbox, "command": self.command, "files": self.files, **runs}


@dataclass(frozen=True)
class Kind:
    """Makes programs whose output holds a token, unlike that of any other."""

    share: int
    program: Callable[[random.Random, str], tuple[str, Expected]]
    more: dict[str, Any] = field(default_factory=dict)


def _ok(_: random.Random, token: str) -> tuple[str, Expected]:
    return f"echo {token} $1; echo {token} >&2", (True, f"{token} :name\n", f"{token}\n")


def _failing(random: random.Random, token: str) -> tuple[str, Expected]:
    status = random.randint(1, 255)
    text = f"{token} :name\n{token} (exit status {status})"
    return f"echo {token} $1; echo {token} >&2; exit {status}", (False, "", text)


def _signalled(random: random.Random, token: str) -> tuple[str, Expected]:
    number = random.choice([1, 6, 9, 11, 15])
    text = f"{token} :name (exit status {128 + number})"
    return f"echo {token} $1; kill -{number} $$", (False, "", text)


def _hanging(random: random.Random, token: str) -> tuple[str, Expected]:
    hang = random.choice(["sleep 60", "while :; do :; done", "sleep 60 & wait", "yes $1"])
    return f"echo {token}; {hang}", (False, "", "code execution timeout")


def _flooding(random: random.Random, token: str) -> tuple[str, Expected]:
    size = random.randint(1 << 16, 1 << 21)
    text = (f"{token}\n" * NOUTPUT)[:NOUTPUT]
    program = f"yes {token} | head -c {size}"
    return f"{program}; {program} >&2", (True, text, text)


def _greedy(_: random.Random, token: str) -> tuple[str, Expected]:
    text = f"out of memory (64 MiB)\n{token} :name (exit status 137)"
    return f"echo {token} $1; exec tail -q /dev/zero $1", (False, "", text)


def _busy(random: random.Random, token: str) -> tuple[str, Expected]:
    number = random.randint(200_000, 600_000)
    code = f"print(sum(range({number})))"
    return f"echo {token}; python -c '{code}'", (
        True,
        f"{token}\n{number * (number - 1) // 2}\n",
        "",
    )


def _slow(random: random.Random, token: str) -> tuple[str, Expected]:
    return f"sleep 0.{random.randint(1, 4)}; echo {token} $1", (True, f"{token} :name\n", "")


def _starting(_: random.Random, token: str) -> tuple[str, Expected]:
    code = "import asyncio, decimal, email, unittest"
    return f"python -c '{code}' && echo {token} $1", (True, f"{token} :name\n", "")


def _remembered(random: random.Random, _: str) -> tuple[str, Expected]:
    text = f"one of few: {random.randrange(20)}\n"
    return f"printf '{text}'", (True, text, "")


def _repeating(_: random.Random, token: str) -> tuple[str, Expected]:
    return f"cat; sleep 1000 & echo {token} > /dev/shm/{token}; echo {token} $1", (
        True,
        f"{token} :name\n",
        "",
    )


KINDS = {
    "ok": Kind(40, _ok),
    "failing": Kind(10, _failing),
    "ended by a signal": Kind(5, _signalled),
    "timing out": Kind(4, _hanging, {"command": "hang"}),
    "flooding": Kind(8, _flooding),
    "out of memory": Kind(4, _greedy),
    "busy": Kind(10, _busy),
    "slow": Kind(7, _slow),
    "several runs": Kind(5, _repeating, {"runs": ("one\n", "two\n", "")}),
    "remembered": Kind(8, _remembered, {"command": "cached"}),
    "slow to start": Kind(4, _starting),
    "client gone before the answer": Kind(5, _slow, {"leaves": 0.2}),
    "client gone while sending": Kind(3, _ok, {"leaves": 0, "sends": 0.9}),
}


def cases(random: random.Random, count: int) -> list[Case]:
    """Draw `count` executions, each with a token in its program."""
    drawn = []
    for _ in range(count):
        (name,) = random.choices(list(KINDS), [kind.share for kind in KINDS.values()])
        (box,) = random.choices(list(SHARES), list(SHARES.values()))
        kind, token = KINDS[name], f"{random.getrandbits(64):016x}"
        text, expected = kind.program(random, token)
        if random.random() < 0.2:
            # the same, from another file of the request
            text, files = ". ./part.sh", {"part.sh": text}
        else:
            files = {}
        more = dict(kind.more)
        if more.get("leaves"):
            more["leaves"] *= random.random()
        pause = random.uniform(0.01, 0.1)
        live = random.random() < LIVE
        drawn.append(Case(name, box, {"": text, **files}, expected, pause, live=live, **more))
    return drawn
