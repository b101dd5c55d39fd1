"""Programs that wait, already started: latency, throughput, and what refills cost others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import quantiles
from typing import Any

from benchmarks.contest import clients, latencies, rates, requests
from benchmarks.load import ask, closed_loop
from benchmarks.plan import Plan
from benchmarks.programs import PYTHON, SH, Program, serving, wait_until_quiet
from benchmarks.references import references
from benchmarks.rows import Row, ratio
from benchmarks.speed import BARE, CLIENTS, REUSED
from tests.support.server import Server

SUM = "import pandas\nprint(pandas.DataFrame({'a': range(100)}).a.sum())"
PANDAS = Program("pandas", "codapi/python", "main.py", ("python", "main.py"), SUM)
USUAL: dict[str, Any] = {"memory": 128}
MODULES = ["numpy", "pandas"]
WAITING: dict[str, Any] = {**USUAL, "preload": {"python": MODULES}}
STEP = {"timeout": 60}
OFTEN = 0.1
"""Seconds between two requests at ten a second."""
REFILL_TIME = 1.0
"""Seconds in which a box is replaced, while requests come back to back."""


def preloaded(plan: Plan) -> Iterator[Row]:
    """Latency of Python programs that wait, two and ten per second."""
    often = replace(plan, period=min(plan.period, OFTEN))
    for program, modules, share in ((PYTHON, [], 0.55), (PANDAS, MODULES, 1 / 20)):
        waiting = USUAL | {"preload": {"python": modules}}
        boxes = {"usual": USUAL, "fresh": waiting, "all": WAITING, "reused": waiting | REUSED}
        configs = {name: (program, box) for name, box in boxes.items()}
        with references(program) as (_, bare), serving(plan, configs, step=STEP) as server:
            calls = [requests(server.port, program.question(name)) for name in boxes]
            usual, fresh, loaded, forked = latencies(plan, *calls[:3], bare.call)
            [rapid] = latencies(often, calls[3])
        case = f"{program.name}, preloaded, alone"
        yield ratio(case, "ms", fresh, forked, BARE, at_most=share)
        yield ratio(case, "ms", fresh, usual, "warm")
        yield ratio(f"{case}, with pandas loaded", "ms", loaded, forked, BARE)
        case += ", uses: 1000, ten a second"
        yield ratio(case, "ms", rapid, fresh, "two a second", at_most=1.3)


def preloaded_throughput(plan: Plan) -> Iterator[Row]:
    """Throughput of Python programs that wait, with clients that send back to back."""
    for program, factor in ((PYTHON, 1), (PANDAS, 4)):
        boxes = {"usual": (program, USUAL | REUSED), "waiting": (program, WAITING | REUSED)}
        with serving(plan, boxes, step=STEP) as server:
            loops = [clients(server.port, program.question(name)) for name in boxes]
            usual, waiting = rates(plan, CLIENTS, *loops)
        case = f"{program.name}, preloaded, uses: 1000, {CLIENTS} clients"
        yield ratio(case, "/s", waiting, usual, "not preloaded", at_least=factor)


def preload_refill(plan: Plan) -> Iterator[Row]:
    """The slowest twentieth of sh, beside a box that is started and preloaded again and again."""
    boxes = {"sh": (SH, REUSED), "pandas": (PANDAS, WAITING)}
    alone, beside = [], []
    with serving(plan, boxes, step=STEP) as server:
        for _ in range(plan.rounds):
            alone.append(_slowest(plan, server, lambda: None))
            use_up = partial(ask, server.port, PANDAS.question("pandas"))
            beside.append(_slowest(plan, server, use_up))
    yield ratio("sh beside preloads, 95th percentile", "ms", beside, alone, "alone", at_most=1.3)


def _slowest(plan: Plan, server: Server, disturb: Callable[[], object]) -> float:
    wait_until_quiet(plan)
    times = []
    for _ in range(plan.paced):
        disturb()
        until = time.monotonic() + REFILL_TIME
        times += closed_loop(
            server.port, SH.question("sh"), 1, lambda _, until=until: time.monotonic() < until
        )[1]
    return quantiles(times, n=20)[-1] * 1000
