"""Speed: latency of one request, throughput, and bursts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from benchmarks.contest import clients, first_outputs, latencies, paced, rates, requests
from benchmarks.load import ask, closed_loop
from benchmarks.plan import Plan
from benchmarks.programs import PYTHON, SH, Program, serving, wait_for_stock, wait_until_quiet
from benchmarks.references import references
from benchmarks.rows import Row, more, ratio, record
from tests.support.server import Server

CLIENTS = 8
REUSED: dict[str, Any] = {"uses": 1000}
PLAIN: dict[str, Any] = {"init": False}
DOCKER, BARE = "docker run", "no sandbox"


def latency(plan: Plan) -> Iterator[Row]:
    """Latency of one request at a time, two per second."""
    boxes = {"sh": (SH, {}), "plain": (SH, PLAIN)}
    with references(SH) as (docker, bare), serving(plan, boxes) as server:
        calls = [requests(server.port, SH.question(name)) for name in boxes]
        live = first_outputs(server.port, SH.question("sh"))
        measured, plain, first, run, forked = latencies(plan, *calls, live, docker.call, bare.call)
    yield ratio("sh, plain, alone", "ms", plain, run, DOCKER, at_most=1)
    yield ratio("sh, warm, alone", "ms", measured, run, DOCKER, at_most=1 / 50)
    yield more("sh, warm, alone", measured, forked, BARE, at_most=4)
    yield more("sh, warm, alone, first live output", first, measured, "plain answer", at_most=5)
    with references(PYTHON) as (docker, bare), serving(plan, {"python": (PYTHON, {})}) as server:
        call = requests(server.port, PYTHON.question("python"))
        measured, run, forked = latencies(plan, call, docker.call, bare.call)
    yield ratio("python, warm, alone", "ms", measured, run, DOCKER)
    yield more("python, warm, alone", measured, forked, BARE, at_most=5)


def remembered(plan: Plan) -> Iterator[Row]:
    """Latency of an answer that is remembered, two per second."""
    with serving(plan, {"sh": (SH, {})}, cache=3600) as server:
        [measured] = latencies(plan, requests(server.port, SH.question("sh")))
    yield record("sh, remembered, alone", "ms", *measured, at_most=2)


def cold(plan: Plan) -> Iterator[Row]:
    """The first request after the start of a server."""
    measured, run = [], []
    with references(SH) as (docker, _):
        for _ in range(2 * plan.rounds):
            with serving(plan, {"sh": (SH, {})}) as server:
                measured.append(ask(server.port, SH.question("sh")) * 1000)
            wait_until_quiet(plan)
            run.append(docker.call() * 1000)
    yield ratio("sh, first request ever", "ms", measured, run, DOCKER, at_most=0.7)


def throughput(plan: Plan) -> Iterator[Row]:
    """Throughput of clients that send back to back."""
    boxes = {
        "plain": (SH, PLAIN),
        "fresh": (SH, {}),
        "sh": (SH, REUSED),
        "python": (PYTHON, REUSED),
    }
    with (
        references(SH, CLIENTS) as (docker, bare_sh),
        references(PYTHON, CLIENTS) as (_, bare_python),
        serving(plan, boxes) as server,
    ):
        measured = [clients(server.port, box[0].question(name)) for name, box in boxes.items()]
        loops = [*measured, docker.loops, bare_sh.loops, bare_python.loops]
        own, fresh, sh, python, run, forked_sh, forked_python = rates(plan, CLIENTS, *loops)
    case = f"{CLIENTS} clients"
    yield ratio(f"sh, plain, {case}", "/s", own, run, DOCKER, at_least=1)
    yield ratio(f"sh, fresh, {case}", "/s", fresh, run, DOCKER, at_least=1.4)
    yield ratio(f"sh, uses: 1000, {case}", "/s", sh, run, DOCKER, at_least=90)
    yield ratio(f"sh, uses: 1000, {case}", "/s", sh, forked_sh, BARE)
    yield ratio(f"python, uses: 1000, {case}", "/s", python, forked_python, BARE, at_least=0.85)


def bursts(plan: Plan) -> Iterator[Row]:
    """A burst of as many requests as there are workers, with a warm box for each."""
    warm = {"warm": CLIENTS}
    boxes = {"sh": (SH, warm), "python": (PYTHON, warm)}
    with serving(plan, boxes, pool_size=CLIENTS) as server:
        for name, (program, _) in boxes.items():
            yield _burst(plan, server, name, program)


def sizes(plan: Plan) -> Iterator[Row]:
    """Throughput of pools of several sizes, each with as many clients."""
    short = replace(
        plan, rounds=min(plan.rounds, 2), warmup=plan.warmup / 2, window=plan.window / 2
    )
    boxes = {"sh": (SH, REUSED), "python": (PYTHON, REUSED)}
    single: list[list[float]] = []
    for size in plan.sizes:
        with serving(plan, boxes, pool_size=size) as server:
            loops = (clients(server.port, box[0].question(name)) for name, box in boxes.items())
            figures = rates(short, size, *loops)
        single = single or figures
        for name, measured, alone in zip(boxes, figures, single, strict=True):
            case = f"{name}, uses: 1000, pool_size {size}, {size} clients"
            yield ratio(case, "/s", measured, alone, f"pool_size {plan.sizes[0]}")


def _burst(plan: Plan, server: Server, name: str, program: Program) -> Row:
    question = program.question(name)
    slowest, expected = [], []
    for _ in range(plan.rounds):
        wait_for_stock(plan, server, name, CLIENTS)
        single = paced(plan, requests(server.port, question))
        expected.append(single * CLIENTS / (os.cpu_count() or 1))
        wait_for_stock(plan, server, name, CLIENTS)
        _, times = closed_loop(server.port, question, CLIENTS, lambda _: False)
        slowest.append(max(times) * 1000)
    case = f"{name}, warm, slowest of {CLIENTS} at once"
    return ratio(case, "ms", slowest, expected, "pool_size / cores x alone", at_most=1.5)
