"""Mixture: many sandboxes in random order, and fresh boxes at half of the rate possible."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.contest import Loops, clients, rate, rates
from benchmarks.load import Question, open_loop
from benchmarks.plan import Plan
from benchmarks.programs import PYTHON, SH, serving, wait_until_quiet
from benchmarks.rows import Row, ratio, record
from benchmarks.speed import CLIENTS, REUSED
from tests.support.server import Server

SANDBOXES = (10, 30)


@dataclass(frozen=True)
class Mix(Question):
    """Questions in random order: each `data` is that of one of them."""

    questions: Sequence[Question] = ()

    @property
    def data(self) -> bytes:
        """Return the bytes of the next request."""
        return random.choice(self.questions).data


def mixture(plan: Plan) -> Iterator[Row]:
    """Throughput of many sandboxes in random order."""
    boxes = {f"python{number}": (PYTHON, REUSED) for number in range(max(SANDBOXES))}
    questions = [PYTHON.question(name) for name in boxes]
    shares: dict[int, list[float]] = {count: [] for count in SANDBOXES}
    with serving(plan, boxes) as server:
        one = clients(server.port, questions[0])
        mixes = [clients(server.port, Mix({}, questions=questions[:count])) for count in SANDBOXES]
        # a minute, in which the stock gets to know the mixture
        rate(plan, CLIENTS, lambda clients, until: mixes[-1](clients, until + 5 * plan.window))
        counted = [_counted(server, *each) for each in zip(mixes, shares.values(), strict=True)]
        alone, *mixed = rates(plan, CLIENTS, one, *counted)
    for (count, share), measured in zip(shares.items(), mixed, strict=True):
        case = f"python, uses: 1000, {count} sandboxes, {CLIENTS} clients"
        target = 0.85 if count == min(SANDBOXES) else 0.75
        yield ratio(case, "/s", measured, alone, "one sandbox", at_least=target)
        yield record(f"{case}, warm or reused", "%", *share, at_least=95)


def steady(plan: Plan) -> Iterator[Row]:
    """Fresh boxes at half of the rate that is possible."""
    shares: list[float] = []
    best = []
    with serving(plan, {"sh": (SH, {})}) as server:
        question = SH.question("sh")
        for _ in range(plan.rounds):
            best.append(rate(plan, CLIENTS, clients(server.port, question)))
            wait_until_quiet(plan)
            paced = partial(open_loop, server.port, question, best[-1] / 2)
            paced(2 * plan.window)
            shares.append(_share(server, partial(paced, 2 * plan.window)))
    case = f"sh, fresh, {median(best) / 2:.0f} a second, half of what can be served"
    yield record(f"{case}, warm", "%", *shares, at_least=90)


def _counted(server: Server, loops: Loops, shares: list[float]) -> Loops:
    """Return loops that also note the share of the boxes that were not cold."""

    def counted(clients: int, until: float) -> list[float]:
        ends: list[float] = []
        shares.append(_share(server, lambda: ends.extend(loops(clients, until))))
        return ends

    return counted


def _share(server: Server, do: Callable[[], object]) -> float:
    """Return which share of the boxes was not cold meanwhile, in percent."""
    before = _kinds(server)
    do()
    kinds = _kinds(server)
    kinds.subtract(before)
    return 100 * (1 - kinds["cold"] / kinds.total())


def _kinds(server: Server) -> Counter[str]:
    """Return how many boxes of each kind ran a program."""
    text = server.request("GET", "/metrics").body.decode()
    found = re.findall(r'^codapi_boxes_total{.*kind="(\w+)"} (\S+)', text, re.MULTILINE)
    kinds: Counter[str] = Counter()
    for kind, count in found:
        kinds[kind] += int(float(count))
    return kinds
