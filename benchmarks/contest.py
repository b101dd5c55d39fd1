"""Measures several things in turn, round by round, so that all see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.load import Question, ask, closed_loop, first_output
from benchmarks.plan import Plan
from benchmarks.programs import wait_until_quiet

Call = Callable[[], float]
"""Does something once and returns the time that it took, in seconds."""

Loops = Callable[[int, float], list[float]]
"""Does something in a number of loops until an instant, and returns the instants of all ends."""


def latencies(plan: Plan, *calls: Call) -> list[list[float]]:
    """Return for each call the median of each round, in milliseconds."""
    return _rounds(plan, [partial(paced, plan, call) for call in calls])


def rates(plan: Plan, clients: int, *loops: Loops) -> list[list[float]]:
    """Return for each of the loops its rate per second in each round."""
    return _rounds(plan, [partial(rate, plan, clients, loop) for loop in loops])


def rate(plan: Plan, clients: int, loops: Loops) -> float:
    """Return how many calls end per second."""
    start = time.monotonic() + plan.warmup
    ends = loops(clients, start + plan.window)
    count = sum(start < end <= start + plan.window for end in ends)
    # each loop's last one ends after the window
    return count / plan.window or 1 / (min(end for end in ends if end > start) - start)


def requests(port: int, question: Question) -> Call:
    """Return a client that sends each request on a new connection, as curl does."""
    return lambda: ask(port, question)


def first_outputs(port: int, question: Question) -> Call:
    """Return a client that waits for the first output of each request, live."""
    return lambda: first_output(port, question)


def clients(port: int, question: Question) -> Loops:
    """Return clients that keep their connections to a server."""

    def loops(clients: int, until: float) -> list[float]:
        return closed_loop(port, question, clients, lambda _: time.monotonic() < until)[0]

    return loops


def _rounds(plan: Plan, measures: list[Call]) -> list[list[float]]:
    rounds = []
    for _ in range(plan.rounds):
        figures = []
        for measure in measures:
            wait_until_quiet(plan)
            figures.append(measure())
        rounds.append(figures)
    return [list(figures) for figures in zip(*rounds, strict=True)]


def paced(plan: Plan, call: Call) -> float:
    """Return the median of calls at the pace of the plan, in milliseconds."""
    times = []
    tick = time.monotonic()
    # the first is dropped: how cold its caches and processors are depends on the call before
    for _ in range(1 + plan.paced):
        time.sleep(max(tick - time.monotonic(), 0))
        tick = time.monotonic() + plan.period
        times.append(call() * 1000)
    return median(times[1:])
