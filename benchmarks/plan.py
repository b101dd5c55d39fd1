"""How long and how often everything is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The number of rounds, and what is done in each; all times are in seconds.

    What ends in a `window` counts; a `warmup` comes before it. `paced` calls come one every
    `period`. `runs` are those of the endurance test, `idle` is how long an idle server is watched.
    """

    rounds: int
    patience: float
    warmup: float
    window: float
    paced: int
    period: float
    idle: float
    runs: int
    sizes: tuple[int, ...]


FULL = Plan(
    rounds=5,
    patience=10,
    warmup=4,
    window=10,
    paced=8,
    period=0.5,
    idle=60,
    runs=10_000,
    sizes=(1, 2, 4, 8, 16),
)
QUICK = Plan(
    rounds=1,
    patience=0.5,
    warmup=0.2,
    window=1,
    paced=2,
    period=0.01,
    idle=1,
    runs=100,
    sizes=(1, 2),
)
