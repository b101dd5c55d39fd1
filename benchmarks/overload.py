"""Overload: a server that gets far more requests than it can serve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median, quantiles

from benchmarks.contest import clients, rate
from benchmarks.load import open_loop
from benchmarks.plan import Plan
from benchmarks.programs import PYTHON, SH, Program, serving, wait_for_stock
from benchmarks.rows import Row, ratio, record
from tests.support.server import Server

CLIENTS, FACTOR = 8, 20
SLEEPING = replace(SH, name="sleeping", text="sleep 0.1; echo hello")
BUSY = replace(PYTHON, name="busy", text="import time\nwhile time.process_time() < 0.05: pass")


def overload(plan: Plan) -> Iterator[Row]:
    """Twenty times as many requests as can be served.

    The reference is a closed loop with as many clients as workers. Then requests come twenty times
    as fast, evenly and regardless of the answers: an open loop, like a crowd of people, most of
    whom get a 429. Clients that send again at once, without a pause, would measure themselves: on
    the same machine they take the processors that the programs need.
    """
    warm = {"warm": CLIENTS}
    boxes = {
        "sh, sleeps 100 ms": (SLEEPING, {**warm, "uses": 1000}),
        "python, busy for 50 ms": (BUSY, {**warm, "uses": 1000}),
        "sh, fresh": (SH, warm),
    }
    names = {case: f"box{number}" for number, case in enumerate(boxes)}
    configs = {names[case]: box for case, box in boxes.items()}
    with serving(plan, configs, pool_size=CLIENTS) as server:
        for case, (program, _) in boxes.items():
            yield from _overload(plan, server, case, names[case], program)


def _overload(plan: Plan, server: Server, case: str, name: str, program: Program) -> Iterator[Row]:
    question = program.question(name)
    best, served, middle, slow = [], [], [], []
    for _ in range(plan.rounds):
        wait_for_stock(plan, server, name, CLIENTS)
        best.append(rate(plan, CLIENTS, clients(server.port, question)))
        wait_for_stock(plan, server, name, CLIENTS)
        start = time.monotonic() + plan.warmup
        ends, refusals = open_loop(
            server.port, question, FACTOR * best[-1], plan.warmup + plan.window
        )
        served.append(sum(start < end <= start + plan.window for end in ends) / plan.window)
        if len(refusals) < 2:
            # a disturbed reference is low, and then all of the few requests are served
            refusals = [0.0, 0.0]
        middle.append(median(refusals) * 1000)
        slow.append(quantiles(refusals, n=100)[98] * 1000)
    case = f"{case}, {FACTOR} x what can be served"
    yield ratio(case, "/s", served, best, f"{CLIENTS} clients", at_least=0.9)
    yield record(f"{case}, a 429, median", "ms", *middle)
    yield record(f"{case}, a 429, p99", "ms", *slow, at_most=50)
