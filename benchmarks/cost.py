"""Cost: processor time per run, memory and processor time when idle, and growth over many runs."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.load import Question, closed_loop
from benchmarks.plan import Plan
from benchmarks.programs import SH, serving, wait_for_stock, wait_until_quiet
from benchmarks.rows import Row, ratio, record
from codapi_flask.config.load import load_config
from tests.support import machine
from tests.support.server import Server, write_root

WARM = CLIENTS = 8
CONFIGS = 30
NOWHERE = Question({"sandbox": "nowhere", "command": "run"}, "unknown sandbox")


def processors(plan: Plan) -> Iterator[Row]:
    """Processor time by process while clients keep the server busy."""
    # no box is replaced: the time of a removed one cannot be read
    with serving(plan, {"sh": (SH, {"uses": 1_000_000})}) as server:
        _serve(server, SH.question("sh"), plan.warmup)
        before = {role: machine.cpu(pids) for role, pids in machine.by_role(server).items()}
        own, start = time.process_time(), time.monotonic()
        count = _serve(server, SH.question("sh"), plan.window)
        took, own = time.monotonic() - start, time.process_time() - own
        after = {role: machine.cpu(pids) for role, pids in machine.by_role(server).items()}
        alone = _serve(server, NOWHERE, plan.window) / plan.window
    case = f"sh, uses: ∞, {CLIENTS} clients"
    for role in ("web", "worker", "keeper", "init", "daemon"):
        used = after[role] - before[role]
        yield record(f"{case}, processor a run, {role}", "ms", used * 1000 / count)
    yield record(f"{case}, processor a run, this client", "ms", own * 1000 / count)
    web = (after["web"] - before["web"]) / took
    yield record(f"{case}, web process, of one core", "%", web * 100)
    yield ratio("answers that need no worker", "/s", [alone], [count / took], case)


def idle(plan: Plan) -> Iterator[Row]:
    """An idle server with warm boxes."""
    wait_until_quiet(plan)
    without = _shares(plan, {"daemon": machine.daemon()})["daemon"]
    with serving(plan, {"sh": (SH, {"warm": WARM})}) as server:
        wait_for_stock(plan, server, "sh", WARM)
        roles = machine.by_role(server)
        shares = _shares(plan, roles)
        case = f"idle server, {WARM} warm boxes"
        # the daemon may have other users: what it used before the start is not the server's
        total = sum(shares.values()) - min(without, shares["daemon"])
        yield record(f"{case}, processor, of one core", "%", total, at_most=1)
        for role in ("web", "keeper", "worker", "init", "shim"):
            yield record(f"{case}, processor, {role}", "%", shares[role])
        yield record(f"{case}, processor, daemon", "%", shares["daemon"])
        yield record(f"{case}, processor, daemon before the server's start", "%", without)
        for role in ("init", "shim"):
            each = [machine.resident([pid]) for pid in roles[role]]
            yield record(f"a warm box's memory, {role}", "MiB", median(each))
            share = machine.proportional(roles[role]) / len(roles[role])
            yield record(f"a warm box's memory, {role}, shared parts counted once", "MiB", share)
        for role, pids in server.pids.items():
            size = machine.proportional(pids)
            yield record(f"{case}, memory of {len(pids)} {role}", "MiB", size)


def endurance(plan: Plan) -> Iterator[Row]:
    """Growth after many runs, in boxes that are replaced again and again."""
    with serving(plan, {"sh": (SH, {"uses": 100})}) as server:
        before = _holdings(plan, server, plan.runs // 10)
        after = _holdings(plan, server, plan.runs)
    for name, unit in (
        ("memory", "MiB"),
        ("descriptors", ""),
        ("directories", ""),
        ("containers", ""),
    ):
        case = f"{plan.runs} runs, {name}"
        yield ratio(case, unit, [after[name]], [before[name]], "before", at_most=1.1)


def config(plan: Plan) -> Iterator[Row]:
    """Reading the config files."""
    boxes = {f"box{number}": {"image": f"image{number}"} for number in range(CONFIGS)}
    commands = {
        f"sandbox{number}": {"run": {"steps": [{"box": box, "command": ["true"]}]}}
        for number, box in enumerate(boxes)
    }
    times = []
    with tempfile.TemporaryDirectory() as path:
        root = write_root(Path(path), {}, commands, {})
        (root / "configs/boxes.json").unlink()
        (root / "configs/boxes").mkdir()
        for name, box in boxes.items():
            (root / f"configs/boxes/{name}.json").write_text(json.dumps(box))
        for _ in range(plan.rounds):
            start = time.perf_counter()
            load_config(root)
            times.append((time.perf_counter() - start) * 1000)
    yield record(f"config of {2 * CONFIGS} files", "ms", *times, at_most=100)


def _serve(server: Server, question: Question, seconds: float) -> int:
    end = time.monotonic() + seconds
    ends, _ = closed_loop(server.port, question, CLIENTS, lambda _: time.monotonic() < end)
    return len(ends)


def _holdings(plan: Plan, server: Server, runs: int) -> dict[str, float]:
    """Return what the server holds after a number of runs."""
    closed_loop(server.port, SH.question("sh"), CLIENTS, lambda count: count + CLIENTS <= runs)
    wait_for_stock(plan, server, "sh", CLIENTS)
    pids = machine.flat(server.pids)
    return {
        "memory": machine.resident(pids),
        "descriptors": machine.descriptors(pids),
        "directories": sum(len(names) for _, names, _ in os.walk(server.work_dir)),
        "containers": len(server.containers()),
    }


def _shares(plan: Plan, roles: dict[str, list[int]]) -> dict[str, float]:
    """Return for each role how much of a core it uses, in percent."""
    before = {role: machine.cpu(pids) for role, pids in roles.items()}
    time.sleep(plan.idle)
    used = {role: machine.cpu(pids) - before[role] for role, pids in roles.items()}
    return {role: seconds * 100 / plan.idle for role, seconds in used.items()}
