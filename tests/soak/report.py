"""The results of a soak, and its figures as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks.rows import markdown
from tests.soak.load import Load
from tests.soak.mix import KINDS
from tests.soak.state import State
from tests.soak.watch import Watch
from tests.support.machine import describe

OUTCOMES = ("right", "no client", "internal error", "connection lost")
ROLES = ("master", "web", "forkserver", "keeper", "worker")


@dataclass
class Soak:
    """The results; `states` are those at the end of its parts, `left` are the leftovers."""

    seed: str
    load: Load
    watch: Watch
    seconds: float = 0
    states: dict[str, State] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    log: str = ""

    def report(self) -> str:
        """Return the figures as Markdown."""
        machine = ", ".join(f"{name} {value}" for name, value in describe().items())
        tables = [
            _table(("executions", "in all", *OUTCOMES, "wrong"), self._executions()),
            _table(("in all", ""), self._figures()),
            _table(("at the end of", *self.states), self._states()),
        ]
        return "\n\n".join([machine, *tables])

    def _executions(self) -> Iterable[tuple[object, ...]]:
        counts = Counter((result.case.kind, result.outcome) for result in self.load.results)
        for kind in KINDS:
            total = sum(count for (name, _), count in counts.items() if name == kind)
            known = [counts[kind, outcome] for outcome in OUTCOMES]
            yield kind, total, *known, total - sum(known)
        known = [self.load.count(outcome) for outcome in OUTCOMES]
        yield "all", counts.total(), *known, counts.total() - sum(known)

    def _figures(self) -> Iterable[tuple[object, ...]]:
        load = self.load
        kills = Counter(role for _, role in load.kills)
        refusals = [seconds * 1000 for seconds in load.refusals]
        hung = [
            r.duration for r in load.results if r.outcome == "right" and r.case.command == "hang"
        ]
        yield "seed", self.seed
        yield "duration", f"{self.seconds:.0f} s, {len(load.results) / self.seconds:.1f} /s"
        yield "running at once", f"{self.watch.most} of {load.pool_size} ({self.watch.looks} looks)"
        yield "refused with 429", len(refusals)
        yield "a 429", _spread(refusals)
        yield "a program that hangs, time-out 1 s", _spread(hung)
        yield "killed", ", ".join(f"{count} {role}" for role, count in sorted(kills.items()))
        for outcome, most in load.allowed().items():
            yield outcome, f"{load.count(outcome)}, explained by kills: at most {most}"
        yield "left over", len(self.left)

    def _states(self) -> Iterable[tuple[object, ...]]:
        states = self.states.values()
        for role in ROLES:
            sizes = [max(process.memory for process in state.of(role)) for state in states]
            yield f"memory, {role}", *(f"{size:.1f} MiB" for size in sizes)
        for role in ROLES:
            counts = [max(process.descriptors for process in state.of(role)) for state in states]
            yield f"descriptors, {role}", *counts
        yield "boxes that wait", *(state.boxes for state in states)


def _spread(times: Sequence[float]) -> str:
    """Return median, 99th percentile and maximum of times in milliseconds."""
    if len(times) < 2:
        return "-"
    slow = quantiles(times, n=100, method="inclusive")[98]
    return f"median {median(times):.1f} ms, p99 {slow:.1f} ms, slowest {max(times):.1f} ms"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    return markdown([[*head], *([str(cell) for cell in row] for row in rows)])
